package eprocess

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// binomial returns the chance of k events among n.
func binomial(n, k int, p float64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// requireFair: the mean of each alternative's growth is at most 1.
func requireFair(t *testing.T, mean []float64) {
	t.Helper()
	for j, m := range mean {
		require.LessOrEqual(t, m, 1+1e-12, "alternative %d", j)
	}
}

// TestNullGrowth: under each null, and on its far side, every alternative is expected
// not to grow; by enumeration of all outcomes.
func TestNullGrowth(t *testing.T) {
	for _, c := range []float64{0, 0.1, 1} {
		for n := 1; n <= 12; n++ {
			for _, null := range []float64{0.005, 0.05, 0.5} {
				above, below := NewAbsolute(null, Rates(Above, null)), NewAbsolute(null, Rates(Below, null))
				requireFair(t, absoluteMean(above, n, null, c))
				requireFair(t, absoluteMean(above, n, null/3, c))
				requireFair(t, absoluteMean(below, n, null, c))
				requireFair(t, absoluteMean(below, n, (1+null)/2, c))
				requireFair(t, absoluteMean(NewOdds(null, Shifts(Above)), n, null, c))
				requireFair(t, absoluteMean(NewOdds(null, Shifts(Below)), n, (1+null)/2, c))
			}
			for _, share := range []float64{0.05, 0.5, 0.95} {
				requireFair(t, relativeMean(RatiosTo(Above, 1.2), n, share, 1.2, c))
				requireFair(t, relativeMean(RatiosTo(Above, 1.2), n, share, 0.7, c))
				requireFair(t, relativeMean(RatiosTo(Below, 1.5), n, share, 1.5, c))
				requireFair(t, relativeMean(RatiosTo(Below, 1.5), n, share, 4, c))
			}
		}
		for _, ps := range []float64{1e-6, 0.05, 0.5, 0.999} {
			for _, truth := range []float64{0.03, 0.4, 0.9} {
				requireFair(t, shiftMean(ShiftsTo(Above), 3, 8, truth, truth, ps, c))
				requireFair(t, shiftMean(ShiftsTo(Above), 8, 3, truth/2, truth, ps, c))
				requireFair(t, shiftMean(ShiftsTo(Below), 3, 8, truth, truth, ps, c))
				requireFair(t, shiftMean(ShiftsTo(Below), 8, 3, (1+truth)/2, truth, ps, c))
			}
		}
	}
}

func absoluteMean(a Absolute, n int, truth, c float64) []float64 {
	mean, to := make([]float64, a.Len()), make([]float64, a.Len())
	for k := 0; k <= n; k++ {
		a.Increments(to, float64(k), float64(n), c)
		add(mean, to, binomial(n, k, truth))
	}
	return mean
}

func relativeMean(r Relative, events int, share, truth, c float64) []float64 {
	mean, to := make([]float64, r.Len()), make([]float64, r.Len())
	canary := truth * share / (truth*share + 1 - share)
	for k := 0; k <= events; k++ {
		r.Increments(to, float64(k), share, float64(events-k), 1-share, c)
		add(mean, to, binomial(events, k, canary))
	}
	return mean
}

func shiftMean(s Shift, nc, ns int, truthCanary, truthStable, ps, c float64) []float64 {
	mean, to := make([]float64, s.Len()), make([]float64, s.Len())
	for kc := 0; kc <= nc; kc++ {
		for ks := 0; ks <= ns; ks++ {
			s.Increments(to, float64(kc), float64(nc), float64(ks), float64(ns), ps, c)
			add(mean, to, binomial(nc, kc, truthCanary)*binomial(ns, ks, truthStable))
		}
	}
	return mean
}

func add(mean, logs []float64, chance float64) {
	for j := range mean {
		mean[j] += chance * math.Exp(logs[j])
	}
}

// TestProcess: the recursion by hand.
func TestProcess(t *testing.T) {
	s := Schedule{First: 0.5, Horizon: 3, Cap: 1}
	p := New(2)
	require.InDelta(t, 0, p.Log(s), 1e-12)
	p.Update(s, []float64{0.5, -1})
	m := []float64{0.25 * math.Exp(0.5), 0.25 * math.Exp(-1)}
	require.InDelta(t, math.Log(m[0]+m[1]+0.5), p.Log(s), 1e-12)
	p.Update(s, []float64{9, 0})
	m = []float64{(m[0] + 0.125) * math.E, m[1] + 0.125}
	require.InDelta(t, math.Log(m[0]+m[1]+0.25), p.Log(s), 1e-12, "the cap")
	p.Skip(s, 5)
	m = []float64{m[0] + 0.125, m[1] + 0.125}
	require.InDelta(t, math.Log(m[0]+m[1]), p.Log(s), 1e-12, "all mass is in")
}

// TestSkip: skipping intervals is letting empty ones pass, whether or not tests begin
// anew in between.
func TestSkip(t *testing.T) {
	for _, renew := range []bool{false, true} {
		s := Schedule{First: 0.5, Horizon: 7, Cap: 3, Renew: renew}
		for before := range int64(10) {
			for count := int64(1); count < 40; count++ {
				p := New(3)
				for range before {
					p.Update(s, []float64{0.3, -0.2, 0.1})
				}
				q := p.Clone()
				q.Skip(s, count)
				for range count {
					p.Update(s, []float64{0, 0, 0})
				}
				require.Equal(t, p.Intervals, q.Intervals)
				require.InDeltaSlice(t, p.Weights, q.Weights, 1e-9, "%d after %d", count, before)
			}
		}
	}
}

// TestRenew: when the horizon is over a process is a new one.
func TestRenew(t *testing.T) {
	s := Schedule{First: 0.5, Horizon: 3, Cap: 3, Renew: true}
	old, young := New(2), New(2)
	for range 3 {
		old.Update(s, []float64{-50, -60})
	}
	old.Update(s, []float64{1, 2})
	young.Update(s, []float64{1, 2})
	require.Equal(t, young, old)
}

// TestExtremes: no count makes evidence infinite.
func TestExtremes(t *testing.T) {
	counts := []float64{0, 1e-9, 0.3, 1, 1e12}
	to := make([]float64, 9)
	finite := func(n int) {
		for _, x := range to[:n] {
			require.False(t, math.IsNaN(x) || math.IsInf(x, 0))
		}
	}
	for _, kc := range counts {
		for _, nc := range counts {
			for _, ks := range counts {
				for _, ns := range counts {
					for _, c := range []float64{0.1, 1} {
						a, r, s := NewAbsolute(0.005, Rates(Above, 0.005)), RatiosTo(Above, 1.2), ShiftsTo(Below)
						a.Increments(to, min(kc, nc), nc, c)
						finite(a.Len())
						r.Increments(to, kc, nc, ks, ns, c)
						finite(r.Len())
						for _, ps := range []float64{1e-6, 0.5, 1 - 1e-6} {
							s.Increments(to, min(kc, nc), nc, min(ks, ns), ns, ps, c)
							finite(s.Len())
						}
					}
				}
			}
		}
	}
}

// TestGrids: alternatives lie on the side that the test is to show, and within (0, 1).
func TestGrids(t *testing.T) {
	for _, null := range []float64{1e-4, 0.005, 0.01, 0.1, 0.5, 0.9, 0.999} {
		for _, p := range Rates(Above, null) {
			require.Greater(t, p, null)
			require.Less(t, p, 1.0)
		}
		for _, p := range Rates(Below, null) {
			require.Less(t, p, null)
			require.Greater(t, p, 0.0)
		}
	}
	require.InDeltaSlice(t, []float64{.0075, .01, .015, .025, .05, .1, .2, .4, .8}, Rates(Above, 0.005), 1e-12)
	require.InDeltaSlice(t, []float64{.0001, .0005, .001, .002, .004, .007}, Rates(Below, 0.01), 1e-12)
}

func TestAdd(t *testing.T) {
	inf := math.Inf(-1)
	require.Equal(t, inf, Add(inf, inf))
	require.Equal(t, 3.0, Add(inf, 3))
	require.InDelta(t, math.Log(3), Add(0, math.Log(2)), 1e-12)
	require.Equal(t, 1e12, Add(1e12, 0))
}
