package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	rollouts "perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/test/stack"
	"perch/test/upstream"
)

// judgeMode is how analytics answers.
type judgeMode struct {
	name      string
	lag       time.Duration
	sample    int           // queries see one in so many points
	reference time.Duration // of stable's times, of which the judge wants twenty rows at least
}

var judgeModes = []judgeMode{
	{"plain", 0, 1, 10 * time.Second},
	{"lag", 60 * time.Second / timeScale, 1, 10 * time.Second},
	{"sampled", 0, 10, 30 * time.Second},
}

// policy is the default one with minutes turned into seconds; limits are the
// default's. Points arrive within 2 s on a busy machine.
func (m judgeMode) policy() string {
	return fmt.Sprintf(`interval: 1s
look: 1s
bake: 6s
window: 5s
reference: %s
history: 30s
cold_start: 1s
spread: 3s
lag: %s
expire: 10s
deadline: 180s
unattended_after: 60s
`, m.reference, 2*time.Second+m.lag)
}

// judgeTime is how long verdicts may take on a busy machine.
const judgeTime = 120 * time.Second

// TestVerdicts: each rollout of testdata/judge ends as its file says, with plain
// analytics, with late ones and with one point in ten.
func TestVerdicts(t *testing.T) {
	w := judgeWorld(t)
	for _, mode := range judgeModes {
		t.Run(mode.name, func(t *testing.T) {
			w := w.within(t)
			w.setMode(mode)
			scenarios := readJudged(t, mode.name)
			verdicts := slices.DeleteFunc(slices.Clone(scenarios), func(s judged) bool { return s.outage != "" })
			t.Run("verdicts", func(t *testing.T) { w.within(t).testVerdicts(mode, verdicts) })
			outages := slices.DeleteFunc(scenarios, func(s judged) bool { return s.outage == "" })
			t.Run("outages", func(t *testing.T) { w.within(t).testOutages(mode, outages) })
		})
	}
}

// judgeWorld has a model and a pair of plain model servers for each scenario and mode.
func judgeWorld(t *testing.T) *world {
	t.Helper()
	var models []string
	for _, mode := range judgeModes {
		for _, s := range readJudged(t, mode.name) {
			models = append(models, judgeModel(s.name, mode.name))
		}
	}
	return newWorld(t, worldOptions{Models: models, Upstream: func(o *upstream.Options) {
		for _, model := range models {
			for _, arm := range []string{document.Stable, document.Canary} {
				o.Catalog.HTTP = append(o.Catalog.HTTP, upstream.HTTPModel{Name: strings.TrimPrefix(model, "judge/") + "-" + arm})
			}
		}
	}})
}

func (w *world) setMode(mode judgeMode) {
	w.Helper()
	lag := int(mode.lag.Milliseconds())
	down := false
	require.NoError(w, w.stack.SetAnalytics(w.Context(), stack.AnalyticsUpdate{LagMS: &lag, Sample: &mode.sample, Down: &down}))
	require.NoError(w, w.stack.SetKV(w.Context(), stack.KVUpdate{API: "ok", Reads: "ok"}))
}

// testVerdicts runs all scenarios at once, judged by one run.
func (w *world) testVerdicts(mode judgeMode, scenarios []judged) {
	p := w.newPass(mode, scenarios)
	p.begin()
	p.await("all verdicts", judgeTime, func() bool { return p.decided() })
	p.endOthers()
	p.await("the end of the run", 30*time.Second, func() bool { return len(p.ended) > 0 })
	require.Equal(p, exitRolledBack, <-p.ended, "the gravest end is a rollback's: %s", p.stderr.String())
	for _, r := range p.rolled {
		p.T.Run(r.name, func(t *testing.T) {
			t.Log(r.intent)
			t.Logf("%s after %.0f s", r.ended, r.took.Seconds())
			p.within(t).check(r)
		})
	}
}

func (p *pass) decided() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.rolled, func(r *rolled) bool { return r.ended == "" })
}

// endOthers rolls back by hand what no verdict has ended.
func (p *pass) endOthers() {
	p.Helper()
	for _, r := range p.rolled {
		if !r.ended.Ended() {
			p.orchestrate(exitDone, r.policy, "rollback", "--reason", "the test is over", r.service.String())
		}
	}
}

// check holds the outcome of a scenario to its file.
func (w *world) check(r *rolled) {
	w.Helper()
	require.Contains(w, r.ends, r.ended)
	w.checkLooks(r)
	entries := w.judgedHistory(r)
	newest := entries[len(entries)-1]
	switch r.ended {
	case rollouts.RolledBack:
		w.checkRollback(r, newest)
		require.Len(w, entries, 2, "it was raised or renewed between its start and its rollback")
		require.Contains(w, w.kept(r.service.HaltKey()), newest.Rollout)
	case rollouts.Promoted:
		require.Equal(w, rollouts.ActionPromote, newest.Action)
		require.Equal(w, judge.Promote, newest.Verdict.Decision)
	}
	w.checkRestated(r)
	if r.incident == "" {
		require.Zero(w, r.calls[document.Stable].Failed, r.calls[document.Stable].LastError)
	}
	require.LessOrEqual(w, r.calls[document.Canary].Failed, r.failed+w.incidental(r), r.calls[document.Canary].LastError)
}

// incidental is how many calls of the canary failed of an incident: as many as may.
func (w *world) incidental(r *rolled) int {
	if r.incident == "" {
		return 0
	}
	return r.calls[document.Canary].Calls()
}

// checkLooks requires that nothing but the expected was decided on the way, and
// that what had to be said was said while the canary was held.
func (w *world) checkLooks(r *rolled) {
	w.Helper()
	said := false
	for _, look := range r.looks {
		require.Empty(w, look.Error)
		if look.Verdict == nil {
			continue
		}
		v := *look.Verdict
		require.NotEmpty(w, v.Reason)
		if v.Frozen != "" {
			require.Equal(w, judge.Hold, v.Decision, v.Reason)
		}
		if !slices.Contains(r.ends, rollouts.RolledBack) {
			require.NotEqual(w, judge.Rollback, v.Decision, v.Reason)
		}
		if !slices.Contains(r.ends, rollouts.Promoted) {
			require.NotEqual(w, judge.Promote, v.Decision, v.Reason)
		}
		said = said || v.Decision == judge.Hold && strings.Contains(v.Reason, r.says)
	}
	require.True(w, said || r.says == "", "no verdict said %q", r.says)
}

// checkRollback requires the verdict to name the metrics that it should, each with
// the evidence that a rollback takes.
func (w *world) checkRollback(r *rolled, entry rollouts.Entry) {
	w.Helper()
	require.Equal(w, rollouts.ActionRollback, entry.Action)
	v := entry.Verdict
	require.NotNil(w, v)
	require.Equal(w, judge.Rollback, v.Decision)
	var named []judge.Metric
	said := false
	for _, a := range v.Metrics {
		if !a.Breach || a.Role == judge.Observed {
			continue
		}
		named = append(named, a.Metric)
		require.Greater(w, a.Recent.Canary, a.RollbackAbove, a.Metric)
		tests := 0
		for _, test := range a.Tests {
			if strings.HasPrefix(test.Name, "rollback.") {
				tests++
				require.GreaterOrEqual(w, test.Log, test.NeededLog, "%s: %s", a.Metric, test.Name)
			}
		}
		require.Positive(w, tests, "%s: a rollback rests on evidence", a.Metric)
		said = said || strings.Contains(entry.Reason, a.Metric.Title())
	}
	require.NotEmpty(w, named)
	require.Subset(w, r.names, named, entry.Reason)
	require.True(w, said, "none of %v is named in the reason: %s", named, entry.Reason)
}

// judgedHistory is the history of the service's rollout, the oldest entry first.
func (w *world) judgedHistory(r *rolled) []rollouts.Entry {
	w.Helper()
	told := w.orchestrate(exitDone, r.policy, "history", "--json", r.service.String())
	var entries []rollouts.Entry
	require.NoError(w, json.Unmarshal([]byte(told.stdout), &entries), told.stdout)
	require.NotEmpty(w, entries)
	return entries
}

// checkRestated requires that the stored verdicts follow from what is stored with them.
func (w *world) checkRestated(r *rolled) {
	w.Helper()
	w.orchestrate(exitDone, r.policy, "history", "--recheck", r.service.String())
}

// kept is the value of a key, past every cache.
func (w *world) kept(key string) string {
	w.Helper()
	values, err := w.stack.KVValues(w.Context())
	require.NoError(w, err)
	return values[key]
}
