package reactor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// guardDocument has a breaker that opens after two failures, for 100 ms, and a
// rule that leads to a model server without a fallback.
const guardDocument = `{
  "schema": 1, "service": "model:acme/flux", "rollout": "r1", "mode": "canary", "percentage": 100, "salt": "r1", "generation": 1,
  "targets": {"stable": {"model": "acme/flux"}, "canary": {"deployment": "acme/flux-next"}, "alone": {"url": "https://m.example"}},
  "rules": [{"header": "x-model-type", "equals": "alone", "use": "alone"}],
  "fallback": {"breaker_failures": 2, "breaker_retry_ms": 100}, "overrides": true
}`

const skippedBit = 1 << 17

// skips decides for a user of the canary and reports whether the breaker skips it.
func skips(r *Reactor, handle uint32, now int, override string, form uint32) bool {
	code := r.Decide(handle, r.write(override+"\n\n\n\n\n\nme\n"), 0, uint32(now), form)
	return code&skippedBit != 0
}

func fail(r *Reactor, handle, target uint32, now, times int) (left uint32) {
	for range times {
		left = r.Report(handle, target, 1, 0, uint32(now))
	}
	return left
}

// TestBreakerSkips: after failures in a row the canary is left alone, but for one
// probe at a time, until one succeeds.
func TestBreakerSkips(t *testing.T) {
	r := new(Reactor)
	handle := load(t, r, guardDocument, "")
	require.False(t, skips(r, handle, 0, "", 1))
	require.Equal(t, uint32(1), fail(r, handle, 1, 0, 1))
	require.False(t, skips(r, handle, 0, "", 1))
	fail(r, handle, 1, 0, 1)
	require.True(t, skips(r, handle, 1, "", 1))
	require.False(t, skips(r, handle, 1, "canary", 1), "who asks for the canary wants to see it")

	require.False(t, skips(r, handle, 100, "", 1|Preview), "a look takes no probe")
	require.False(t, skips(r, handle, 100, "", 1), "the probe")
	require.True(t, skips(r, handle, 100, "", 1), "a second one")
	require.True(t, skips(r, handle, 100, "", 1|Preview))
	require.Zero(t, r.Report(handle, 1, 0, 0, 150), "closed again, there is nothing to remember")
	require.False(t, skips(r, handle, 150, "", 1))
}

// TestBreakerKeeps: a renewed document changes nothing, another rollout begins
// anew, and so does another target.
func TestBreakerKeeps(t *testing.T) {
	r := new(Reactor)
	handle := load(t, r, guardDocument, "")
	fail(r, handle, 1, 0, 2)
	renewed := load(t, r, strings.Replace(guardDocument, `"generation": 1`, `"generation": 2`, 1), "")
	r.Release(handle)
	require.True(t, skips(r, renewed, 1, "", 1))
	next := load(t, r, strings.Replace(guardDocument, `"rollout": "r1"`, `"rollout": "r2"`, 1), "")
	require.False(t, skips(r, next, 1, "", 1))
	other := load(t, r, strings.Replace(guardDocument, "model:acme/flux", "deployment:acme/flux", 1), "")
	require.False(t, skips(r, other, 1, "", 1))
	off := load(t, r, strings.Replace(guardDocument, `"breaker_failures": 2`, `"breaker_failures": 0`, 1), "")
	require.False(t, skips(r, off, 1, "", 1))
}

// TestBreakerNeedsFallback: who has nobody behind it is always asked.
func TestBreakerNeedsFallback(t *testing.T) {
	r := new(Reactor)
	handle := load(t, r, guardDocument, "")
	require.Zero(t, fail(r, handle, 0, 0, 9), "stable")
	require.Zero(t, fail(r, handle, 2, 0, 9), "a rule's target")
	code := r.Decide(handle, r.write("\n\n\n\n\n\nme\nalone"), 0, 1, 2)
	require.Equal(t, uint32(2), code&0xff)
	require.Zero(t, code&skippedBit)
	switchedOff := load(t, r, strings.Replace(guardDocument, `"fallback": {`, `"fallback": {"on": [], `, 1), "")
	require.Zero(t, fail(r, switchedOff, 1, 0, 9))
}

// TestBreakersAreBounded: the oldest make room.
func TestBreakersAreBounded(t *testing.T) {
	r := new(Reactor)
	handles := make([]uint32, maxBreakers+10)
	for i := range handles {
		handles[i] = load(t, r, strings.Replace(guardDocument, `"rollout": "r1"`, fmt.Sprintf(`"rollout": "r%d"`, i), 1), "")
		left := fail(r, handles[i], 1, i, 2)
		require.Equal(t, uint32(min(i+1, maxBreakers)), left)
	}
	require.False(t, skips(r, handles[9], 100, "", 1), "the oldest were forgotten")
	require.True(t, skips(r, handles[maxBreakers+9], 100, "", 1))
}

// TestTroubleBits: the flags are those that the shell writes.
func TestTroubleBits(t *testing.T) {
	r := new(Reactor)
	handle := load(t, r, guardDocument, "")
	const reset = 3
	require.Equal(t, uint32(1), r.Rescue(handle, 1, 0, 500, 1|4))
	require.Zero(t, r.Rescue(handle, 1, 0, 500, 1), "not to be sent again")
	require.Zero(t, r.Rescue(handle, 1, reset, 0, 1|4), "a create")
	require.Equal(t, uint32(1), r.Rescue(handle, 1, reset, 0, 1|2|4), "safe")
	require.Zero(t, r.Rescue(handle, 0, 0, 500, 1|4), "stable")
}
