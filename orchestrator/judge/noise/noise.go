// Package noise estimates how much more variable traffic is than binomial: c is
// about the standard deviation of the logarithm of a rate (or of its odds) from
// interval to interval. It is pure.
package noise

import (
	"math"
	"slices"

	"perch/orchestrator/judge/pack"
)

const (
	// Least and Most bound c.
	Least, Most = 0.1, 1.0
	// Default is c before there are Enough differences. Rates of real services move
	// by a fifth to a third within minutes; too large a c only slows the tests.
	Default = 0.25
	// Enough is the number of differences that an estimate takes.
	Enough = 10
)

// medianChiSquare is the median of χ² with one degree of freedom.
const medianChiSquare = 0.455

// Rate returns the logarithm of a rate of k events among n units, and its
// binomial variance. Half an event more keeps both finite.
func Rate(k, n float64) (log, variance float64) {
	k, n = k+0.5, n+1
	return math.Log(k / n), max(1/k-1/n, 1/n)
}

// Odds returns the logarithm of the odds of k events among n units, and its
// binomial variance. Half an event more of each kind keeps both finite.
func Odds(k, n float64) (log, variance float64) {
	k, rest := k+0.5, max(0, n-k)+0.5
	return math.Log(k / rest), 1/k + 1/rest
}

// Ring holds the last successive differences: what their square is to the
// binomial variance, and that variance. Single precision is plenty.
type Ring struct {
	values []pair // oldest first
}

type pair struct{ ratio, variance float32 }

// Add returns a ring with a difference more, of values with binomial variances,
// which keeps at most a number of differences. The ring itself stays as it is.
func (r Ring) Add(before, varianceBefore, now, varianceNow float64, most int) Ring {
	variance := varianceBefore + varianceNow
	difference := now - before
	p := pair{float32(difference * difference / variance), float32(variance)}
	if over := len(r.values) + 1 - most; over > 0 {
		r.values = r.values[over:]
	}
	return Ring{append(slices.Clip(r.values), p)}
}

// Len returns the number of differences.
func (r Ring) Len() int { return len(r.values) }

// C returns the noise: φ = median ratio/0.455, c = √((φ−1)·median variance/2),
// from Least to Most.
func (r Ring) C() float64 {
	if len(r.values) < Enough {
		return Default
	}
	var buffer [128]float64
	scratch := buffer[:0]
	for _, p := range r.values {
		scratch = append(scratch, float64(p.ratio))
	}
	phi := median(scratch) / medianChiSquare
	if phi <= 1 {
		return Least
	}
	scratch = scratch[:0]
	for _, p := range r.values {
		scratch = append(scratch, float64(p.variance))
	}
	return max(Least, min(Most, math.Sqrt((phi-1)*median(scratch)/2)))
}

// median sorts the values.
func median(values []float64) float64 {
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// Append packs the ring behind other bytes.
func (r Ring) Append(to []byte) []byte {
	to = pack.Int(to, int64(len(r.values)))
	for _, p := range r.values {
		to = pack.Short(pack.Short(to, p.ratio), p.variance)
	}
	return to
}

// Read reads what Append packed.
func Read(from *pack.Reader) Ring {
	n := from.Len(8)
	if n == 0 {
		return Ring{}
	}
	r := Ring{make([]pair, n)}
	for i := range r.values {
		r.values[i] = pair{from.Short(), from.Short()}
	}
	return r
}
