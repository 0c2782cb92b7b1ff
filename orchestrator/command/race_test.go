package command

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
)

// clone returns an account of its own that holds the same.
func (b *bench) clone() *bench {
	c := newBench(b.t)
	c.kv.values, c.clock.now = maps.Clone(b.kv.values), b.clock.now
	return c
}

// racer is a command that takes one step, a call of the store or the source, at
// a time.
type racer struct {
	allow, did chan struct{}
	finished   chan result
	ended      bool
	result     result
	calls      int
}

// race starts a command on the bench's account that waits before its first call.
func (b *bench) race(args ...string) *racer {
	r := &racer{allow: make(chan struct{}), did: make(chan struct{}), finished: make(chan result, 1)}
	gate := func() {
		r.did <- struct{}{}
		<-r.allow
	}
	own := *b
	own.kv = &fakeKV{values: b.kv.values, gate: gate}
	own.source = &fakeSource{kv: own.kv, canary: b.source.canary, stable: b.source.stable, gate: gate}
	go func() { r.finished <- own.run(args...) }()
	r.await()
	return r
}

// step lets it make n calls, or as many as it has.
func (r *racer) step(n int) {
	for range n {
		if r.ended {
			return
		}
		r.allow <- struct{}{}
		r.calls++
		r.await()
	}
}

// await waits until it is about to make its next call, or has ended.
func (r *racer) await() {
	select {
	case <-r.did:
	case r.result = <-r.finished:
		r.ended = true
	}
}

// finish lets it run to its end.
func (r *racer) finish() result {
	for !r.ended {
		r.step(1)
	}
	return r.result
}

// calls counts the calls that a command makes undisturbed.
func calls(t *testing.T, prepare func() *bench, args []string) int {
	r := prepare().race(args...)
	r.finish()
	require.Greater(t, r.calls, 4)
	return r.calls
}

// interleave runs two commands in every order in which the first is interrupted
// once, and the second as well.
func interleave(t *testing.T, prepare func() *bench, first, second []string, check func(t *testing.T, b *bench, first, second result)) {
	n, m := calls(t, prepare, first), calls(t, prepare, second)
	prepared := prepare()
	for i := range n + 1 {
		for j := range m + 1 {
			b := prepared.clone()
			one, two := b.race(first...), b.race(second...)
			one.step(i)
			two.step(j)
			a, z := one.finish(), two.finish()
			t.Run(fmt.Sprintf("%d/%d", i, j), func(t *testing.T) {
				b.t = t
				check(t, b, a, z)
			})
		}
	}
}

func due(t *testing.T) func() *bench {
	return func() *bench {
		b := newBench(t).start()
		b.clock.advance(bake)
		b.do(0, "step", "acme/flux")
		b.clock.advance(bake)
		return b
	}
}

func TestTwoStepsNeverSkipOne(t *testing.T) {
	step := []string{"step", "acme/flux"}
	interleave(t, due(t), step, step, func(t *testing.T, b *bench, one, two result) {
		for _, r := range []result{one, two} {
			require.Contains(t, []int{0, exitLostRace}, r.code, r.stderr)
		}
		require.Equal(t, 5000, b.state().Document.BasisPoints)
		b.do(0, "step", "acme/flux")
		b.requireAt(rollout.Running, 5000)
		b.do(0, "step", "acme/flux")
		b.requireAt(rollout.Running, 5000)
	})
}

func TestLateStepCannotUndoARollback(t *testing.T) {
	for _, first := range []string{"step", "rollback"} {
		second := map[string]string{"step": "rollback", "rollback": "step"}[first]
		t.Run(first+" first", func(t *testing.T) {
			interleave(t, due(t), []string{first, "acme/flux"}, []string{second, "acme/flux"}, func(t *testing.T, b *bench, one, two result) {
				results := map[string]result{first: one, second: two}
				require.Zero(t, results["rollback"].code, results["rollback"].stderr)
				require.Contains(t, []int{0, exitRolledBack, exitLostRace}, results["step"].code, results["step"].stderr)
				require.Equal(t, b.document().Rollout, string(b.kv.values[flux.HaltKey()]), "the edge serves stable whatever the document says")
				b.do(4, "step", "acme/flux")
				b.requireAt(rollout.RolledBack, 0)
			})
		})
	}
}

// TestPromotionCannotUndoARollback: the last step promotes while someone rolls back.
func TestPromotionCannotUndoARollback(t *testing.T) {
	prepare := func() *bench {
		b := due(t)()
		b.do(0, "step", "acme/flux")
		b.clock.advance(bake)
		b.do(0, "step", "acme/flux")
		b.requireAt(rollout.Running, 10000)
		b.clock.advance(bake)
		return b
	}
	interleave(t, prepare, []string{"step", "acme/flux"}, []string{"rollback", "acme/flux"}, func(t *testing.T, b *bench, _, back result) {
		require.Zero(t, back.code, back.stderr)
		b.do(4, "step", "acme/flux")
		b.requireAt(rollout.RolledBack, 0)
		require.Equal(t, oldID, b.document().Targets[0].VersionID(), "stable is the former one")
	})
}

// TestHandIsNeverLostInSilence: a change by hand that a late step overtakes
// says so, or stands after the next command.
func TestHandIsNeverLostInSilence(t *testing.T) {
	full := func() *bench {
		b := due(t)()
		for range 2 {
			b.do(0, "step", "acme/flux")
			b.clock.advance(bake)
		}
		b.requireAt(rollout.Running, 10000)
		return b
	}
	half := due(t)
	cases := []struct {
		name    string
		prepare func() *bench
		hand    []string
		phase   rollout.Phase
		at      int
	}{
		{"set 0 against a raise", half, []string{"set", "--percentage", "0"}, rollout.Paused, 0},
		{"set 1 against a raise", half, []string{"set", "--percentage", "1"}, rollout.Paused, 100},
		{"promote against a raise", half, []string{"promote"}, rollout.Promoted, 0},
		{"set 0 against a promotion", full, []string{"set", "--percentage", "0"}, rollout.Paused, 0},
		{"set 1 against a promotion", full, []string{"set", "--percentage", "1"}, rollout.Paused, 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			interleave(t, c.prepare, []string{"step", "acme/flux"}, append(c.hand, "acme/flux"), func(t *testing.T, b *bench, step, hand result) {
				wasPromoted := b.document().Target("canary") < 0
				b.do(0, "step", "acme/flux")
				s := b.state()
				b.requireAt(s.Phase, s.Document.BasisPoints)
				switch {
				case hand.code == 0 && strings.Contains(hand.stdout, " paused\n"), hand.code == 0 && c.phase == rollout.Promoted:
					require.Equal(t, c.phase, s.Phase)
					require.Equal(t, c.at, s.Document.BasisPoints)
				case hand.code == exitRefused || hand.code == 0:
					require.True(t, wasPromoted)
				default:
					require.Equal(t, exitLostRace, hand.code, hand.stderr)
				}
			})
		})
	}
}

// TestStepOfAnOldRollout: an old step is still at work when its rollout was rolled back and a new one begins.
func TestStepOfAnOldRollout(t *testing.T) {
	start := []string{"start", "--canary", "deployment=acme/next", "acme/flux"}
	n := calls(t, due(t), []string{"step", "acme/flux"})
	for i := range n {
		b := due(t)()
		late := b.race("step", "acme/flux")
		late.step(i)
		b.do(0, "rollback", "acme/flux")
		b.do(0, start...)
		id := b.state().ID()
		late.finish()
		d := b.document()
		if d.Rollout != id && d.BasisPoints > 0 {
			require.Equal(t, d.Rollout, string(b.kv.values[flux.HaltKey()]), "what it wrote late is halted")
		}
		b.run("step", "acme/flux")
		d = b.document()
		if d.Rollout != id {
			require.Equal(t, d.Rollout, string(b.kv.values[flux.HaltKey()]))
		}
		b.requireAt(b.state().Phase, d.BasisPoints)
	}
}

// TestStepNoticesWhatHappenedMeanwhile: whatever call it is at, a step that was
// overtaken by a whole command ends with the code that says so.
func TestStepNoticesWhatHappenedMeanwhile(t *testing.T) {
	step := []string{"step", "acme/flux"}
	n := calls(t, due(t), step)
	cases := []struct {
		name      string
		meanwhile []string
		code      int
	}{
		{"rolled back", []string{"rollback", "acme/flux"}, exitRolledBack},
		{"set by hand", []string{"set", "--percentage", "3", "acme/flux"}, exitLostRace},
		{"promoted", []string{"promote", "acme/flux"}, exitLostRace},
	}
	for _, c := range cases {
		for i := 1; i < n; i++ {
			t.Run(fmt.Sprintf("%s/%d", c.name, i), func(t *testing.T) {
				b := due(t)()
				late := b.race(step...)
				late.step(i)
				b.do(0, c.meanwhile...)
				meanwhile := b.document()
				r := late.finish()
				require.Equal(t, c.code, r.code, r.stdout+r.stderr)
				if now := b.document(); r.code == exitLostRace {
					require.Equal(t, meanwhile.BasisPoints, now.BasisPoints)
					require.Equal(t, meanwhile.Targets, now.Targets)
				}
				b.run("step", "acme/flux")
				require.Equal(t, meanwhile.BasisPoints, b.document().BasisPoints)
				require.Equal(t, meanwhile.Targets, b.document().Targets)
			})
		}
	}
}

// TestLateRollbackLeavesANewRolloutAlone: the verdict of a step is about the old
// rollout; a new one has begun before it is written.
func TestLateRollbackLeavesANewRolloutAlone(t *testing.T) {
	step := []string{"step", "acme/flux"}
	prepare := func() *bench {
		b := due(t)()
		b.source.canary = failing
		return b
	}
	for i := range 5 { // up to its writes, the first of which is the halt key
		b := prepare()
		late := b.race(step...)
		late.step(i)
		b.do(0, "rollback", "acme/flux")
		b.do(0, "start", "--canary", "deployment=acme/next", "acme/flux")
		id := b.state().ID()
		r := late.finish()
		if i > 0 {
			require.Equal(t, exitLostRace, r.code, r.stdout+r.stderr)
		}
		if b.state().Phase == rollout.Running {
			require.Equal(t, id, b.state().ID())
			require.Equal(t, id, b.document().Rollout)
		}
	}
}
