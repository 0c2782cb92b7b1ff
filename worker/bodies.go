//go:build wasm || tinygo.wasm

package main

// The exports that read and change bodies.

//go:wasmexport find
func find(n uint32) uint32 { return done(core.Find(n)) }

//go:wasmexport edit
func edit(bodyBytes, versionBytes uint32) {
	core.Edit(bodyBytes, versionBytes)
	done(0)
}

//go:wasmexport open_finder
func openFinder() uint32 { return core.OpenFinder() }

//go:wasmexport push_finder
func pushFinder(handle, n uint32) uint32 { return done(core.PushFinder(handle, n)) }

//go:wasmexport close_finder
func closeFinder(handle uint32) { core.CloseFinder(handle) }

//go:wasmexport open_editor
func openEditor(n uint32) uint32 { return core.OpenEditor(n) }

//go:wasmexport push_editor
func pushEditor(handle, n uint32) {
	core.PushEditor(handle, n)
	done(0)
}

//go:wasmexport close_editor
func closeEditor(handle uint32) {
	core.CloseEditor(handle)
	done(0)
}
