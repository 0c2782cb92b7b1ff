package wasmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/worker/reactor"
)

const lifeDocument = `{"schema":1,"service":"acme/flux","rollout":"r1","generation":7,"mode":"canary","percentage":5,"salt":"r1",
	"targets":{"stable":{"model":"acme/flux"},"canary":{"deployment":"acme/next"}},
	"rules":[{"header":"x-model-type","equals":"person","use":"stable"}]}`

// life is what an isolate does over a long time, without the native core.
type life struct {
	t *testing.T
	m *module
}

func (l life) write(text string) uint32 {
	l.m.write([]byte(text))
	return uint32(len(text))
}

func (l life) load() uint32 {
	handle := l.m.call("load", l.write(lifeDocument), 0)
	require.NotZero(l.t, handle)
	return handle
}

func (l life) decisions(handle uint32, n int) {
	question := "\n\n203.0.113.9\n6a1f7c2e\n" + strings.Repeat("cookie=value; ", 30) + "\n\nuser-1\nlandscape"
	for range n {
		l.m.call("decide", handle, l.write(question), 417, 4_200_000_000, 1)
	}
}

func (l life) reloads(n int) {
	for range n {
		l.m.call("release", l.load())
	}
}

// bodies are edited three at a time, each begun before the last one ends.
func (l life) bodies(n int) {
	body := `{"input":{"prompt":"` + strings.Repeat("x", 4<<10) + `"},"version":"acme/flux"}`
	var open []uint32
	for range n {
		finder := l.m.call("open_finder")
		require.Equal(l.t, uint32(1), l.m.call("push_finder", finder, l.write(body)))
		l.m.call("close_finder", finder)
		editor := l.m.call("open_editor", l.write("acme/next"), reactor.EditVersion|reactor.EditWebhook)
		require.NotContains(l.t, open, editor, "an editor in use was given out")
		l.m.call("push_editor", editor, l.write(body))
		answer := l.m.call("open_answer", 1)
		l.m.call("push_answer", answer, l.write(body))
		l.m.call("close_answer", answer)
		if open = append(open, editor); len(open) == 3 {
			l.m.call("close_editor", open[0])
			open = open[1:]
		}
	}
	for _, editor := range open {
		l.m.call("close_editor", editor)
	}
}

// slack is what Go's collector may take more, depending on when it runs. The
// smallest leak that there can be, 16 bytes a decision, comes to more.
const slack = 1 << 20

// TestMemoryLevelsOff: once it has worked for a while, the module's memory grows
// no more, whether its clock runs or stands still.
func TestMemoryLevelsOff(t *testing.T) {
	h := newHost(t)
	for name, now := range map[string]clock{"running clock": wallClock, "frozen clock": frozenClock} {
		t.Run(name, func(t *testing.T) {
			l := life{t, h.start(t, now)}
			handle := l.load()
			l.reloads(2_000)
			l.bodies(2_000)
			l.decisions(handle, 10_000)
			before := l.m.memoryBytes()
			l.decisions(handle, 100_000)
			l.reloads(10_000)
			l.bodies(10_000)
			t.Logf("%d KiB", l.m.memoryBytes()>>10)
			require.LessOrEqual(t, l.m.memoryBytes(), before+slack)
			require.Less(t, before, uint32(16<<20))
		})
	}
}

// TestHandles: handles are used again, never while they are in use, and of their
// own kind.
func TestHandles(t *testing.T) {
	l := life{t, newHost(t).start(t, wallClock)}
	a, b, c := l.load(), l.load(), l.load()
	require.Equal(t, []uint32{1, 2, 3}, []uint32{a, b, c})
	require.Equal(t, uint32(1), l.m.call("open_finder"))
	require.Equal(t, uint32(1), l.m.call("open_editor", 0, 0))
	require.Equal(t, uint32(1), l.m.call("open_answer", 1))
	l.m.call("release", b)
	require.Equal(t, b, l.load())
	require.Equal(t, uint32(4), l.load())
	for range 1_000 {
		handle := l.load()
		require.Equal(t, uint32(5), handle)
		l.m.call("release", handle)
	}
}

// TestTrap: a handle that is not in use ends the instance, and only it.
func TestTrap(t *testing.T) {
	h := newHost(t)
	for _, call := range [][]uint32{{7, 0, 0, 0, 0}, {0, 0, 0, 0, 0}} {
		m := h.start(t, wallClock)
		_, err := m.functions["decide"].Call(t.Context(), uint64(call[0]), 0, 0, 0, 0)
		require.Error(t, err)
	}
	l := life{t, h.start(t, wallClock)}
	l.decisions(l.load(), 1)
}
