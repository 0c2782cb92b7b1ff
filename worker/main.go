//go:build wasm || tinygo.wasm

// Command worker is Perch's routing as a WASM reactor: the host calls the
// exports, never waits, and never shares a request object.
package main

import (
	"unsafe"

	"perch/worker/reactor"
)

var core reactor.Reactor

//go:wasmexport input
func input() unsafe.Pointer { return unsafe.Pointer(&core.Input[0]) }

//go:wasmexport input_bytes
func inputBytes() uint32 { return reactor.InputBytes }

// result is the address and the length of Output after each call. The host reads
// it from memory, because a call into Go's runtime costs as much as a decision.
var result [2]uint32

//go:wasmexport result
func resultAddress() unsafe.Pointer { return unsafe.Pointer(&result) }

// done publishes Output and returns the call's code.
func done(code uint32) uint32 {
	result[0] = uint32(uintptr(unsafe.Pointer(unsafe.SliceData(core.Output))))
	result[1] = uint32(len(core.Output))
	return code
}

//go:wasmexport resolve
func resolve(n uint32) uint32 { return done(core.Resolve(n)) }

//go:wasmexport resolve_version
func resolveVersion(n uint32) uint32 { return done(core.ResolveVersion(n)) }

//go:wasmexport resolve_service
func resolveService(n uint32) uint32 { return done(core.ResolveService(n)) }

//go:wasmexport load
func load(documentBytes, haltBytes uint32) uint32 { return done(core.Load(documentBytes, haltBytes)) }

//go:wasmexport access
func access(n uint32) uint32 { return done(core.Access(n)) }

//go:wasmexport headers
func headers(n uint32) uint32 { return done(core.Headers(n)) }

//go:wasmexport release
func release(handle uint32) { core.Release(handle) }

//go:wasmexport decide
func decide(handle, n, nowHigh, nowLow, endpoint uint32) uint32 {
	return done(core.Decide(handle, n, nowHigh, nowLow, endpoint))
}

//go:wasmexport use
func use(handle, target, n, endpoint uint32) uint32 { return core.Use(handle, target, n, endpoint) }

//go:wasmexport rescue
func rescue(handle, target, failure, status, trouble uint32) uint32 {
	return core.Rescue(handle, target, failure, status, trouble)
}

//go:wasmexport report
func report(handle, target, failed, nowHigh, nowLow uint32) uint32 {
	return core.Report(handle, target, failed, nowHigh, nowLow)
}

//go:wasmexport classify
func classify(status, failure uint32) {
	core.Classify(status, failure)
	done(0)
}

func main() {}
