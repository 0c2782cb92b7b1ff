package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
)

// quick is a policy whose rollout takes few looks.
const quick = `
steps: [20, 50]
bake: 5m
interval: 1m
look: 2m
window: 2m
reference: 5m
history: 10m
cold_start: 1m
spread: 1m
`

// quickBench is an account with a rollout by that policy.
func quickBench(t testing.TB) *bench {
	b := newBench(t)
	b.policy(quick)
	return b.start()
}

// policy puts a policy file in force.
func (b *bench) policy(text string) {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "policy.yaml")
	require.NoError(b.t, os.WriteFile(path, []byte(text), 0o600))
	b.env["PERCH_POLICY"] = path
}

// verdicts are the history's changes with all that their verdicts rest on.
func (b *bench) verdicts() []string {
	b.t.Helper()
	var entries []rollout.Entry
	require.NoError(b.t, json.Unmarshal([]byte(b.do(0, "history", "--json", "--limit", "0", "acme/flux").stdout), &entries))
	var texts []string
	for _, e := range entries {
		verdict, err := json.Marshal(e.Verdict)
		require.NoError(b.t, err)
		texts = append(texts, fmt.Sprintf("%s %s %s→%s %s %s", e.Time.Format("15:04:05"), e.Action, e.From, e.To, e.Reason, verdict))
	}
	return texts
}

// looks steps every two minutes until the rollout has ended. A step that dies is
// started again at once.
func (b *bench) looks() {
	for range 60 {
		b.clock.advance(2 * time.Minute)
		died := b.kv.failAt > 0 && b.kv.writes >= b.kv.failAt
		b.run("step", "acme/flux")
		if b.kv.failAt > 0 && b.kv.writes >= b.kv.failAt && !died {
			b.kv.failAt = 0
			b.run("step", "acme/flux")
		}
		if b.state().Phase.Ended() {
			return
		}
	}
	require.FailNow(b.t, "the rollout does not end")
}

// TestKilledAnywhereGivesTheSameVerdicts: at every write of a whole rollout, and
// whether that write was stored or not, the orchestrator dies and is started
// again. The history, with every number of its verdicts, is that of a run which
// nothing disturbed.
func TestKilledAnywhereGivesTheSameVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		end  rollout.Phase
		turn time.Duration // after which the canary fails
	}{
		{"promoted", rollout.Promoted, time.Hour},
		{"rolled back at the second step", rollout.RolledBack, 9 * time.Minute},
		{"rolled back at once", rollout.RolledBack, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			prepare := func() *bench {
				b := quickBench(t)
				b.source.turns = noon.Add(c.turn)
				return b
			}
			undisturbed := prepare()
			began := undisturbed.kv.writes
			undisturbed.looks()
			require.Equal(t, c.end, undisturbed.state().Phase)
			want := undisturbed.verdicts()
			total := undisturbed.kv.writes - began
			require.Greater(t, total, 4)
			for n := 1; n <= total; n++ {
				for _, persist := range []bool{false, true} {
					b := prepare()
					b.kv.failAt, b.kv.persist = b.kv.writes+n, persist
					b.looks()
					require.Equal(t, want, b.verdicts(), "killed at write %d of %d, which was stored: %v", n, total, persist)
				}
			}
		})
	}
}

// TestLateLookGivesTheSameVerdict: one look that comes late finds what a look at
// every interval would have found, at the same interval.
func TestLateLookGivesTheSameVerdict(t *testing.T) {
	punctual, late := quickBench(t), quickBench(t)
	for punctual.state().Document.BasisPoints == 2000 {
		punctual.clock.advance(time.Minute)
		punctual.do(0, "step", "acme/flux")
	}
	late.clock.advance(punctual.clock.now.Sub(noon) + 7*time.Minute)
	late.do(0, "step", "acme/flux")
	require.Equal(t, punctual.state().Last.Verdict, late.state().Last.Verdict)
}

// TestMemoryIsOneValue: a look that moves the judge on writes it once; one that
// finds nothing new, or cannot measure, writes nothing.
func TestMemoryIsOneValue(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(3 * time.Minute)
	writes := b.kv.writes
	b.do(0, "step", "acme/flux")
	require.Equal(t, writes+1, b.kv.writes)
	kept := b.kv.values[flux.JudgeKey()]
	require.Contains(t, string(kept), `"rollout":"2026-11-20-a"`)
	require.Less(t, len(kept), 32<<10)
	b.do(0, "step", "acme/flux")
	b.do(0, "status", "acme/flux")
	b.do(0, "step", "--dry-run", "acme/flux")
	b.source.err = errAway
	b.clock.advance(3 * time.Minute)
	b.do(0, "step", "acme/flux")
	require.Equal(t, writes+1, b.kv.writes)
	require.Equal(t, kept, b.kv.values[flux.JudgeKey()])
}

// TestMemoryCanBeLost: what is missing, broken or of another rollout is learnt
// anew from analytics, and the verdict is the same.
func TestMemoryCanBeLost(t *testing.T) {
	want := ""
	for _, c := range []struct {
		name   string
		change func(values map[string][]byte)
	}{
		{"kept", func(map[string][]byte) {}},
		{"lost", func(v map[string][]byte) { delete(v, flux.JudgeKey()) }},
		{"broken", func(v map[string][]byte) { v[flux.JudgeKey()] = []byte("{") }},
		{"no text", func(v map[string][]byte) { v[flux.JudgeKey()] = []byte{0xff} }},
		{"of another rollout", func(v map[string][]byte) { v[flux.JudgeKey()] = []byte(`{"rollout":"other","memory":{}}`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := quickBench(t)
			b.clock.advance(4 * time.Minute)
			b.do(0, "step", "acme/flux")
			c.change(b.kv.values)
			b.clock.advance(4 * time.Minute)
			b.do(0, "step", "acme/flux")
			b.requireAt(rollout.Running, 5000)
			got, err := json.Marshal(b.state().Last.Verdict)
			require.NoError(t, err)
			if want == "" {
				want = string(got)
			}
			require.Equal(t, want, string(got))
		})
	}
}
