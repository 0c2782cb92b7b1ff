package e2e

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/report"
	rollouts "perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/test/stack"
)

// outageTime is how long something may take that takes some looks.
const outageTime = 60 * time.Second

// testOutages lets healthy canaries be judged while one after the other is away
// what the judge needs, and then to the end.
func (w *world) testOutages(mode judgeMode, scenarios []judged) {
	p := w.newPass(mode, scenarios)
	p.begin()
	p.await("the first verdicts on canaries", outageTime, func() bool { return p.every(hasCanary) })
	for _, r := range p.rolled {
		switch r.outage {
		case "analytics", untilDropped:
			p.withoutAnalytics(r)
		case "kv":
			p.withoutKV(r)
		default:
			require.Fail(p, "no such outage", r.outage)
		}
	}
	p.await("all verdicts", judgeTime, func() bool { return p.decided() })
	p.endOthers()
	p.await("the end of the run", 30*time.Second, func() bool { return len(p.ended) > 0 })
	require.Equal(p, exitDone, <-p.ended, p.stderr.String())
	for _, r := range p.rolled {
		p.T.Run(r.name, func(t *testing.T) {
			t.Log(r.intent)
			t.Logf("%s after %.0f s", r.ended, r.took.Seconds())
			p.within(t).check(r)
		})
	}
}

// every reports that the newest look at each service is of a kind.
func (p *pass) every(kind func(report.Status) bool) bool {
	return !slices.ContainsFunc(p.rolled, func(r *rolled) bool {
		look, looked := p.last(r)
		return !looked || look.Verdict == nil || !kind(look)
	})
}

func hasCanary(s report.Status) bool { return recentCanary(*s.Verdict) > 0 }

func hasProblem(s report.Status) bool { return s.Verdict.Problem != "" }

// untilDropped is an outage of analytics that lasts until the edge has dropped the
// canary that nobody can judge.
const untilDropped = "analytics until dropped"

// withoutAnalytics takes analytics away for two looks at least.
func (p *pass) withoutAnalytics(r *rolled) {
	p.Helper()
	set := func(down bool) {
		require.NoError(p, p.stack.SetAnalytics(p.Context(), stack.AnalyticsUpdate{Down: &down}))
	}
	set(true)
	p.await("two looks without analytics", outageTime, func() bool { return len(p.problems(r)) >= 2 })
	if r.outage == untilDropped {
		p.await("the edge drops the canary", outageTime, func() bool {
			arms := r.traffic.Snapshot().Arms
			return time.Since(arms[document.Stable].Last) < time.Second && time.Since(arms[document.Canary].Last) > 2*time.Second
		})
	}
	p.serves()
	problems := p.problems(r)
	set(false)
	for _, look := range problems {
		require.Equal(p, judge.Hold, look.Verdict.Decision, look.Verdict.Reason)
		require.Contains(p, look.Verdict.Reason, "nothing could be measured: ")
		require.Equal(p, string(rollouts.Running), look.Phase)
		require.Equal(p, problems[0].Percentage, look.Percentage)
		require.Equal(p, problems[0].UnattendedAfter, look.UnattendedAfter, "the dead man's switch was renewed on a look that measured nothing")
		require.Equal(p, problems[0].Generation, look.Generation)
	}
	p.await("looks that measure again", outageTime, func() bool {
		look, _ := p.last(r)
		return look.Verdict != nil && !hasProblem(look)
	})
	if r.outage == untilDropped {
		p.await("a verdict on the canary that was dropped", judgeTime, func() bool { return r.ended != "" })
		require.True(p, slices.ContainsFunc(p.seen(r), func(s report.Status) bool { return s.Action == string(rollouts.ActionRevive) }))
	}
}

// problems are the looks at a service that could measure nothing.
func (p *pass) problems(r *rolled) []report.Status {
	return slices.DeleteFunc(p.seen(r), func(s report.Status) bool { return s.Verdict == nil || !hasProblem(s) })
}

// withoutKV takes KV away, from the orchestrator and the edge, for two looks.
func (p *pass) withoutKV(r *rolled) {
	p.Helper()
	require.Empty(p, r.ended, "nothing is left to judge")
	set := func(answer string) {
		require.NoError(p, p.stack.SetKV(p.Context(), stack.KVUpdate{API: answer, Reads: answer}))
	}
	set("error")
	before, err := p.stack.KVValues(p.Context())
	require.NoError(p, err)
	failed := len(p.noted())
	p.await("two looks without KV", outageTime, func() bool { return len(p.noted()) >= failed+2 })
	p.serves()
	after, err := p.stack.KVValues(p.Context())
	require.NoError(p, err)
	require.True(p, maps.Equal(before, after), "something was written")
	for _, note := range p.noted()[failed:] {
		require.Regexp(p, "^look failed, trying again: .*KV.*: status 5", note)
	}
	looks := len(p.seen(r))
	set("ok")
	p.await("looks that succeed again", outageTime, func() bool { return len(p.seen(r)) > looks })
	p.await("the canary waits for an approval", judgeTime, func() bool {
		look, _ := p.last(r)
		return look.Phase == string(rollouts.Waiting)
	})
	p.orchestrate(exitDone, r.policy, "approve", r.service.String())
}

// serves requires that every rollout's service goes on answering.
func (p *pass) serves() {
	p.Helper()
	for _, r := range p.rolled {
		if r.ended != "" {
			continue
		}
		before := r.traffic.Snapshot()
		p.await("calls are served", outageTime, func() bool { return r.traffic.Snapshot().Since(before).Calls() >= 30 })
		require.Zero(p, r.traffic.Snapshot().Since(before).Failed())
	}
}
