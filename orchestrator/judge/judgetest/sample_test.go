package judgetest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/judge/noise"
	"perch/orchestrator/judge/ratio"
)

// TestQuantiles: a histogram's quantile against the sample's own, as gonum has it:
// within one bucket of it, whatever the sample is shaped like.
func TestQuantiles(t *testing.T) {
	r := source(5)
	shapes := []struct {
		name string
		draw func() float64
	}{
		{"lognormal", distuv.LogNormal{Mu: math.Log(800), Sigma: 0.8, Src: r}.Rand},
		{"narrow", distuv.LogNormal{Mu: math.Log(37), Sigma: 0.02, Src: r}.Rand},
		{"pareto", distuv.Pareto{Xm: 3, Alpha: 1.1, Src: r}.Rand},
		{"two humps", func() float64 { return pick(r, []float64{20, 9000}) * (1 + 0.1*r.Float64()) }},
		{"one value", func() float64 { return 250 }},
	}
	for _, shape := range shapes {
		for _, n := range []int{1, 2, 7, 100, 5000} {
			t.Run(fmt.Sprint(shape.name, " ", n), func(t *testing.T) {
				sample, h := make([]float64, n), histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
				for i := range sample {
					sample[i] = shape.draw()
					h.Counts[histogram.Bucket(sample[i])]++
				}
				slices.Sort(sample)
				for _, q := range []float64{0.5, 0.95} {
					exact := stat.Quantile(q, stat.Empirical, sample, nil)
					require.InDelta(t, math.Log(exact), math.Log(h.Quantile(q)), math.Log(histogram.Base)+1e-9, "%v: %v and %v", q, exact, h.Quantile(q))
					edge := histogram.Bucket(exact)
					slow := 0
					for _, x := range sample {
						slow += count(x >= histogram.Edge(edge))
					}
					require.InDelta(t, float64(slow)/float64(n), h.Exceedance(edge), 1e-12)
				}
			})
		}
	}
}

// TestBuckets: bucket, edges and ratios against their definition.
func TestBuckets(t *testing.T) {
	for b := 1; b < histogram.Buckets-1; b++ {
		edge := math.Exp(float64(b) * math.Log(1.2) / 2)
		require.InEpsilon(t, edge, histogram.Edge(b), 1e-12)
		require.Equal(t, b, histogram.Bucket(edge*(1+1e-9)))
		require.Equal(t, b-1, histogram.Bucket(edge*(1-1e-9)))
		require.Equal(t, b, histogram.Narrower(edge*(1+1e-6)))
		require.Equal(t, b+1, histogram.Wider(edge*(1+1e-6)))
		require.Equal(t, b, histogram.Wider(edge*(1-1e-6)))
	}
	for _, x := range []float64{1.01, 1.1, 1.19, 1.21, 1.3, 1.5, 2, 3, 10} {
		narrow, wide := histogram.Narrower(x), histogram.Wider(x)
		require.LessOrEqual(t, math.Pow(1.2, float64(narrow)/2), x, "a margin is never looser than the policy's")
		require.Greater(t, math.Pow(1.2, float64(narrow+1)/2), x)
		require.GreaterOrEqual(t, math.Pow(1.2, float64(wide)/2), x)
		require.Less(t, math.Pow(1.2, float64(wide-1)/2), x)
	}
	for power, x := range map[int]float64{2: 1.2, 4: 1.44, 1: math.Sqrt(1.2)} {
		require.Equal(t, power, histogram.Narrower(x), "exactly on an edge")
		require.Equal(t, power, histogram.Wider(x), "exactly on an edge")
	}
}

// TestVariances: the delta method's variances against a simulation.
func TestVariances(t *testing.T) {
	r := source(6)
	for _, p := range []float64{0.02, 0.3} {
		var logs, odds []float64
		const n = 2000
		for range 20000 {
			k := binomial(r, n, p)
			y, _ := noise.Rate(k, n)
			z, _ := noise.Odds(k, n)
			logs, odds = append(logs, y), append(odds, z)
		}
		_, rate := noise.Rate(n*p, n)
		_, odd := noise.Odds(n*p, n)
		require.InEpsilon(t, stat.Variance(logs, nil), rate, 0.08)
		require.InEpsilon(t, stat.Variance(odds, nil), odd, 0.08)
	}
	require.InDelta(t, distuv.ChiSquared{K: 1}.Quantile(0.5), medianRatio, 1e-3)
}

// TestNoise: the estimate against the plain one, and against a rate that is known to wobble.
func TestNoise(t *testing.T) {
	for _, wobble := range []float64{0, 0.3, 0.8} {
		var estimates []float64
		for run := range 40 {
			r := source(uint64(1000*wobble) + uint64(run))
			var ring noise.Ring
			var y, v []float64
			for i := range 61 {
				k := poisson(r, 400*math.Exp(wobble*r.NormFloat64()))
				log, variance := noise.Rate(k, 100000)
				y, v = append(y, log), append(v, variance)
				if i > 0 {
					ring = ring.Add(y[i-1], v[i-1], y[i], v[i], 60)
				}
			}
			require.Equal(t, 60, ring.Len())
			require.InEpsilon(t, plainNoise(y, v), ring.C(), 1e-6)
			estimates = append(estimates, ring.C())
		}
		require.InDelta(t, math.Max(noise.Least, wobble), stat.Mean(estimates, nil), 0.05+0.1*wobble)
	}
}

// TestSplitCheck: the martingale against binomial likelihoods, and Ville's bound for it.
func TestSplitCheck(t *testing.T) {
	r := source(8)
	for range 200 {
		var c ratio.Check
		split := pick(r, []float64{0.05, 0.2, 0.5, 0.9})
		for range 30 {
			c = c.Add(math.Floor(20*r.Float64()), math.Floor(50*r.Float64()), split)
		}
		require.InDelta(t, splitEvidence(c.Canary, c.Stable, split), c.Log(), 1e-9*math.Max(1, math.Abs(c.Log())))
	}
	for _, users := range []float64{2, 50, 2000} {
		for _, split := range []float64{0.05, 0.5} {
			wrong, many := 0, runs(2000, 40000)
			for range many {
				var c ratio.Check
				mismatch := false
				for range 60 {
					n := poisson(r, users)
					canary := binomial(r, n, split)
					c = c.Add(canary, n-canary, split)
					mismatch = mismatch || c.Mismatch()
				}
				wrong += count(mismatch)
			}
			atMost(t, fmt.Sprintf("mismatch, %v users a minute, split %v", users, split), ratio.Alpha, wrong, many)
		}
	}
}
