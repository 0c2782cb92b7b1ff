package plan

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// walk follows how many errors there have been, as a distribution over all
// rollouts that have not stopped yet.
type walk struct {
	mean    float64   // of a tick
	least   int       // errors that going[0] is the chance of
	going   []float64 // chance of each number of errors
	weights []float64 // chance of 0, 1, 2 … errors in a tick, from the first that matters
	offset  int       // what weights begin with
	stopped float64
}

// negligible is a chance that is left out.
const negligible = 1e-10

func newWalk(mean float64) *walk {
	w := &walk{mean: mean, going: []float64{1}}
	if mean <= 0 {
		w.weights = []float64{1}
		return w
	}
	reach := 7*math.Sqrt(mean) + 7
	w.offset = int(max(0, mean-reach))
	tick := distuv.Poisson{Lambda: mean}
	for k := w.offset; k <= int(mean+reach); k++ {
		w.weights = append(w.weights, tick.Prob(float64(k)))
	}
	return w
}

// step lets a tick pass, after which those stop whose errors are so many, and
// returns the chance of having stopped.
func (w *walk) step(stops func(errors int) bool) float64 {
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
		if x > 0 && stops(w.least+i) {
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
