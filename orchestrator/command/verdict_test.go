package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

// TestVerbose: status and history tell all that a verdict rests on.
func TestVerbose(t *testing.T) {
	golden(t, "status_verbose.txt", shown(t).do(0, "status", "--verbose", "acme/flux").stdout)
	golden(t, "history_verbose.txt", shown(t).do(0, "history", "--verbose", "acme/flux").stdout)
}

// TestRecheck: a stored verdict can be computed again from what is stored with it.
func TestRecheck(t *testing.T) {
	b := shown(t)
	r := b.do(0, "history", "--recheck", "acme/flux")
	require.Regexp(t, `raise +promote +the same\n$`, r.stdout)
	require.Equal(t, "no verdicts\n", b.do(0, "history", "--recheck", "http:qwen").stdout)

	key := b.state().EntryKey()
	var e rollout.Entry
	require.NoError(t, json.Unmarshal(b.kv.values[key], &e))
	e.Verdict.Metrics[0].Window.Canary = 0.3
	text, err := json.Marshal(e)
	require.NoError(t, err)
	b.kv.values[key] = text
	r = b.do(exitError, "history", "--recheck", "acme/flux")
	require.Regexp(t, `raise +promote +hold\nstored: +after the bake time`, r.stdout)
	require.Equal(t, "orchestrator: recheck history: 1 verdict came out otherwise\nhint: the entry was edited, or an orchestrator with other rules wrote it\n", r.stderr)
	var results []report.Rechecked
	require.NoError(t, json.Unmarshal([]byte(b.run("history", "--recheck", "--json", "acme/flux").stdout), &results))
	require.Len(t, results, 1)
	require.True(t, results[0].Differs())
}

// TestHistoryOfAnEarlierOrchestrator: a verdict of another form hides no entry.
func TestHistoryOfAnEarlierOrchestrator(t *testing.T) {
	b := newBench(t)
	b.kv.values[flux.HistoryPrefix()+"old:000000000002"] = []byte(`{"time":"2026-10-01T00:00:00Z","actor":"ada","action":"raise","rollout":"old","generation":2,"from":5,"to":20,
		"reason":"good","verdict":{"decision":"promote","reason":"good","metrics":[{"name":"errors","window":"recent","canary":0.1}]}}`)
	require.Regexp(t, `old +raise +5 → 20 +ada +good`, b.do(0, "history", "acme/flux").stdout)
	require.Equal(t, "no verdicts\n", b.do(0, "history", "--recheck", "acme/flux").stdout)
}

// TestSourceThatStaysAwayIsTold: a look or two are nobody's business.
func TestSourceThatStaysAwayIsTold(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(5 * time.Minute)
	b.do(0, "step", "acme/flux")
	b.source.err = errAway
	b.clock.advance(2 * time.Minute)
	require.NotContains(t, b.do(0, "status", "acme/flux").stdout, "measured since")
	b.clock.advance(10 * time.Minute)
	const told = "nothing could be measured since 2026-11-20 12:04:00 UTC"
	require.Contains(t, b.do(0, "status", "acme/flux").stdout, told)
	require.Contains(t, b.do(0, "step", "acme/flux").stdout, told)
	require.Contains(t, b.do(0, "step", "--all").stdout, "hold")
}

// TestPromotionThatNobodyActsOnHidesNoBreach: while a rollout waits for a person,
// a verdict of each interval says promote; what comes after is seen at once.
func TestPromotionThatNobodyActsOnHidesNoBreach(t *testing.T) {
	b := newBench(t)
	b.policy(strings.Replace(quick, "[20, 50]", "[{percentage: 20, approve: true}, 50]", 1))
	b.start()
	b.clock.advance(7 * time.Minute)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Waiting, 2000)
	b.source.turns = b.clock.now.Add(6 * time.Minute)
	b.clock.advance(11 * time.Minute)
	b.do(exitRolledBack, "step", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
}
