// Package plan says beforehand what a rollout's steps can and cannot detect, how
// long they take, and which steps the traffic is enough for. It is pure.
package plan

import (
	"slices"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/judge/noise"
)

// Traffic is what stable served in a span before a rollout.
type Traffic struct {
	Span time.Duration // that was measured
	// Awaited is the number of the first whole interval of a service that began so
	// lately that it was not asked for, else 0.
	Awaited   int64
	PerMinute float64 // units: predictions that ended and requests that made none
	// Effective is Kish's factor, (0, 1]: how many unsampled units one unit is worth
	// as evidence.
	Effective    float64
	Errors       float64 // rate, 0 to 1
	ClientErrors float64 // rate, 0 to 1
	// Noise and TimeNoise are how far error rate and times vary beyond chance from
	// one interval to the next, 0.1 to 1.
	Noise, TimeNoise float64
	// Timing is the kind of time that a promotion has to prove, and Times are its
	// values of successes; empty where none were measured.
	Timing judge.Timing
	Times  histogram.Histogram
	// Users is the number of different users, 0 where that is unknown, and TopUser the
	// largest share, 0 to 1, of the requests that one of them made.
	Users, TopUser float64
}

// Observe sums up stable's intervals of a length that were asked for, from one
// number through another; those without traffic may be left out. A service that is
// younger is measured over the intervals after that of its first request, which was
// seen in part only. Intervals after the last one tell no more than that it began.
func Observe(intervals []judge.Interval, from, through int64, length time.Duration) Traffic {
	began, awaited := from, int64(0)
	for i, served := range intervals {
		if served.Stable.Weight > 0 {
			if intervals = intervals[i:]; served.Index > from {
				began, intervals = served.Index+1, intervals[1:]
			}
			break
		}
	}
	if began > through {
		awaited = began
	}
	intervals = slices.DeleteFunc(slices.Clone(intervals), func(i judge.Interval) bool { return i.Index > through })
	span := time.Duration(through+1-began) * length
	t := Traffic{Span: max(0, span), Awaited: awaited, Effective: 1, Noise: noise.Default, TimeNoise: noise.Default}
	var sum judge.Counts
	var times [judge.Timings]histogram.Histogram
	for _, i := range intervals {
		s := i.Stable
		sum.Weight += s.Weight
		sum.WeightSquared += s.WeightSquared
		sum.Errors += s.Errors
		sum.ClientErrors += s.ClientErrors
		for kind := range times {
			times[kind] = times[kind].Add(s.Times[kind])
		}
	}
	if sum.Weight == 0 || span <= 0 {
		return t
	}
	t.PerMinute = sum.Weight / span.Minutes()
	t.Effective = min(1, sum.Weight/sum.WeightSquared)
	t.Errors, t.ClientErrors = min(1, sum.Errors/sum.Weight), min(1, sum.ClientErrors/sum.Weight)
	if times[judge.Total].Total() > times[judge.FirstByte].Total() {
		t.Timing = judge.Total
	}
	t.Times = times[t.Timing]
	t.Noise, t.TimeNoise = t.noises(intervals)
	return t
}

// noises estimates how far the error rate and the times vary from each interval
// with traffic to the next.
func (t Traffic) noises(intervals []judge.Interval) (rate, times float64) {
	var errors, slow, slowest series
	median, tail := edgeAt(t.Times, 0.5), edgeAt(t.Times, 0.95)
	for _, i := range intervals {
		if !(i.Stable.Weight > 0) {
			continue
		}
		kish := i.Stable.Weight / i.Stable.WeightSquared
		errors.add(noise.Rate(i.Stable.Errors*kish, i.Stable.Weight*kish))
		h := i.Stable.Times[t.Timing]
		if n := h.Total() * kish; n > 0 {
			slow.add(noise.Odds(h.From(median)*kish, n))
			slowest.add(noise.Odds(h.From(tail)*kish, n))
		}
	}
	return errors.ring.C(), max(slow.ring.C(), slowest.ring.C())
}

// series are successive values and what they differ by.
type series struct {
	begun        bool
	at, variance float64
	ring         noise.Ring
}

func (s *series) add(at, variance float64) {
	if s.begun {
		s.ring = s.ring.Add(s.at, s.variance, at, variance, mostDifferences)
	}
	s.begun, s.at, s.variance = true, at, variance
}

// mostDifferences bounds what the noise is estimated from.
const mostDifferences = 100

// edgeAt is the bucket with which the times begin that are past a quantile.
func edgeAt(h histogram.Histogram, q float64) int {
	bucket, _ := h.Holding(q)
	return bucket + 1
}
