package plan

import (
	"math"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/policy"
)

// stage is one step before it has begun.
type stage struct {
	traffic        Traffic
	settings       judge.Settings
	basisPoints    int
	bake           float64 // intervals
	level          float64 // ln of what a promotion takes
	canary, stable float64 // effective units an interval
	errors         float64 // rate of stable and of a healthy canary
	timed          []timed
}

// whole is a percentage that leaves stable nothing, in basis points.
const whole = 10_000

func newStage(t Traffic, p policy.Policy, step policy.Step) stage {
	settings := p.Settings(step.BasisPoints)
	next, ok := p.NextStep(step.BasisPoints)
	if !ok {
		next = whole
	}
	bake := step.Bake
	if bake == 0 {
		bake = p.Bake
	}
	each := t.PerMinute * t.Effective * settings.Interval.Minutes()
	share := float64(step.BasisPoints) / whole
	s := stage{
		traffic: t, settings: settings, basisPoints: step.BasisPoints, bake: float64(bake) / float64(settings.Interval),
		level: promoteLevel(next), canary: each * share, stable: each * (1 - share),
		errors: t.likelyErrors(),
	}
	s.timed = s.timedOf()
	return s
}

// likelyErrors is the error rate with half an error more than was seen: none in a
// small sample does not mean none at all.
func (t Traffic) likelyErrors() float64 {
	n := t.PerMinute * t.Effective * t.Span.Minutes()
	return (t.Errors*n + 0.5) / (n + 1)
}

// promoteLevel is ln 1/β of a promotion to a percentage: the further it leads,
// the surer it has to be.
func promoteLevel(next int) float64 {
	switch {
	case next <= 2_000:
		return math.Log(5)
	case next <= 5_000:
		return math.Log(10)
	}
	return math.Log(20)
}

// count returns what the arms serve in a number of intervals, where so many of
// the canary's are bad and stable's rate is as given.
func (s stage) count(intervals, canaryBad, stableRate float64) sums {
	return sums{intervals: intervals, canary: s.canary * intervals, stable: s.stable * intervals,
		canaryBad: canaryBad, stableBad: s.stable * intervals * stableRate}
}

// bounds returns a metric's limits as they apply at this step; judged is false
// where the metric does not act. With no stable traffic to compare with there is no
// relative part, and the absolute one is at least what that was for stable's rate.
func (s stage) bounds(m judge.Metric) (b judge.Bounds, judged bool) {
	b, judged = s.settings.Limits[m]
	for _, l := range []*judge.Limit{&b.Rollback, &b.Promote} {
		if !s.compared() {
			if l.Absolute > 0 {
				l.Absolute = max(l.Absolute, l.Relative*s.errors)
			}
			l.Relative = 0
		}
		if *l != (judge.Limit{}) {
			l.Absolute = max(l.Absolute, b.Floor)
		}
	}
	return b, judged && !b.Observe
}

// compared reports that there is stable traffic to compare with.
func (s stage) compared() bool { return s.basisPoints < whole }

// warm is for how many intervals times are not judged.
func (s stage) warm() float64 {
	return math.Ceil(float64(s.settings.ColdStart) / float64(s.settings.Interval))
}

// reference is how many intervals the value that a promotion looks at is of.
func (s stage) reference() float64 {
	return max(1, float64(s.settings.Reference)/float64(s.settings.Interval))
}

func (s stage) recent() float64 {
	return max(1, float64(s.settings.Recent)/float64(s.settings.Interval))
}

// value is what both parts of an error limit amount to.
func (s stage) value(l judge.Limit) float64 { return max(l.Absolute, l.Relative*s.errors) }

// timed is a quantile that is judged, of the timing that a promotion has to prove.
type timed struct {
	bounds  judge.Bounds
	at      float64                     // 0 to 1
	value   float64                     // ms
	density float64                     // of the times' logarithm beside it
	past    func(ratio float64) float64 // share of times longer than ratio times the value
}

// timedOf returns the quantiles that act by their relative limits; none where no
// times are known, or no stable traffic to compare with.
func (s stage) timedOf() []timed {
	h := s.traffic.Times
	if len(h.Counts) == 0 || !s.compared() {
		return nil
	}
	metrics := []judge.Metric{judge.LatencyP50, judge.LatencyP95}
	if s.traffic.Timing == judge.Total {
		metrics = []judge.Metric{judge.TotalP50, judge.TotalP95}
	}
	var list []timed
	for i, at := range []float64{0.5, 0.95} {
		bounds, judged := s.bounds(metrics[i])
		if !judged || bounds.Rollback.Relative == 0 || bounds.Promote.Relative == 0 {
			continue
		}
		q := timed{bounds: bounds, at: at, value: h.Quantile(at)}
		q.past = func(ratio float64) float64 { return above(h, q.value*ratio) }
		// Over as much as the limits lie apart.
		q.density = (q.past(1/1.2) - q.past(1.2)) / (2 * math.Log(1.2))
		list = append(list, q)
	}
	return list
}

// above returns the share of times above one in ms; within a bucket they are taken
// to be spread evenly on the logarithmic scale.
func above(h histogram.Histogram, ms float64) float64 {
	at := math.Log(ms) / math.Log(histogram.Base)
	bucket := int(math.Floor(at))
	part := at - float64(bucket)
	return (1-part)*h.Exceedance(bucket) + part*h.Exceedance(bucket+1)
}

// narrower and wider are the ratios of whole buckets that stand for one.
func narrower(ratio float64) float64 { return histogram.Edge(histogram.Narrower(ratio)) }
func wider(ratio float64) float64    { return histogram.Edge(histogram.Wider(ratio)) }

// spreadOf is the standard deviation of the logarithm of the ratio of both arms'
// quantiles, each of so many intervals.
func (s stage) spreadOf(q timed, intervals float64) float64 {
	if q.density <= 0 {
		return math.Inf(1)
	}
	n := 1 / (1/(s.canary*intervals) + 1/(s.stable*intervals))
	return math.Sqrt(q.at*(1-q.at)/n) / q.density
}

// span is a number of intervals as a duration.
func (s stage) span(intervals float64) time.Duration {
	return time.Duration(intervals * float64(s.settings.Interval))
}
