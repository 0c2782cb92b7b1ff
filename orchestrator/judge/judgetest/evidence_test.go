package judgetest

import (
	"math"
	"slices"
)

// A trial is one sequential test as its definition has it: what was spent and
// what was seen at each interval, and nothing that is carried along.
type trial struct {
	spent      []float64   // prior mass spent at each interval
	increments [][]float64 // by interval and alternative, ℓ/D
	cap        float64     // most that an interval adds; +Inf is no cap
}

// log returns the natural logarithm of
//
//	E = Σ_j Σ_t spent_t/G · exp(Σ_{u≥t} min(cap, increment_{u,j}))  +  1 − Σ_t spent_t
//
// which is what the recursion M_j ← (M_j + γ_t/G)·exp(min(cap, ℓ_j/D)) amounts to.
func (t trial) log() float64 {
	var terms []float64
	left := 1.0
	for _, s := range t.spent {
		left -= s
	}
	if left > 1e-12 {
		terms = append(terms, math.Log(left))
	}
	for from, s := range t.spent {
		if s == 0 {
			continue
		}
		for j := range t.increments[from] {
			sum := 0.0
			for until := from; until < len(t.increments); until++ {
				sum += math.Min(t.cap, t.increments[until][j])
			}
			terms = append(terms, math.Log(s/float64(len(t.increments[from])))+sum)
		}
	}
	return logSum(terms)
}

// logSum returns ln Σ exp(x).
func logSum(x []float64) float64 {
	if len(x) == 0 {
		return math.Inf(-1)
	}
	most, sum := slices.Max(x), 0.0
	for _, v := range x {
		sum += math.Exp(v - most)
	}
	return most + math.Log(sum)
}

// absolute returns the increments of "the rate is not p₀", k events of n.
func absolute(k, n, p0, c float64, grid []float64) []float64 {
	out := make([]float64, len(grid))
	for j, p := range grid {
		out[j] = (k*math.Log(p/p0) + (n-k)*math.Log((1-p)/(1-p0))) / (1 + c*c*n*p0)
	}
	return out
}

// relative returns the increments of "the canary's rate is not r₀ times stable's".
func relative(kc, nc, ks, ns, r0, c float64, grid []float64) []float64 {
	out := make([]float64, len(grid))
	a := r0 * nc
	if a+ns == 0 || kc+ks == 0 {
		return out
	}
	q := a / (a + ns)
	for j, m := range grid {
		z := (m*a + ns) / (a + ns)
		out[j] = (kc*math.Log(m/z) - ks*math.Log(z)) / (1 + 2*c*c*(kc+ks)*q*(1-q))
	}
	return out
}

// shifted returns the increments of "the canary is slower past its point as often as
// stable past its own", stable's expected share being ps.
func shifted(kc, nc, ks, ns, ps, c float64, grid []float64) []float64 {
	out := make([]float64, len(grid))
	if nc+ns == 0 {
		return out
	}
	odds := math.Log(ps / (1 - ps))
	for j, delta := range grid {
		// Both tails by themselves: near 1, 1 − p has few digits left.
		pc, notC := 1/(1+math.Exp(-odds-delta)), 1/(1+math.Exp(odds+delta))
		p0, not0 := (nc*pc+ns*ps)/(nc+ns), (nc*notC+ns*(1-ps))/(nc+ns)
		l := kc*math.Log(pc/p0) + (nc-kc)*math.Log(notC/not0) + ks*math.Log(ps/p0) + (ns-ks)*math.Log((1-ps)/not0)
		out[j] = l / (1 + 2*c*c*nc*ns/(nc+ns)*ps*(1-ps))
	}
	return out
}

// medianRatio is the median of a χ² with one degree of freedom.
const medianRatio = 0.455

// plainNoise returns c of successive logarithms y with variances v; missing ones are NaN.
func plainNoise(y, v []float64) float64 {
	var ratios, variances []float64
	for i := 1; i < len(y); i++ {
		if math.IsNaN(y[i]) || math.IsNaN(y[i-1]) {
			continue
		}
		d := y[i] - y[i-1]
		ratios = append(ratios, d*d/(v[i]+v[i-1]))
		variances = append(variances, v[i]+v[i-1])
	}
	if len(ratios) == 0 {
		return 0.1
	}
	excess := median(ratios)/medianRatio - 1
	return math.Min(1, math.Max(0.1, math.Sqrt(math.Max(0, excess)*median(variances)/2)))
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	if len(x)%2 == 1 {
		return x[len(x)/2]
	}
	return (x[len(x)/2-1] + x[len(x)/2]) / 2
}

// scaled returns the grid for a limit that is f times the one it was made for.
func scaled(grid []float64, f float64) []float64 {
	out := make([]float64, 0, len(grid))
	for _, p := range grid {
		out = append(out, p*f)
	}
	return out
}

// spends returns γ of the t-th interval, from 0: first at once, the rest evenly over
// the horizon's others.
func spends(t int, first float64, horizon int) float64 {
	switch {
	case t == 0 && horizon <= 1:
		return 1
	case t == 0:
		return first
	case t < horizon:
		return (1 - first) / float64(horizon-1)
	}
	return 0
}
