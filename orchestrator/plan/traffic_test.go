package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/judge/noise"
)

func servedIn(index int64, requests, errors float64, ms ...float64) judge.Interval {
	c := judge.Counts{Rows: requests, Weight: requests, WeightSquared: requests, Errors: errors}
	for _, t := range ms {
		c.Times[judge.FirstByte] = c.Times[judge.FirstByte].Add(histogram.Histogram{First: histogram.Bucket(t), Counts: []float64{1}})
	}
	return judge.Interval{Index: index, Stable: c}
}

func TestObserve(t *testing.T) {
	seen := Observe([]judge.Interval{servedIn(1, 90, 3, 100, 200, 400), servedIn(3, 30, 0, 100)}, 1, 60, time.Minute)
	require.InDelta(t, 2, seen.PerMinute, 1e-12)
	require.InDelta(t, 0.025, seen.Errors, 1e-12)
	require.InDelta(t, 1, seen.Effective, 1e-12)
	require.InDelta(t, 4, seen.Times.Total(), 1e-12)
	require.InDelta(t, noise.Default, seen.Noise, 1e-12, "two intervals tell nothing of it")
	require.Equal(t, judge.FirstByte, seen.Timing)
}

// TestObserveYoung: a service that began lately is measured since.
func TestObserveYoung(t *testing.T) {
	twenty := Observe([]judge.Interval{servedIn(10, 0, 0), servedIn(40, 7, 0), servedIn(41, 600, 0), servedIn(50, 600, 0)}, 1, 60, time.Minute)
	require.Equal(t, 20*time.Minute, twenty.Span)
	require.InDelta(t, 60, twenty.PerMinute, 1e-12)
	two := Observe([]judge.Interval{servedIn(58, 900, 0), servedIn(59, 1800, 0), servedIn(60, 1800, 0)}, 1, 60, time.Minute)
	require.Equal(t, 2*time.Minute, two.Span, "the first minute is seen in part")
	require.InDelta(t, 1800, two.PerMinute, 1e-12)
	require.Zero(t, two.Awaited)
	one := Observe([]judge.Interval{servedIn(60, 15, 0)}, 1, 60, time.Minute)
	require.EqualValues(t, 61, one.Awaited, "no whole minute yet")
	require.EqualValues(t, 63, Observe([]judge.Interval{servedIn(62, 15, 0)}, 1, 60, time.Minute).Awaited)
	require.Zero(t, one.PerMinute)
	none := Observe(nil, 1, 60, time.Minute)
	require.Equal(t, time.Hour, none.Span)
	require.Zero(t, none.Awaited)
}

func TestObserveSample(t *testing.T) {
	i := servedIn(1, 10, 1)
	i.Stable.Weight, i.Stable.WeightSquared, i.Stable.Errors = 100, 1000, 10
	seen := Observe([]judge.Interval{i}, 1, 10, time.Minute)
	require.InDelta(t, 10, seen.PerMinute, 1e-12, "what was served")
	require.InDelta(t, 0.1, seen.Effective, 1e-12, "and what it is worth")
	require.InDelta(t, 0.1, seen.Errors, 1e-12)
}

func TestObservePredictions(t *testing.T) {
	i := servedIn(1, 10, 1, 50)
	i.Stable.Times[judge.Total] = histogram.Histogram{First: histogram.Bucket(5000), Counts: []float64{8}}
	require.Equal(t, judge.Total, Observe([]judge.Interval{i}, 1, 1, time.Minute).Timing, "what most units have")
}

func TestObserveNothing(t *testing.T) {
	for _, list := range [][]judge.Interval{nil, {{}}, {servedIn(1, 0, 0)}} {
		seen := Observe(list, 0, 59, time.Minute)
		require.Zero(t, seen.PerMinute)
		require.InDelta(t, 1, seen.Effective, 1e-12)
	}
}

// TestNoise: errors that come in bursts make an hour noisier than as many that
// come evenly.
func TestNoise(t *testing.T) {
	var even, bursts []judge.Interval
	for m := range int64(60) {
		even = append(even, servedIn(m, 10_000, 100))
		bursts = append(bursts, servedIn(m, 10_000, 20+160*float64(m%2)))
	}
	require.InDelta(t, noise.Least, Observe(even, 0, 59, time.Minute).Noise, 1e-12)
	require.Greater(t, Observe(bursts, 0, 59, time.Minute).Noise, 0.5)
	require.Less(t, For(Observe(even, 0, 59, time.Minute), defaultPolicy()).Steps[0].LeastErrors, For(Observe(bursts, 0, 59, time.Minute), defaultPolicy()).Steps[0].LeastErrors)
}

// TestLikelyErrors: none among a few do not make a service without errors.
func TestLikelyErrors(t *testing.T) {
	few, many := Traffic{Span: time.Hour, PerMinute: 1, Effective: 1}, Traffic{Span: time.Hour, PerMinute: 10_000, Effective: 1}
	require.InDelta(t, 0.5/61, few.likelyErrors(), 1e-12)
	require.Less(t, many.likelyErrors(), 1e-6)
}
