package judgetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	"perch/orchestrator/judge/eprocess"
)

// Bets against gonum: without noise an increment is a ratio of binomial likelihoods.

func likelihood(k, n, p float64) float64 { return distuv.Binomial{N: n, P: p}.LogProb(k) }

func requireAll(t *testing.T, want, got []float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for j := range want {
		require.InDelta(t, want[j], got[j], 1e-9*math.Max(1, math.Abs(want[j])), "alternative %d", j)
	}
}

func TestAbsoluteIsALikelihoodRatio(t *testing.T) {
	r := source(1)
	for range 500 {
		n := math.Floor(math.Exp(12 * r.Float64()))
		k := math.Floor(n * r.Float64() * r.Float64())
		p0 := 0.001 + 0.1*r.Float64()
		grid := eprocess.Rates(eprocess.Above, p0)
		bet, got := eprocess.NewAbsolute(p0, grid), make([]float64, len(grid))
		bet.Increments(got, k, n, 0)
		for j, p := range grid {
			want := likelihood(k, n, p) - likelihood(k, n, p0)
			require.InDelta(t, want, got[j], 1e-7*math.Max(1, math.Abs(likelihood(k, n, p))), "n %v, k %v, %v against %v", n, k, p, p0)
		}
		c := r.Float64()
		bet.Increments(got, k, n, c)
		requireAll(t, absolute(k, n, p0, c, grid), got)
	}
}

func TestRelativeIsALikelihoodRatio(t *testing.T) {
	r := source(2)
	for range 500 {
		nc, ns := math.Floor(1+1000*r.Float64()), math.Floor(1+10000*r.Float64())
		kc, ks := math.Floor(nc*r.Float64()*0.1), math.Floor(ns*r.Float64()*0.1)
		r0 := pick(r, []float64{1.2, 1.5, 2})
		grid := eprocess.Ratios(pick(r, []eprocess.Aim{eprocess.Above, eprocess.Below}))
		bet, got := eprocess.NewRelative(r0, grid), make([]float64, len(grid))
		bet.Increments(got, kc, nc, ks, ns, 0)
		a := r0 * nc
		for j, m := range grid {
			want := likelihood(kc, kc+ks, m*a/(m*a+ns)) - likelihood(kc, kc+ks, a/(a+ns))
			require.InDelta(t, want, got[j], 1e-7*math.Max(1, math.Abs(likelihood(kc, kc+ks, m*a/(m*a+ns)))))
		}
		c := r.Float64()
		bet.Increments(got, kc, nc, ks, ns, c)
		requireAll(t, relative(kc, nc, ks, ns, r0, c, grid), got)
	}
}

func TestShiftIsALikelihoodRatio(t *testing.T) {
	r := source(3)
	for range 500 {
		nc, ns := math.Floor(1+1000*r.Float64()), math.Floor(1+10000*r.Float64())
		ps := 0.01 + 0.6*r.Float64()
		kc, ks := math.Floor(nc*r.Float64()), math.Floor(ns*r.Float64())
		grid := eprocess.Shifts(pick(r, []eprocess.Aim{eprocess.Above, eprocess.Below}))
		bet, got := eprocess.NewShift(grid), make([]float64, len(grid))
		bet.Increments(got, kc, nc, ks, ns, ps, 0)
		for j, delta := range grid {
			pc := distuv.Logistic{Mu: -math.Log(ps / (1 - ps)), S: 1}.CDF(delta)
			p0 := (nc*pc + ns*ps) / (nc + ns)
			want := likelihood(kc, nc, pc) + likelihood(ks, ns, ps) - likelihood(kc, nc, p0) - likelihood(ks, ns, p0)
			require.InDelta(t, want, got[j], 1e-7*math.Max(1, math.Abs(likelihood(ks, ns, p0))+math.Abs(likelihood(kc, nc, pc))))
		}
		c := r.Float64()
		bet.Increments(got, kc, nc, ks, ns, ps, c)
		requireAll(t, shifted(kc, nc, ks, ns, ps, c, grid), got)
	}
}

// TestGrids: the published ones, at the limits that they were made for.
func TestGrids(t *testing.T) {
	requireAll(t, []float64{.0075, .01, .015, .025, .05, .1, .2, .4, .8}, eprocess.Rates(eprocess.Above, 0.005))
	requireAll(t, []float64{.0001, .0005, .001, .002, .004, .007}, eprocess.Rates(eprocess.Below, 0.01))
	requireAll(t, []float64{1.15, 1.35, 1.7, 2.5, 4, 8, 20, 60, 200}, eprocess.Ratios(eprocess.Above))
	requireAll(t, []float64{.2, .4, .55, .67, .8}, eprocess.Ratios(eprocess.Below))
	requireAll(t, []float64{.1, .2, .4, .7, 1.1, 1.6, 2.3, 3.2}, eprocess.Shifts(eprocess.Above))
	requireAll(t, []float64{-.2, -.4, -.7, -1.1, -1.6, -2.3}, eprocess.Shifts(eprocess.Below))
	for _, null := range []float64{1e-6, 1e-3, 0.02, 0.05, 0.1, 0.3, 0.5, 0.9, 0.999} {
		for _, aim := range []eprocess.Aim{eprocess.Above, eprocess.Below} {
			grid := eprocess.Rates(aim, null)
			require.NotEmpty(t, grid)
			require.True(t, slices.IsSorted(grid))
			for _, p := range grid {
				require.True(t, p > 0 && p < 1 && (p > null) == (aim == eprocess.Above), "%v against %v", p, null)
			}
		}
	}
}

// mean is the exact mean of exp(increment) where the events are binomial.
func mean(n, p float64, alternatives int, increments func(to []float64, k float64)) []float64 {
	sums, to := make([]float64, alternatives), make([]float64, alternatives)
	for k := 0.0; k <= n; k++ {
		increments(to, k)
		for j := range to {
			sums[j] += math.Exp(likelihood(k, n, p) + to[j])
		}
	}
	return sums
}

// TestNoBetGrows: under the null each factor has a mean of at most 1, to the last
// digit, at the limit itself and on its good side.
func TestNoBetGrows(t *testing.T) {
	for _, c := range []float64{0, 0.1, 0.4, 1} {
		for _, n := range []float64{1, 2, 7, 40, 300} {
			t.Run(fmt.Sprintf("c %v, n %v", c, n), func(t *testing.T) {
				for _, aim := range []eprocess.Aim{eprocess.Above, eprocess.Below} {
					noBetGrows(t, aim, n, c)
				}
			})
		}
	}
}

func noBetGrows(t *testing.T, aim eprocess.Aim, n, c float64) {
	t.Helper()
	good := []float64{1, 0.7, 0.1}
	if aim == eprocess.Below {
		good = []float64{1, 1.3, 5}
	}
	for _, factor := range good {
		rate := eprocess.NewAbsolute(0.02, eprocess.Rates(aim, 0.02))
		for j, m := range mean(n, 0.02*factor, rate.Len(), func(to []float64, k float64) { rate.Increments(to, k, n, c) }) {
			require.LessOrEqual(t, m, 1+1e-9, "absolute, alternative %d at %v", j, factor)
		}
		odds := eprocess.NewOdds(0.05, eprocess.Shifts(aim))
		for j, m := range mean(n, 0.05*factor, odds.Len(), func(to []float64, k float64) { odds.Increments(to, k, n, c) }) {
			require.LessOrEqual(t, m, 1+1e-9, "odds, alternative %d at %v", j, factor)
		}
		ratio := eprocess.NewRelative(1.5, eprocess.Ratios(aim))
		q := factor * 1.5 * 100 / (factor*1.5*100 + 400)
		for j, m := range mean(n, q, ratio.Len(), func(to []float64, k float64) { ratio.Increments(to, k, 100, n-k, 400, c) }) {
			require.LessOrEqual(t, m, 1+1e-9, "relative, alternative %d at %v", j, factor)
		}
	}
	shift := eprocess.NewShift(eprocess.Shifts(aim))
	for _, truth := range []float64{0.01, 0.05, 0.2, 0.7} { // whatever earlier data said
		sums := make([]float64, shift.Len())
		to := make([]float64, shift.Len())
		const ns = 30
		for ks := 0.0; ks <= ns; ks++ {
			for kc := 0.0; kc <= min(n, 40); kc++ {
				shift.Increments(to, kc, min(n, 40), ks, ns, 0.05, c)
				for j := range to {
					sums[j] += math.Exp(likelihood(ks, ns, truth) + likelihood(kc, min(n, 40), truth) + to[j])
				}
			}
		}
		for j, m := range sums {
			require.LessOrEqual(t, m, 1+1e-9, "shift, alternative %d at %v", j, truth)
		}
	}
}

// TestProcessIsItsDefinition: the recursion against the double sum that it stands for.
func TestProcessIsItsDefinition(t *testing.T) {
	for run := range 300 {
		r := source(uint64(run))
		s := eprocess.Schedule{First: pick(r, []float64{0.5, 1, 0.1}), Horizon: int64(1 + r.IntN(30)), Cap: pick(r, []float64{math.Inf(1), 3, 0.5})}
		p, plain := eprocess.New(5), trial{cap: s.Cap}
		require.InDelta(t, 0, p.Log(s), 1e-12)
		size := pick(r, []float64{0.1, 1, 100})
		for len(plain.spent) < 40 {
			quiet := 1
			if r.IntN(3) > 0 {
				increments := make([]float64, 5)
				for j := range increments {
					increments[j] = size * r.NormFloat64()
				}
				p.Update(s, increments)
				plain.increments = append(plain.increments, increments)
			} else {
				quiet = 1 + r.IntN(10)
				p.Skip(s, int64(quiet))
				for range quiet {
					plain.increments = append(plain.increments, make([]float64, 5))
				}
			}
			for range quiet {
				plain.spent = append(plain.spent, spends(len(plain.spent), s.First, int(s.Horizon)))
			}
			want := plain.log()
			require.InDelta(t, want, p.Log(s), 1e-9*math.Max(1, math.Abs(want)), "run %d, %d intervals, %+v", run, len(plain.spent), s)
		}
	}
}

// TestVilleOfBets: at the null no process reaches 1/α within 60 looks more often than
// α, be the rates as they may.
func TestVilleOfBets(t *testing.T) {
	const alpha = 0.05
	rollback := eprocess.Schedule{First: 0.5, Horizon: 60, Cap: -math.Log(alpha)}
	promote := eprocess.Schedule{First: 1, Horizon: 60, Cap: math.Inf(1)}
	many := runs(800, 20000)
	for i, aim := range []eprocess.Aim{eprocess.Above, eprocess.Below} {
		schedule := []eprocess.Schedule{rollback, promote}[i]
		for _, n := range []float64{5, 50, 500, 50000} {
			for _, p := range []float64{0.001, 0.01, 0.1} {
				t.Run(fmt.Sprintf("aim %d, %v a minute, rate %v", aim, n, p), func(t *testing.T) {
					r := source(uint64(n) + uint64(1e6*p))
					bets := []bet{absoluteBet(aim, n, p), relativeBet(aim, n, p), shiftBet(aim, n, p)}
					for _, b := range bets {
						crossed := 0
						for range many {
							crossed += count(b.crosses(r, schedule, -math.Log(alpha)))
						}
						atMost(t, b.name, alpha, crossed, many)
					}
				})
			}
		}
	}
}

// bet draws a minute at its null and says what the alternatives gain.
type bet struct {
	name         string
	alternatives int
	draw         func(r *rand.Rand, to []float64, wave float64)
}

func (b bet) crosses(r *rand.Rand, s eprocess.Schedule, needed float64) bool {
	p, to, d := eprocess.New(b.alternatives), make([]float64, b.alternatives), drifting(r)
	for t := range 60 {
		b.draw(r, to, d.rate(t))
		p.Update(s, to)
		if p.Log(s) >= needed {
			return true
		}
	}
	return false
}

func absoluteBet(aim eprocess.Aim, n, p float64) bet {
	a := eprocess.NewAbsolute(p, eprocess.Rates(aim, p))
	away := -1.0 // from the limit, to its good side
	if aim == eprocess.Below {
		away = 1
	}
	return bet{"absolute", a.Len(), func(r *rand.Rand, to []float64, wave float64) {
		n := poisson(r, n)
		a.Increments(to, binomial(r, n, p*math.Exp(0.1*(wave+away))), n, 0)
	}}
}

func relativeBet(aim eprocess.Aim, n, p float64) bet {
	rel := eprocess.NewRelative(1.2, eprocess.Ratios(aim))
	return bet{"relative", rel.Len(), func(r *rand.Rand, to []float64, wave float64) {
		p := p * math.Exp(0.5*wave)
		nc, ns := poisson(r, n/4), poisson(r, n)
		rel.Increments(to, poisson(r, 1.2*p*nc), nc, poisson(r, p*ns), ns, 0)
	}}
}

func shiftBet(aim eprocess.Aim, n, p float64) bet {
	s := eprocess.NewShift(eprocess.Shifts(aim))
	return bet{"shift", s.Len(), func(r *rand.Rand, to []float64, wave float64) {
		truth := p * math.Exp(0.5*wave)
		nc, ns := poisson(r, n/4), poisson(r, n)
		s.Increments(to, binomial(r, nc, truth), nc, binomial(r, ns, truth), ns, p, 0)
	}}
}
