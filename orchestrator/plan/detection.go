package plan

import (
	"math"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/eprocess"
)

// power is the chance with which a plan's promises are kept.
const power = 0.8

// firstMass is the part of a rollback test's prior that it has from the start.
const firstMass = 0.5

// alarms are, for each tick, the number of the canary's errors from which on they
// are evidence enough to roll back.
func (s stage) alarms(tick float64, ticks int) []float64 {
	bounds, judged := s.bounds(judge.Errors)
	alarms := make([]float64, ticks)
	for i := range alarms {
		alarms[i] = math.Inf(1)
		if judged && s.canary > 0 {
			alarms[i] = s.alarmFrom(float64(i+1)*tick, bounds)
		}
	}
	return alarms
}

// findsErrors returns the chance that a canary whose error rate is increased by
// so much, 0 to 1, is rolled back for it by the end of each tick.
func (s stage) findsErrors(increase, tick float64, alarms []float64) []float64 {
	bounds, _ := s.bounds(judge.Errors)
	rate := min(1, s.errors+increase)
	limit := s.value(bounds.Rollback)
	chances := make([]float64, len(alarms))
	w := newWalk(s.canary * rate * tick)
	for i, alarm := range alarms {
		window := min(float64(i+1)*tick, s.recent())
		past := 1 - poissonUpTo(math.Floor(limit*s.canary*window), s.canary*window*rate)
		chances[i] = w.step(func(errors float64) bool { return errors >= alarm }) * once(past, float64(i+1)*tick/window)
	}
	return chances
}

// alarmFrom returns the smallest number of the canary's errors that is evidence
// enough to roll back.
func (s stage) alarmFrom(intervals float64, bounds judge.Bounds) float64 {
	null := bounds.Promote
	if null == (judge.Limit{}) {
		null = bounds.Rollback
	}
	low, high := 0.0, math.Ceil(s.canary*intervals)+1
	for low < high {
		middle := math.Floor((low + high) / 2)
		if s.badLog(s.count(intervals, middle, s.errors), null) >= math.Log(1/(firstMass*s.settings.Alpha)) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// badLog is the log evidence that the canary's error rate is past both parts of a
// limit; beyond its rates there is none.
func (s stage) badLog(n sums, limit judge.Limit) float64 {
	n.canaryBad = min(n.canaryBad, n.canary)
	least := math.Inf(1)
	if limit.Absolute > 0 {
		least = n.absolute(eprocess.Above, limit.Absolute, s.traffic.Noise)
	}
	if limit.Relative > 0 {
		least = min(least, n.relative(eprocess.Above, limit.Relative, s.traffic.Noise))
	}
	if math.IsInf(least, 1) {
		return math.Inf(-1)
	}
	return least
}

// leastTimes is how many times of the canary there have to be for their
// quantiles' errors to be as large as is reckoned here.
const leastTimes = 20

// findsSlower is the chance that a canary that takes ratio times as long is
// rolled back for it within so many intervals of the step.
func (s stage) findsSlower(ratio, intervals float64) float64 {
	intervals -= s.warm()
	if intervals <= 0 || s.canary*intervals < leastTimes {
		return 0
	}
	level := math.Log(2 / (firstMass * s.settings.Alpha))
	surest := 0.0 // of the quantiles, as they move together
	for _, q := range s.timed {
		if q.value*ratio <= q.bounds.Floor {
			continue
		}
		chance := s.above(intervals, 1-q.at, q.past(wider(q.bounds.Promote.Relative)/ratio), level, eprocess.Above)
		window := min(intervals, s.recent())
		past := normal(math.Log(ratio/q.bounds.Rollback.Relative) / s.spreadOf(q, window))
		surest = max(surest, chance*once(past, intervals/window))
	}
	return surest
}

// leastErrors returns the smallest increase of the error rate, 0 to 1, that is
// found within as many ticks as there are alarms; +Inf where none is.
func (s stage) leastErrors(tick float64, alarms []float64) float64 {
	return least(0.0001, 1-s.errors, func(x float64) bool {
		chances := s.findsErrors(x, tick, alarms)
		return len(chances) > 0 && chances[len(chances)-1] >= power
	})
}

// leastSlower returns the smallest ratio of times that is found within so many
// intervals; +Inf where none is.
func (s stage) leastSlower(intervals float64) float64 {
	return least(1, 100, func(x float64) bool { return s.findsSlower(x, intervals) >= power })
}

// untilErrors returns after how many intervals an increase of the error rate is
// found; +Inf where that takes longer than there are alarms.
func (s stage) untilErrors(increase, tick float64, alarms []float64) float64 {
	for i, chance := range s.findsErrors(increase, tick, alarms) {
		if chance >= power {
			return float64(i+1) * tick
		}
	}
	return math.Inf(1)
}

// least returns the smallest x within two positive bounds, in steps of a hundredth
// of itself, for which holds; it does from some x on.
func least(low, high float64, holds func(float64) bool) float64 {
	if !holds(high) {
		return math.Inf(1)
	}
	for high/low > 1.01 {
		middle := math.Sqrt(low * high)
		if holds(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
