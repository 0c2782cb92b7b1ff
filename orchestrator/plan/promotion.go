package plan

import (
	"math"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/eprocess"
)

// errorsProved returns the chance that the canary's error rate was proved to be
// within the rollback limit by the end of each tick. It follows the number of the
// canary's errors, which is all that the evidence depends on while stable's are
// as many as expected.
func (s stage) errorsProved(tick float64, ticks int) []float64 {
	chances := make([]float64, ticks)
	bounds, judged := s.bounds(judge.Errors)
	judged = judged && bounds.Promote != (judge.Limit{})
	w, limit := newWalk(s.canary*s.errors*tick), -1.0
	for i := range chances {
		intervals := float64(i+1) * tick
		switch {
		case intervals < s.bake-1e-9:
		case judged:
			limit = s.provedUpTo(intervals, limit, bounds)
		default:
			limit = math.Inf(1)
		}
		chances[i] = w.step(func(errors float64) bool { return errors <= limit })
	}
	return chances
}

// provedUpTo returns the largest number of the canary's errors with which its
// rate is proved and its value within the promote limit; below 0 there is none. It
// is no less than it was before.
func (s stage) provedUpTo(intervals, before float64, bounds judge.Bounds) float64 {
	proved := func(errors float64) bool {
		return s.goodLog(s.count(intervals, errors, s.errors), bounds.Rollback) >= s.level
	}
	within := s.value(bounds.Promote) * s.canary * intervals
	low, high := before, math.Floor(within)
	for next := low + 1; low < high; next = math.Ceil((low + high) / 2) {
		if proved(next) {
			low = next
		} else {
			high = next - 1
		}
	}
	return low
}

// goodLog is the log evidence that the canary's error rate is within a limit: the
// mean over its parts.
func (s stage) goodLog(n sums, limit judge.Limit) float64 {
	absolute := func() float64 {
		return n.absolute(eprocess.Below, limit.Absolute, s.traffic.Noise)
	}
	relative := func() float64 { return n.relative(eprocess.Below, limit.Relative, s.traffic.Noise) }
	switch {
	case limit.Absolute > 0 && limit.Relative > 0:
		return mean(absolute(), relative())
	case limit.Relative > 0:
		return relative()
	case limit.Absolute > 0:
		return absolute()
	}
	return math.Inf(1)
}

// timesProved is the chance that a healthy canary's times are proved after so
// many intervals.
func (s stage) timesProved(intervals float64) float64 {
	chance, warm := 1.0, intervals-s.warm()
	for _, q := range s.timed {
		if warm <= 0 {
			return 0
		}
		rate := q.past(narrower(q.bounds.Rollback.Relative))
		chance *= s.above(warm, 1-q.at, rate, s.level, eprocess.Below) * s.quantileWithin(q, warm, intervals)
	}
	return chance
}

// above is the chance that the log evidence of a shift exceeds a level, where such
// shares of both arms' times are past the test's points: to the first order, as
// both counts are nearly normal and their variance is the test's own.
func (s stage) above(intervals, stableRate, canaryRate, level float64, aim eprocess.Aim) float64 {
	stableRate, canaryRate = clamped(stableRate), clamped(canaryRate)
	n := s.count(intervals, canaryRate*s.canary*intervals, stableRate)
	c := s.traffic.TimeNoise
	at := n.shifted(aim, stableRate, c)
	variance := 0.0
	for _, arm := range []struct {
		bad  *float64
		rate float64
		each float64
	}{{&n.canaryBad, canaryRate, s.canary}, {&n.stableBad, stableRate, s.stable}} {
		if arm.each == 0 {
			continue
		}
		own := arm.each * intervals * arm.rate * (1 - arm.rate) * (1 + c*c*arm.each*arm.rate*(1-arm.rate))
		before, by := *arm.bad, math.Sqrt(own)/2
		*arm.bad = before + by
		more := n.shifted(aim, stableRate, c)
		*arm.bad = before - by
		less := n.shifted(aim, stableRate, c)
		*arm.bad = before
		variance += (more - less) * (more - less)
	}
	return normal((at - level) / math.Sqrt(variance))
}

// clamped keeps a share off the ends, where its logarithm has none.
func clamped(p float64) float64 { return min(0.999, max(0.001, p)) }

// quantileWithin is the chance that a healthy canary's quantile was within its
// promote limit at one of the looks since the step could end; the times are known
// of warm intervals.
func (s stage) quantileWithin(q timed, warm, intervals float64) float64 {
	ratio := max(q.bounds.Promote.Relative, q.bounds.Floor/q.value)
	chance := normal(math.Log(ratio) / s.spreadOf(q, min(warm, s.reference())))
	return once(chance, 1+max(0, intervals-s.bake)/s.reference())
}

// once is the chance that something happens at one of so many occasions.
func once(chance, occasions float64) float64 { return 1 - math.Pow(1-chance, occasions) }
