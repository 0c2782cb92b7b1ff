package plan

import (
	"math"

	"perch/orchestrator/judge/eprocess"
)

// sums are what both arms served in a number of intervals, and how much of it
// counts against them: errors, or times past a point. Where traffic is as steady
// as a plan takes it to be, what an interval adds to the log evidence is linear in
// its counts, so the evidence follows from the sums alone.
type sums struct {
	intervals      float64
	canary, stable float64
	canaryBad      float64
	stableBad      float64
}

// absolute is the log evidence that the canary's rate is not limit, where the
// noise is c.
func (s sums) absolute(aim eprocess.Aim, limit, c float64) float64 {
	bet := eprocess.NewAbsolute(limit, eprocess.Rates(aim, limit))
	each := make([]float64, bet.Len())
	bet.Increments(each, s.canaryBad/s.intervals, s.canary/s.intervals, c)
	return s.mixture(each)
}

// relative is the log evidence that the canary's rate is not ratio times stable's.
func (s sums) relative(aim eprocess.Aim, ratio, c float64) float64 {
	bet := eprocess.NewRelative(ratio, eprocess.Ratios(aim))
	each := make([]float64, bet.Len())
	bet.Increments(each, s.canaryBad/s.intervals, s.canary/s.intervals, s.stableBad/s.intervals, s.stable/s.intervals, c)
	return s.mixture(each)
}

// shifted is the log evidence that the canary is past its point not as often as
// stable is past its own, share of whose times are.
func (s sums) shifted(aim eprocess.Aim, share, c float64) float64 {
	bet := eprocess.NewShift(eprocess.Shifts(aim))
	each := make([]float64, bet.Len())
	bet.Increments(each, s.canaryBad/s.intervals, s.canary/s.intervals, s.stableBad/s.intervals, s.stable/s.intervals, share, c)
	return s.mixture(each)
}

// mixture is the log evidence after all intervals have brought the same.
func (s sums) mixture(each []float64) float64 {
	sum := math.Inf(-1)
	for _, increment := range each {
		sum = eprocess.Add(sum, s.intervals*increment)
	}
	return sum - math.Log(float64(len(each)))
}

// mean returns ln of the mean of exp(a) and exp(b).
func mean(a, b float64) float64 { return eprocess.Add(a, b) - math.Ln2 }

// normal is Φ.
func normal(z float64) float64 {
	if math.IsNaN(z) {
		return 0
	}
	return math.Erfc(-z/math.Sqrt2) / 2
}
