package wasmtest

import (
	"strings"

	"github.com/stretchr/testify/require"
)

// callBodies answers the calls on bodies.
func (n *native) callBodies(name string, a ...uint32) uint32 {
	r := &n.Reactor
	switch name {
	case "find":
		return r.Find(a[0])
	case "edit":
		r.Edit(a[0], a[1])
	case "open_finder":
		return r.OpenFinder()
	case "push_finder":
		return r.PushFinder(a[0], a[1])
	case "close_finder":
		r.CloseFinder(a[0])
	case "open_editor":
		return r.OpenEditor(a[0])
	case "push_editor":
		r.PushEditor(a[0], a[1])
	case "close_editor":
		r.CloseEditor(a[0])
	default:
		panic("no call " + name)
	}
	return 0
}

// find reads a body to its end or its version, and returns the status.
func (p *pair) find(chunks [][]byte) (status uint32) {
	handle, _ := p.ask("open_finder", nil)
	for _, chunk := range chunks {
		if status != 0 {
			break
		}
		status, _ = p.ask("push_finder", chunk, handle, uint32(len(chunk)))
	}
	p.ask("close_finder", nil, handle)
	return status
}

func (p *pair) edit(version string, chunks [][]byte) string {
	var out []byte
	handle, _ := p.text("open_editor", version)
	for _, chunk := range chunks {
		_, piece := p.ask("push_editor", chunk, handle, uint32(len(chunk)))
		out = append(out, piece...)
	}
	_, piece := p.ask("close_editor", nil, handle)
	return string(append(out, piece...))
}

// whole searches and edits a body in one call each, as hosts do with small
// ones, and holds both to what its chunks gave.
func (p *pair) whole(body []byte, version string, status uint32, edited string) {
	if len(body)+len(version) > int(p.wasm.inputBytes) {
		return
	}
	found, _ := p.ask("find", body, uint32(len(body)))
	_, output := p.ask("edit", append(body[:len(body):len(body)], version...), uint32(len(body)), uint32(len(version)))
	require.Equal(p.t, status, found, "find in %q", body)
	require.Equal(p.t, strings.Join(strings.Fields(edited), ""), strings.Join(strings.Fields(string(output)), ""), "edit of %q", body)
}
