package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/orchestrator/simulate"
)

// lab simulates, and collects what does not hold.
type lab struct {
	ctx      context.Context
	effort   float64
	failures []string
}

// must notes what does not hold.
func (l *lab) must(holds bool, format string, args ...any) {
	if !holds {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}

// auto is a rollout whose steps were laid by its traffic, and what its plan said.
type auto struct {
	policy  policy.Policy
	plan    plan.Plan // only where the canary asks for it
	outcome simulate.Outcome
}

// errors of stable in all rollouts.
const usualErrors = 0.001

// canary is how much worse one is than stable: points of errors, 0 to 100, and the
// ratio of times; of one that depends on what its plan says, by is set.
type canary struct {
	points, slower float64
	by             func(plan.Plan) canary
}

// many simulates rollouts at a number of requests a minute. The same number gives
// the same rollouts on any machine.
func (l *lab) many(rate float64, c canary, planned bool, runs int) ([]auto, error) {
	rollouts := make([]auto, max(20, int(float64(runs)*l.effort)))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rollouts)) && l.ctx.Err() == nil; i = next.Add(1) - 1 {
				rollouts[i] = one(rate, c, planned, uint64(i))
			}
		})
	}
	workers.Wait()
	fmt.Fprintf(os.Stderr, "%d rollouts at %g a minute\n", len(rollouts), rate)
	return rollouts, l.ctx.Err()
}

// one lays the steps by an hour of stable's traffic and makes the rollout that
// follows this hour.
func one(rate float64, c canary, planned bool, number uint64) (a auto) {
	scenario := simulate.Scenario{Rate: rate, Errors: usualErrors}
	source := func() simulate.Source { return rand.NewPCG(number, uint64(rate)) }
	seen := observed(scenario.Traffic(source()))
	a.policy, _ = plan.Lay(seen, policy.Default())
	if planned {
		a.plan = plan.For(seen, a.policy)
	}
	if c.by != nil {
		c = c.by(a.plan)
	}
	scenario.Worse, scenario.Slower = c.points/100, c.slower
	steps := simulate.PlanOf(a.policy)
	steps.Steps = steps.Steps[:len(steps.Steps)-1] // at the last one, the rollout is where it was to go
	a.outcome = simulate.Run(steps, simulate.MethodOf(judge.Evidence), scenario.Traffic(source()))
	return a
}

// observed is what analytics tell of the hour before a rollout.
func observed(t simulate.Traffic) plan.Traffic {
	const minutes = 60
	var intervals []judge.Interval
	for m := range minutes {
		s := t.Next(simulate.Moment{Minute: float64(m - minutes), InStep: float64(m - minutes), Length: 1})
		intervals = append(intervals, judge.Interval{Index: int64(m), Stable: s.Stable})
	}
	return plan.Observe(intervals, 0, minutes-1, time.Minute)
}

// count returns how many rollouts ended so, at the latest after some time.
func count(rollouts []auto, d judge.Decision, within func(plan.Plan) judge.Seconds) (n int) {
	for _, r := range rollouts {
		if r.outcome.Decision == d && r.outcome.Minute*60 <= float64(within(r.plan)) {
			n++
		}
	}
	return n
}

func always(plan.Plan) judge.Seconds { return 1e12 }

func minutes(n float64) func(plan.Plan) judge.Seconds {
	return func(plan.Plan) judge.Seconds { return judge.Seconds(60 * n) }
}

// fixedSource is the randomness of what needs only one draw.
func fixedSource() simulate.Source { return rand.NewPCG(1, 1) }
