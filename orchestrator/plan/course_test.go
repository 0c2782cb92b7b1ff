package plan

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/eprocess"
	"perch/orchestrator/policy"
)

func defaultPolicy() policy.Policy { return policy.Default() }

// TestWalk: it agrees with what Poisson counts and simulated paths come to.
func TestWalk(t *testing.T) {
	for _, mean := range []float64{0, 0.02, 0.7, 12, 400} {
		w := newWalk(mean)
		limit := math.Floor(2*mean + math.Sqrt(mean))
		require.InDelta(t, poissonUpTo(limit+0.5*w.unit-0.5, mean), w.step(func(errors float64) bool { return errors <= limit }), 0.02, mean)
	}
	// Three ticks: stop at 2 or more, whenever that is.
	w := newWalk(0.5)
	stop := func(errors float64) bool { return errors >= 2 }
	w.step(stop)
	w.step(stop)
	require.InDelta(t, 1-distuv.Poisson{Lambda: 1.5}.CDF(1), w.step(stop), 1e-6, "counts only rise")
	require.InDelta(t, 1, w.stopped+sum(w.going), 1e-6, "nothing is lost")
}

func sum(x []float64) (total float64) {
	for _, v := range x {
		total += v
	}
	return total
}

// TestSumOf: the distribution of a sum of two times, beside drawn ones.
func TestSumOf(t *testing.T) {
	a, b := []float64{0, 0.2, 0.2, 0.9, 1, 1, 1}, []float64{0.5, 0.5, 1, 1, 1, 1, 1}
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(chances []float64) int {
		u := r.Float64()
		for i, c := range chances {
			if u < c {
				return i
			}
		}
		return len(chances)
	}
	counts := make([]float64, 7)
	const runs = 200_000
	for range runs {
		if at := draw(a) + draw(b); at < len(counts) {
			counts[at]++
		}
	}
	total := 0.0
	for i, x := range sumOf(a, b) {
		total += counts[i]
		require.InDelta(t, total/runs, x, 0.005, i)
	}
}

// TestEvidenceOfSums: it is what processes come to that are shown the same each
// interval.
func TestEvidenceOfSums(t *testing.T) {
	s := sums{intervals: 20, canary: 1000, stable: 3000, canaryBad: 2, stableBad: 5}
	const noise = 0.3
	schedule := eprocess.Schedule{First: 1, Horizon: 1, Cap: math.Inf(1)}
	absolute, relative := eprocess.NewAbsolute(0.01, eprocess.Rates(eprocess.Below, 0.01)), eprocess.NewRelative(1.5, eprocess.Ratios(eprocess.Below))
	shift := eprocess.NewShift(eprocess.Shifts(eprocess.Above))
	a, r, h := eprocess.New(absolute.Len()), eprocess.New(relative.Len()), eprocess.New(shift.Len())
	to := make([]float64, 20)
	for range 20 {
		absolute.Increments(to, 0.1, 50, noise)
		a.Update(schedule, to[:absolute.Len()])
		relative.Increments(to, 0.1, 50, 0.25, 150, noise)
		r.Update(schedule, to[:relative.Len()])
		shift.Increments(to, 0.1, 50, 0.25, 150, 0.05, noise)
		h.Update(schedule, to[:shift.Len()])
	}
	require.InDelta(t, a.Log(schedule), s.absolute(eprocess.Below, 0.01, noise), 1e-9)
	require.InDelta(t, r.Log(schedule), s.relative(eprocess.Below, 1.5, noise), 1e-9)
	require.InDelta(t, h.Log(schedule), s.shifted(eprocess.Above, 0.05, noise), 1e-9)
	require.InDelta(t, math.Log((math.Exp(1)+math.Exp(3))/2), mean(1, 3), 1e-12)
}

// TestPauseAndApproval: a pause moves the end; a person who decides is no time.
func TestPauseAndApproval(t *testing.T) {
	p := defaultPolicy()
	plain := For(usualTraffic(3_000), p)
	p.Steps = append([]policy.Step(nil), p.Steps...)
	p.Steps[0].Pause = policy.Duration(10 * time.Minute)
	paused := For(usualTraffic(3_000), p)
	require.InDelta(t, float64(plain.Reached.Half+600), float64(paused.Reached.Half), 61)
	p.Steps[0].Approve = policy.ApproveInstead
	gated := For(usualTraffic(3_000), p)
	require.Zero(t, gated.Reached)
	require.Zero(t, gated.Steps[0].Passed)
	require.NotZero(t, gated.Steps[1].Passed)
}

// TestBake: nobody goes on before the bake is over, and lag is over.
func TestBake(t *testing.T) {
	for _, s := range For(usualTraffic(1e6), defaultPolicy()).Steps {
		require.InDelta(t, (17 * time.Minute).Seconds(), float64(s.Passed.Half), 1, "15m, 1m of lag, and half of an interval and of a look")
	}
}

// TestAbsoluteAlone: the last step has no stable traffic to compare times with.
func TestAbsoluteAlone(t *testing.T) {
	steps := For(usualTraffic(3_000), defaultPolicy()).Steps
	require.Zero(t, steps[3].LeastSlower)
	require.NotZero(t, steps[2].LeastSlower)
}

// TestObservedMetrics: what is only shown neither rolls back nor holds up.
func TestObservedMetrics(t *testing.T) {
	p := defaultPolicy()
	p.Limits = judge.Limits{judge.Errors: {Observe: true}}
	plan := For(usualTraffic(10), p)
	require.Zero(t, plan.Steps[0].LeastErrors)
	require.Zero(t, plan.Steps[0].LeastSlower)
	require.InDelta(t, 1, plan.Promoted, 1e-9)
}
