package judge

import (
	"math"
	"sort"

	"perch/orchestrator/judge/histogram"
)

// confidenceLevel is that of the intervals of a verdict, whenever it is looked at.
const confidenceLevel = 0.95

// excess returns the natural logarithm of the evidence that a rate is not p, by k
// events among n units, both perhaps fractional: the likelihood averaged over
// Jeffreys' prior, to that of p. The rates of which it is less than 1/α are a
// confidence sequence (Howard, Ramdas et al., Annals of Statistics 49(2), 2021).
func excess(k, n, p float64) float64 {
	return mixture(k, n) - likelihood(k, n, p)
}

var logPi = math.Log(math.Pi)

func mixture(k, n float64) float64 {
	return lgamma(k+0.5) + lgamma(n-k+0.5) - lgamma(n+1) - logPi
}

func likelihood(k, n, p float64) float64 {
	log := 0.0
	if k > 0 {
		log += k * math.Log(p)
	}
	if n > k {
		log += (n - k) * math.Log1p(-p)
	}
	return log
}

func lgamma(x float64) float64 {
	y, _ := math.Lgamma(x)
	return y
}

// rateInterval returns the rates, 0 to 1, that are not excluded by k events among n.
func rateInterval(k, n float64) (low, high float64) {
	if !(n > 0) {
		return 0, 1
	}
	k = min(k, n)
	whole, needed := mixture(k, n), -math.Log(1-confidenceLevel)
	excluded := func(p float64) bool { return whole-likelihood(k, n, p) >= needed }
	center := k / n
	low, high = 0, 1
	if k > 0 {
		low = boundary(0, center, excluded)
	}
	if k < n {
		high = boundary(1, center, excluded)
	}
	return low, high
}

// boundary halves the way between what is excluded and what is not.
func boundary(out, in float64, excluded func(float64) bool) float64 {
	for range 40 {
		middle := (out + in) / 2
		if excluded(middle) {
			out = middle
		} else {
			in = middle
		}
	}
	return out
}

// quantileInterval returns the times in ms between which the q-quantile is not
// excluded: there the share of longer ones may be 1−q. Tempered is what the counts
// are worth in all. Where too few were seen to bound it, they are 0 or the end of the
// last bucket.
func quantileInterval(h histogram.Histogram, q, tempered float64) (low, high float64) {
	total := h.Total()
	if !(total > 0) || !(tempered > 0) {
		return 0, 0
	}
	factor, needed := tempered/total, -math.Log(1-confidenceLevel)
	excluded := func(bucket int, longer bool) bool {
		k := min(h.From(bucket)*factor, tempered)
		return (k > (1-q)*tempered) == longer && excess(k, tempered, 1-q) >= needed
	}
	// From bucket to bucket the share of longer times falls.
	lowest := sort.Search(len(h.Counts), func(i int) bool { return !excluded(h.First+i+1, true) })
	highest := sort.Search(len(h.Counts)+1, func(i int) bool { return excluded(h.First+i, false) })
	low, high = 0, histogram.Edge(histogram.Buckets)
	if lowest > 0 || excluded(h.First, true) {
		low = histogram.Edge(h.First + lowest)
	}
	if highest <= len(h.Counts) {
		high = histogram.Edge(h.First + highest)
	}
	return low, high
}

// bound sets the interval of a metric's value in the step.
func (j *judging) bound(a *assayed, s *Assessment) {
	sample := &j.memory.step[a.number]
	if a.timed {
		s.Low, s.High = quantileInterval(j.memory.times[a.timing], a.quantile, sample.temperedN)
		return
	}
	s.Low, s.High = rateInterval(sample.k, sample.temperedN)
}
