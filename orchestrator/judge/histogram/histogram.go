// Package histogram counts times in buckets of constant ratio. It is pure.
package histogram

import "math"

// Base is the ratio of a bucket's ends: ×1.2 is exactly two buckets.
var Base = math.Sqrt(1.2)

var logBase = math.Log(1.2) / 2

// Buckets is their number. Bucket i holds times from Base^i to Base^(i+1) ms;
// the first also what is shorter, the last what is longer: some 23 hours.
const Buckets = 200

// Histogram is a weight for each bucket. The zero value is empty. It is treated
// as a value: no method changes what another histogram shares.
type Histogram struct {
	First  int       // number of the first bucket in Counts
	Counts []float64 // weights, not negative
}

// Bucket returns the number of the bucket that a time in ms is in.
func Bucket(ms float64) int {
	if !(ms > 1) {
		return 0
	}
	return int(min(Buckets-1, math.Floor(math.Log(ms)/logBase)))
}

// Edge returns the time in ms at which a bucket begins: Base^bucket.
func Edge(bucket int) float64 { return math.Exp(float64(bucket) * logBase) }

// slack keeps ratios and times that are whole buckets whole.
const slack = 1e-9

// Wider returns how many buckets a ratio, > 0, spans, rounded up.
func Wider(ratio float64) int { return int(math.Ceil(math.Log(ratio)/logBase - slack)) }

// Narrower returns how many buckets a ratio, > 0, spans, rounded down.
func Narrower(ratio float64) int { return int(math.Floor(math.Log(ratio)/logBase + slack)) }

// Total returns the sum of the weights.
func (h Histogram) Total() float64 {
	total := 0.0
	for _, count := range h.Counts {
		total += count
	}
	return total
}

// From returns the weight in a bucket and all later ones: of times that are at
// least Edge(bucket).
func (h Histogram) From(bucket int) float64 {
	total := 0.0
	for _, count := range h.Counts[min(len(h.Counts), max(0, bucket-h.First)):] {
		total += count
	}
	return total
}

// Exceedance returns the share of times that are at least Edge(bucket), [0, 1];
// 0 for an empty histogram.
func (h Histogram) Exceedance(bucket int) float64 {
	if total := h.Total(); total > 0 {
		return h.From(bucket) / total
	}
	return 0
}

// Holding returns the bucket that holds the q-quantile, and false for an empty
// histogram: the exceedance is at least 1−q where it begins and at most 1−q where
// it ends.
func (h Histogram) Holding(q float64) (int, bool) {
	bucket, _, ok := h.find(q)
	return bucket, ok
}

// find returns also which part of the bucket's weight lies below the quantile.
func (h Histogram) find(q float64) (int, float64, bool) {
	total := h.Total()
	left, trace := q*total, 1e-9*total // what rounding may leave
	last := -1
	for i, count := range h.Counts {
		if !(count > 0) {
			continue
		}
		if last = i; left <= count+trace {
			return h.First + i, min(1, max(0, left)/count), true
		}
		left -= count
	}
	if last < 0 {
		return 0, 0, false
	}
	return h.First + last, 1, true
}

// Quantile returns the q-quantile in ms, interpolated within its bucket on the
// logarithmic scale; 0 for an empty histogram.
func (h Histogram) Quantile(q float64) float64 {
	bucket, part, ok := h.find(q)
	if !ok {
		return 0
	}
	return math.Exp((float64(bucket) + part) * logBase)
}

// Add returns the sum of both.
func (h Histogram) Add(other Histogram) Histogram { return h.combine(other, 1) }

// Sub returns the difference, where the other was once added: none is below 0.
func (h Histogram) Sub(other Histogram) Histogram { return h.combine(other, -1) }

func (h Histogram) combine(other Histogram, sign float64) Histogram {
	if len(other.Counts) == 0 {
		return h
	}
	first, end := other.First, other.First+len(other.Counts)
	if len(h.Counts) > 0 {
		first, end = min(first, h.First), max(end, h.First+len(h.Counts))
	}
	sum := Histogram{first, make([]float64, end-first)}
	copy(sum.Counts[max(0, h.First-first):], h.Counts)
	for i, count := range other.Counts {
		sum.Counts[other.First-first+i] = max(0, sum.Counts[other.First-first+i]+sign*count)
	}
	return sum
}

// Scale returns the histogram with each weight multiplied.
func (h Histogram) Scale(factor float64) Histogram {
	scaled := Histogram{h.First, make([]float64, len(h.Counts))}
	for i, count := range h.Counts {
		scaled.Counts[i] = factor * count
	}
	return scaled
}
