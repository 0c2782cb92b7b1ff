package judge

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/histogram"
)

// TestRateInterval: some values by hand, and that it holds the truth at every look of
// nearly all runs.
func TestRateInterval(t *testing.T) {
	low, high := rateInterval(0, 0)
	require.Equal(t, [2]float64{0, 1}, [2]float64{low, high})
	low, high = rateInterval(0, 1000)
	require.Zero(t, low)
	require.InDelta(t, 0.0066, high, 0.0005)
	low, high = rateInterval(1000, 1000)
	require.InDelta(t, 1-0.0066, low, 0.0005)
	require.Equal(t, 1.0, high)
	low, high = rateInterval(50.5, 1000.25)
	require.Greater(t, low, 0.02)
	require.Less(t, low, 50.5/1000.25)
	require.Less(t, high, 0.1)

	r := rand.New(rand.NewPCG(1, 1))
	missed := 0
	for range 400 {
		k, n, out := 0.0, 0.0, false
		for range 60 {
			for range 20 {
				n++
				if r.Float64() < 0.1 {
					k++
				}
			}
			low, high := rateInterval(k, n)
			out = out || low > 0.1 || high < 0.1
		}
		if out {
			missed++
		}
	}
	require.LessOrEqual(t, missed, 30, "of 400 at 0.05")
}

// TestQuantileInterval: it closes in on the quantile, and says where it cannot.
func TestQuantileInterval(t *testing.T) {
	h := flow{requests: 1, median: 800, spread: 0.8, weight: 1}.counts().Times[FirstByte]
	low, high := quantileInterval(h.Scale(10), 0.95, 10)
	require.Less(t, low, h.Quantile(0.95))
	require.Equal(t, histogram.Edge(histogram.Buckets), high, "ten say nothing of how slow the slowest are")
	former := high - low
	for _, n := range []float64{1e2, 1e3, 1e4, 1e5} {
		low, high := quantileInterval(h.Scale(n), 0.95, n)
		require.Less(t, low, h.Quantile(0.95))
		require.Greater(t, high, h.Quantile(0.95))
		require.LessOrEqual(t, high-low, former)
		former = high - low
	}
	wide, narrow := 0.0, 0.0
	low, high = quantileInterval(h.Scale(1e4), 0.5, 1e3)
	wide = high - low
	low, high = quantileInterval(h.Scale(1e4), 0.5, 1e4)
	narrow = high - low
	require.Greater(t, wide, narrow, "tempered counts say less")

	low, high = quantileInterval(histogram.Histogram{First: 30, Counts: []float64{500}}, 0.95, 500)
	require.Equal(t, histogram.Edge(30), low)
	require.Equal(t, histogram.Edge(31), high)
	low, high = quantileInterval(histogram.Histogram{}, 0.95, 0)
	require.Zero(t, low+high)
}
