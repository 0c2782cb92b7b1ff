package wasmtest

import (
	"github.com/stretchr/testify/require"

	"perch/worker/reactor"
)

// callBodies answers the calls on bodies.
func (n *native) callBodies(name string, a ...uint32) uint32 {
	r := &n.Reactor
	switch name {
	case "find":
		return r.Find(a[0])
	case "edit":
		return r.Edit(a[0], a[1], a[2])
	case "open_finder":
		return r.OpenFinder()
	case "push_finder":
		return r.PushFinder(a[0], a[1])
	case "close_finder":
		return r.CloseFinder(a[0])
	case "open_editor":
		return r.OpenEditor(a[0], a[1])
	case "push_editor":
		r.PushEditor(a[0], a[1])
	case "close_editor":
		r.CloseEditor(a[0])
	case "answer":
		r.Answer(a[0], a[1])
	case "open_answer":
		return r.OpenAnswer(a[0])
	case "push_answer":
		r.PushAnswer(a[0], a[1])
	case "answer_facts":
		r.AnswerFacts(a[0])
	case "close_answer":
		r.CloseAnswer(a[0])
	case "ended":
		r.Ended(a[0], a[1], a[2])
	default:
		panic("no call " + name)
	}
	return 0
}

// find reads a body to its end, in chunks and, if it fits, in one call, and
// returns the status.
func (p *pair) find(body []byte, chunks [][]byte) uint32 {
	handle, _ := p.ask("open_finder", nil)
	for _, chunk := range chunks {
		p.ask("push_finder", chunk, handle, uint32(len(chunk)))
	}
	status, _ := p.ask("close_finder", nil, handle)
	if len(body) <= int(p.wasm.inputBytes) {
		whole, _ := p.ask("find", body, uint32(len(body)))
		require.Equal(p.t, status, whole, "find in %q", body)
	}
	return status
}

// edits are all that an editor can be asked for.
var edits = []uint32{0, reactor.EditVersion, reactor.EditWebhook, reactor.EditVersion | reactor.EditWebhook}

// edit rewrites a body in chunks and, if it fits, in one call; what comes out is
// held to the native core's, which package prediction's own tests hold to more.
func (p *pair) edit(body []byte, version string, flags uint32, chunks [][]byte) {
	handle, _ := p.ask("open_editor", []byte(version), uint32(len(version)), flags)
	for _, chunk := range chunks {
		p.ask("push_editor", chunk, handle, uint32(len(chunk)))
	}
	p.ask("close_editor", nil, handle)
	if len(body)+len(version) <= int(p.wasm.inputBytes) {
		p.ask("edit", append(body[:len(body):len(body)], version...), uint32(len(body)), uint32(len(version)), flags)
	}
}

// answer reads an answer in chunks and, if it fits, in one call.
func (p *pair) answer(body []byte, shape uint32, chunks [][]byte) {
	handle, _ := p.ask("open_answer", nil, shape)
	for _, chunk := range chunks {
		p.ask("push_answer", chunk, handle, uint32(len(chunk)))
	}
	p.ask("answer_facts", nil, handle)
	p.ask("close_answer", nil, handle)
	if len(body) <= int(p.wasm.inputBytes) {
		_, output := p.ask("answer", body, uint32(len(body)), shape)
		require.NotEmpty(p.t, output, "facts at least")
	}
}
