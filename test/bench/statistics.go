package main

import (
	"math/rand/v2"
	"slices"
)

// median returns the middle of xs, which must not be empty.
func median(xs []float64) float64 { return quantile(slices.Sorted(slices.Values(xs)), 0.5) }

// quantile interpolates the quantile q, in [0,1], of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	j := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[j]-sorted[i])
}

// ratios pairs what was measured in the same block.
func ratios(xs, ys []float64) []float64 {
	r := make([]float64, len(xs))
	for i := range xs {
		r[i] = xs[i] / ys[i]
	}
	return r
}

const resamples = 2000

// medianInterval returns the percentile bootstrap's 95 % interval of the median.
func medianInterval(xs []float64) (low, high float64) {
	random := rand.New(rand.NewPCG(1, uint64(len(xs)))) // the same figures give the same interval
	medians := make([]float64, resamples)
	drawn := make([]float64, len(xs))
	for i := range medians {
		for j := range drawn {
			drawn[j] = xs[random.IntN(len(xs))]
		}
		medians[i] = median(drawn)
	}
	slices.Sort(medians)
	return quantile(medians, 0.025), quantile(medians, 0.975)
}
