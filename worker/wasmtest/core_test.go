package wasmtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"perch/worker/reactor"
)

// native answers the module's calls by the same code, compiled for this machine.
type native struct{ reactor.Reactor }

func (n *native) call(name string, a ...uint32) uint32 {
	r := &n.Reactor
	switch name {
	case "resolve":
		return r.Resolve(a[0])
	case "resolve_version":
		return r.ResolveVersion(a[0])
	case "resolve_service":
		return r.ResolveService(a[0])
	case "load":
		return r.Load(a[0], a[1])
	case "access":
		return r.Access(a[0])
	case "headers":
		return r.Headers(a[0])
	case "release":
		r.Release(a[0])
	case "decide":
		return r.Decide(a[0], a[1], a[2], a[3], a[4])
	case "use":
		return r.Use(a[0], a[1], a[2], a[3])
	case "rescue":
		return r.Rescue(a[0], a[1], a[2], a[3], a[4])
	case "report":
		return r.Report(a[0], a[1], a[2], a[3], a[4])
	case "classify":
		r.Classify(a[0], a[1])
	default:
		return n.callBodies(name, a...)
	}
	return 0
}

// silent are the calls that leave nothing in the output for the host to read.
var silent = map[string]bool{
	"release": true, "open_finder": true, "close_finder": true, "open_editor": true, "open_answer": true, "use": true, "rescue": true, "report": true,
}

// pair is the module beside the native core: what is asked of one is asked of
// the other, and their answers must be equal, byte by byte.
type pair struct {
	t      testing.TB
	wasm   *module
	native *native
	calls  int
}

func newPair(t testing.TB, h *host) *pair {
	return &pair{t: t, wasm: h.start(t, wallClock), native: new(native)}
}

// ask writes the input, calls, and returns the answer. The output is valid until
// the next call.
func (p *pair) ask(name string, input []byte, args ...uint32) (code uint32, output []byte) {
	p.calls++
	p.wasm.write(input)
	copy(p.native.Input[:], input)
	code = p.wasm.call(name, args...)
	want := p.native.call(name, args...)
	if silent[name] {
		if code != want {
			require.Equal(p.t, want, code, "%s%v of %q", name, args, input)
		}
		return code, nil
	}
	output = p.wasm.output()
	if code != want || string(output) != string(p.native.Output) {
		require.Equal(p.t, want, code, "%s%v of %q", name, args, input)
		require.Equal(p.t, string(p.native.Output), string(output), "%s%v of %q", name, args, input)
	}
	return code, output
}

// text asks with a text whose length is the first argument.
func (p *pair) text(name, input string) (uint32, []byte) {
	return p.ask(name, []byte(input), uint32(len(input)))
}

func (p *pair) load(document, halt string) uint32 {
	handle, _ := p.ask("load", []byte(document+halt), uint32(len(document)), uint32(len(halt)))
	return handle
}

func (p *pair) decide(handle uint32, input string, nowMS int64, endpoint uint32) uint32 {
	code, _ := p.ask("decide", []byte(input), handle, uint32(len(input)), uint32(uint64(nowMS)>>32), uint32(nowMS), endpoint)
	return code
}
