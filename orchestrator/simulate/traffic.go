// Package simulate tries a policy on traffic that is made up, or made out of
// recorded traffic: how often a bad canary is rolled back, and a good one
// promoted. It is pure; randomness is an argument.
package simulate

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// Source is randomness; a PCG of math/rand/v2 is one.
type Source interface{ Uint64() uint64 }

// Moment is an interval whose traffic is to be made.
type Moment struct {
	Minute      float64 // of its begin, since the rollout began; negative in the history before
	InStep      float64 // minutes from the step's begin to the interval's
	Length      float64 // minutes
	BasisPoints int     // the canary's share, 0 to 10000; 0 in the history
}

// share of the canary, 0 to 1.
func (m Moment) share() float64 { return float64(m.BasisPoints) / 10_000 }

// Sample is what an interval brought.
type Sample struct {
	Canary, Stable judge.Counts
	UserShare      float64 // as in judge.Interval
	// Hit is how many requests the canary is to blame for, as expected values: those
	// that failed and those that took longer than 95 % of stable's, beyond what
	// stable would have had of each.
	Hit float64
}

// Traffic makes the traffic of one rollout. Moments come in rising order.
type Traffic interface {
	Next(Moment) Sample
}

// Maker makes traffic anew for each rollout; src is that rollout's alone.
type Maker interface {
	Traffic(src Source) Traffic
}

// poisson draws from a Poisson distribution, also of mean 0.
func poisson(src Source, mean float64) float64 {
	if !(mean > 0) {
		return 0
	}
	return distuv.Poisson{Lambda: mean, Src: src}.Rand()
}

// binomial draws from a binomial distribution, also where p is 0 or, but for
// rounding, 1.
func binomial(src Source, n, p float64) float64 {
	switch {
	case n <= 0 || !(p > 0):
		return 0
	case p >= 1:
		return n
	}
	return distuv.Binomial{N: n, P: p, Src: src}.Rand()
}

// uniform draws from [0, 1).
func uniform(src Source) float64 { return float64(src.Uint64()>>11) / (1 << 53) }

// shares are the probabilities of a histogram's buckets.
type shares [histogram.Buckets]float64

// draw distributes n times over the buckets: a multinomial as a chain of
// binomials, each of what the buckets before it have left.
func (s *shares) draw(src Source, n float64) (counts [histogram.Buckets]float64) {
	left := 1.0
	for b, p := range s {
		if n <= 0 {
			break
		}
		if p <= 0 {
			continue
		}
		counts[b] = binomial(src, n, p/left)
		n, left = n-counts[b], left-p
	}
	return counts
}

// above returns the share of times that are above the quantile at which other
// has tail above it: tail itself where both are the same.
func (s *shares) above(other *shares, tail float64) float64 {
	sum, others := 0.0, 0.0
	for b := histogram.Buckets - 1; b >= 0; b-- {
		if others+other[b] >= tail {
			return sum + s[b]*(tail-others)/other[b]
		}
		sum, others = sum+s[b], others+other[b]
	}
	return sum
}

// row adds rows that stand for weight units each to an arm's counts.
func row(c *judge.Counts, weight, errors float64, times *[histogram.Buckets]float64) {
	rows := errors
	first, last := -1, -1
	for b, n := range times {
		if n == 0 {
			continue
		}
		if first < 0 {
			first = b
		}
		last = b
		rows += n
	}
	c.Rows += rows
	c.Weight += rows * weight
	c.WeightSquared += rows * weight * weight
	c.Errors += errors * weight
	if first < 0 {
		return
	}
	weighted := histogram.Histogram{First: first, Counts: make([]float64, last+1-first)}
	for b := range weighted.Counts {
		weighted.Counts[b] = times[first+b] * weight
	}
	c.Times[judge.FirstByte] = c.Times[judge.FirstByte].Add(weighted)
}

// gauss draws from the standard normal distribution.
func gauss(src Source) float64 { return distuv.Normal{Mu: 0, Sigma: 1, Src: src}.Rand() }

// normalStep is the step of normalTable, which spans ±normalEnd.
const (
	normalStep = 1.0 / 256
	normalEnd  = 8.0
)

// normalTable holds Φ: with lines between its points it is exact to 5e-7, and ten
// times as fast as math.Erfc.
var normalTable = func() (table [2*normalEnd/normalStep + 2]float64) {
	for i := range table {
		table[i] = math.Erfc((normalEnd-float64(i)*normalStep)/math.Sqrt2) / 2
	}
	return table
}()

// normal is Φ, the standard normal distribution.
func normal(z float64) float64 {
	switch {
	case z <= -normalEnd:
		return 0
	case z >= normalEnd:
		return 1
	}
	at := (z + normalEnd) / normalStep
	i := int(at)
	return normalTable[i] + (at-float64(i))*(normalTable[i+1]-normalTable[i])
}
