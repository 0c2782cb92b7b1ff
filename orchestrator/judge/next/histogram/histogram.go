// Package histogram counts times in buckets of constant ratio. It is pure.
package histogram

import "math"

// Base is the ratio of a bucket's ends: ×1.2 is exactly two buckets.
var Base = math.Sqrt(1.2)

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
	return int(min(Buckets-1, math.Floor(math.Log(ms)/math.Log(Base))))
}
