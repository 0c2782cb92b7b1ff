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
		case "analytics":
			p.withoutAnalytics()
		case "kv":
			p.withoutKV()
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

// withoutAnalytics takes analytics away for two looks.
func (p *pass) withoutAnalytics() {
	p.Helper()
	set := func(down bool) {
		require.NoError(p, p.stack.SetAnalytics(p.Context(), stack.AnalyticsUpdate{Down: &down}))
	}
	before := p.counted()
	set(true)
	p.await("two looks without analytics", outageTime, func() bool {
		return p.everyCount(func(r *rolled) bool { return len(p.problems(r)) >= 2 })
	})
	p.serves()
	set(false)
	for _, r := range p.rolled {
		problems := p.problems(r)
		for _, look := range problems {
			require.Equal(p, judge.Hold, look.Verdict.Decision, look.Verdict.Reason)
			require.Contains(p, look.Verdict.Reason, "nothing could be measured: ")
			require.Equal(p, string(rollouts.Running), look.Phase)
			require.Equal(p, problems[0].Percentage, look.Percentage)
			require.Equal(p, problems[0].UnattendedAfter, look.UnattendedAfter, "the dead man's switch was renewed on a look that measured nothing")
			require.Equal(p, problems[0].Generation, look.Generation)
		}
	}
	p.await("looks that measure again", outageTime, func() bool {
		return p.every(func(s report.Status) bool { return !hasProblem(s) })
	})
	require.Less(p, before, p.counted(), "traffic went on")
}

// problems are the looks at a service that could measure nothing.
func (p *pass) problems(r *rolled) []report.Status {
	return slices.DeleteFunc(p.seen(r), func(s report.Status) bool { return s.Verdict == nil || !hasProblem(s) })
}

func (p *pass) everyCount(holds func(*rolled) bool) bool {
	return !slices.ContainsFunc(p.rolled, func(r *rolled) bool { return !holds(r) })
}

// withoutKV takes KV away, from the orchestrator and the edge, for two looks.
func (p *pass) withoutKV() {
	p.Helper()
	require.False(p, p.decided(), "nothing is left to judge")
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
	looks := p.looked()
	set("ok")
	p.await("looks that succeed again", outageTime, func() bool { return p.decided() || p.looked() >= looks+3 })
}

// looked is how many looks at services were told.
func (p *pass) looked() int {
	n := 0
	for _, r := range p.rolled {
		n += len(p.seen(r))
	}
	return n
}

// counted is how many calls came to their end.
func (p *pass) counted() int {
	n := 0
	for _, r := range p.rolled {
		n += r.traffic.Snapshot().Calls()
	}
	return n
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
