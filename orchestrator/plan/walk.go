package plan

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// walk follows how many errors there have been, as a distribution over all
// rollouts that have not stopped yet. Where there are many they are counted in
// units of a fifth of a tick's standard deviation.
type walk struct {
	unit    float64   // errors
	least   int       // number of units that going[0] is the chance of
	going   []float64 // chance of each number of units
	weights []float64 // chance of offset, offset + 1, … units in a tick
	offset  int
	stopped float64
}

// negligible is a chance that is left out.
const negligible = 1e-10

// newWalk returns one of so many errors a tick on average.
func newWalk(mean float64) *walk {
	w := &walk{unit: max(1, math.Floor(math.Sqrt(mean)/5)), going: []float64{1}}
	if mean <= 0 {
		w.weights = []float64{1}
		return w
	}
	reach := 7*math.Sqrt(mean) + 7
	w.offset = int(max(0, mean-reach) / w.unit)
	last := int((mean + reach) / w.unit)
	upTo := func(units float64) float64 { return poissonUpTo(math.Ceil(units*w.unit)-1, mean) }
	for k := w.offset; k <= last; k++ {
		w.weights = append(w.weights, upTo(float64(k)+0.5)-upTo(float64(k)-0.5))
	}
	return w
}

// poissonUpTo is the chance of k or less at a mean.
func poissonUpTo(k, mean float64) float64 {
	switch {
	case k < 0:
		return 0
	case mean <= 0:
		return 1
	}
	return distuv.Poisson{Lambda: mean}.CDF(k)
}

// step lets a tick pass, after which those stop whose errors are so many, and
// returns the chance of having stopped.
func (w *walk) step(stops func(errors float64) bool) float64 {
	next := make([]float64, len(w.going)+len(w.weights)-1)
	for i, x := range w.going {
		if x < negligible {
			continue
		}
		for j, y := range w.weights {
			next[i+j] += x * y
		}
	}
	w.least += w.offset
	for i, x := range next {
		if x > 0 && stops(float64(w.least+i)*w.unit) {
			w.stopped += x
			next[i] = 0
		}
	}
	for len(next) > 1 && next[len(next)-1] < negligible {
		next = next[:len(next)-1]
	}
	for len(next) > 1 && next[0] < negligible {
		next, w.least = next[1:], w.least+1
	}
	w.going = next
	return min(1, w.stopped)
}
