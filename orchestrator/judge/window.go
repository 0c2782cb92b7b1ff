package judge

import (
	"math"
	"time"

	"perch/orchestrator/judge/histogram"
)

// The arms.
const (
	canary = iota
	stable
	arms
)

// arm is what was measured of one arm: Counts without the users, made finite.
type arm struct {
	rows, weight, squared float64
	errors, clientErrors  float64
	good, bad             float64
	open, skipped         float64
	times                 [Timings]histogram.Histogram
}

// mostUnits bounds a count; sums and products of it stay finite.
const mostUnits = 1e15

// finite returns a count from 0 to mostUnits.
func finite(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, mostUnits)
}

func newArm(c *Counts) arm {
	a := arm{rows: finite(c.Rows), weight: finite(c.Weight), squared: finite(c.WeightSquared),
		good: finite(c.Good), bad: finite(c.Bad), open: finite(c.Open), skipped: finite(c.Skipped), times: c.Times}
	a.errors, a.clientErrors = min(a.weight, finite(c.Errors)), min(a.weight, finite(c.ClientErrors))
	return a
}

// kish is the factor that makes weighted counts worth what their rows are,
// (0, 1]: the sum of weights over the sum of their squares.
func (a *arm) kish() float64 {
	if a.squared > a.weight {
		return a.weight / a.squared
	}
	return 1
}

// events returns how many units a rate has and how many of them count, weighted.
func (a *arm) events(m Metric) (k, n float64) {
	switch m {
	case Errors:
		return a.errors, a.weight
	case ClientErrors:
		return a.clientErrors, a.weight
	}
	return a.bad, a.good + a.bad
}

// plus adds the counts, times aside.
func (a *arm) plus(b *arm) {
	a.rows += b.rows
	a.weight += b.weight
	a.squared += b.squared
	a.errors += b.errors
	a.clientErrors += b.clientErrors
	a.good += b.good
	a.bad += b.bad
	a.open += b.open
	a.skipped += b.skipped
}

// block is one interval, or several where a window has many.
type block struct {
	first, last int64
	cold        bool // times of the canary are not judged
	arms        [arms]arm
}

// mostBlocks is how many blocks the longer window is kept in at most, and so the
// finest part of itself that it moves by.
const mostBlocks = 30

// window is the traffic of the last Reference, oldest first; nothing in it is
// changed once it is there.
type window []block

// push adds an interval behind the others. alone: it shall not join a block.
func (w window) push(b block, perBlock int64, alone bool) window {
	last := len(w) - 1
	if alone || last < 0 || w[last].first/perBlock != b.first/perBlock || w[last].cold != b.cold {
		return append(w, b)
	}
	joined := w[last]
	joined.last = b.last
	for i := range joined.arms {
		joined.arms[i].plus(&b.arms[i])
		for t := range joined.arms[i].times {
			joined.arms[i].times[t] = joined.arms[i].times[t].Add(b.arms[i].times[t])
		}
	}
	return append(w[:last:last], joined)
}

// trim drops what ended before an interval.
func (w window) trim(from int64) window {
	for len(w) > 0 && w[0].last < from {
		w = w[1:]
	}
	return w
}

// total is the sum of a window's arms. Times leave out cold intervals.
type total struct {
	arms  [arms]arm
	times [arms][Timings]histogram.Sum
}

func (t *total) reset(timings []Timing) {
	t.arms = [arms]arm{}
	for i := range t.times {
		for _, timing := range timings {
			t.times[i][timing].Reset()
		}
	}
}

func (t *total) add(b *block, timings []Timing) {
	for i := range b.arms {
		t.arms[i].plus(&b.arms[i])
		if b.cold {
			continue
		}
		for _, timing := range timings {
			t.times[i][timing].Add(b.arms[i].times[timing], 1)
		}
	}
}

// indexFrom returns the number of the first interval that begins at a time or later.
func indexFrom(t time.Time, interval time.Duration) int64 {
	return -floorDivide(-t.UnixNano(), int64(interval))
}

// beginOf returns when an interval begins.
func beginOf(index int64, interval time.Duration) time.Time {
	return time.Unix(0, 0).Add(time.Duration(index) * interval).UTC()
}

func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// intervalsIn returns how many intervals a duration is, at least 1.
func intervalsIn(d, interval time.Duration) int64 {
	return max(1, int64(math.Round(float64(d)/float64(interval))))
}
