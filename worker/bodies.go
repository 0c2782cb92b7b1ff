//go:build wasm || tinygo.wasm

package main

// The exports that read and change bodies.

//go:wasmexport find
func find(n uint32) uint32 { return done(core.Find(n)) }

//go:wasmexport edit
func edit(bodyBytes, versionBytes, flags uint32) uint32 {
	return done(core.Edit(bodyBytes, versionBytes, flags))
}

//go:wasmexport open_finder
func openFinder() uint32 { return core.OpenFinder() }

//go:wasmexport push_finder
func pushFinder(handle, n uint32) uint32 { return done(core.PushFinder(handle, n)) }

//go:wasmexport close_finder
func closeFinder(handle uint32) uint32 { return core.CloseFinder(handle) }

//go:wasmexport open_editor
func openEditor(n, flags uint32) uint32 { return core.OpenEditor(n, flags) }

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

//go:wasmexport open_answer
func openAnswer(shape uint32) uint32 { return core.OpenAnswer(shape) }

//go:wasmexport push_answer
func pushAnswer(handle, n uint32) {
	core.PushAnswer(handle, n)
	done(0)
}

//go:wasmexport answer_facts
func answerFacts(handle uint32) {
	core.AnswerFacts(handle)
	done(0)
}

//go:wasmexport close_answer
func closeAnswer(handle uint32) {
	core.CloseAnswer(handle)
	done(0)
}

//go:wasmexport answer
func answer(n, shape uint32) {
	core.Answer(n, shape)
	done(0)
}

//go:wasmexport ended
func ended(n, httpStatus, flags uint32) {
	core.Ended(n, httpStatus, flags)
	done(0)
}
