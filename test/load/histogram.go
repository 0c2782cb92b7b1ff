package load

import (
	"math"
	"time"
)

// Latencies are kept in logarithmic classes, each 2 % wide.
const (
	shortest = 100 * time.Microsecond
	classes  = 900 // up to 5,500 s
)

var logWidth = math.Log(1.02)

// Histogram counts latencies. Its quantiles are exact to 1 %, from 0.1 ms up.
type Histogram struct {
	counts [classes]uint32
	total  uint64
}

func (h *Histogram) add(d time.Duration) {
	class := 0
	if d > shortest {
		class = min(classes-1, int(math.Log(float64(d)/float64(shortest))/logWidth))
	}
	h.counts[class]++
	h.total++
}

// Quantile returns the latency that the share q, in [0,1], of all calls did not exceed; 0 without any call.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	seen := uint64(0)
	for class, n := range h.counts {
		seen += uint64(n)
		if n > 0 && seen >= rank {
			return time.Duration(float64(shortest) * math.Exp((float64(class)+0.5)*logWidth))
		}
	}
	return 0
}

// since removes the counts of an earlier state of h.
func (h *Histogram) since(earlier *Histogram) {
	for class := range h.counts {
		h.counts[class] -= earlier.counts[class]
	}
	h.total -= earlier.total
}
