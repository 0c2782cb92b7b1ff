package judgetest

import (
	"flag"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// The proofs run with fixed seeds: few runs with the other tests, many by make proof.
var proof = flag.Bool("proof", false, "the slow proofs")

// runs is how many there are.
func runs(few, many int) int {
	if *proof {
		return many
	}
	return few
}

// epoch is the begin of an interval of any length that divides an hour.
var epoch = time.Unix(1_790_000_000-1_790_000_000%3600, 0).UTC()

// number returns the number of the interval that is t whole ones past the epoch.
func number(t int, s judge.Settings) int64 {
	return epoch.Unix()/int64(s.Interval/time.Second) + int64(t)
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

func poisson(r *rand.Rand, mean float64) float64 {
	if mean <= 0 {
		return 0
	}
	return distuv.Poisson{Lambda: mean, Src: r}.Rand()
}

func binomial(r *rand.Rand, n, p float64) float64 {
	if n <= 0 || p <= 0 {
		return 0
	}
	return distuv.Binomial{N: n, P: math.Min(p, 1), Src: r}.Rand()
}

// requests is an arm's interval of n requests, of which failed failed; none is sampled.
func requests(n, failed float64) judge.Counts {
	return judge.Counts{Rows: n, Weight: n, WeightSquared: n, Errors: failed}
}

// lognormal are n times around a median in ms: one by one, or where they are many
// by the buckets' probabilities.
func lognormal(r *rand.Rand, n, median, sigma float64) histogram.Histogram {
	h := histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
	if n < 1500 {
		for range int(n) {
			h.Counts[histogram.Bucket(median*math.Exp(sigma*r.NormFloat64()))]++
		}
		return h
	}
	below, left := 0.0, n
	for i := range h.Counts {
		end := distuv.UnitNormal.CDF((float64(i+1)*math.Log(histogram.Base) - math.Log(median)) / sigma)
		h.Counts[i] = binomial(r, left, (end-below)/(1-below))
		left -= h.Counts[i]
		if below = end; left == 0 {
			break
		}
	}
	return h
}

// drift are the slow waves of a service's error rate and times, common to both arms.
type drift struct{ errors, times float64 }

func drifting(r *rand.Rand) drift {
	return drift{2 * math.Pi * r.Float64(), 2 * math.Pi * r.Float64()}
}

// rate is -1 to 1 at minute t.
func (d drift) rate(t int) float64 { return math.Sin(2*math.Pi*float64(t)/120 + d.errors) }

func (d drift) time(t int) float64 { return math.Sin(2*math.Pi*float64(t)/150 + d.times) }

// minute makes the interval t past the epoch for the canary's share of the users.
type minute func(t int, share float64) judge.Interval

// ladder is a rollout driven as the orchestrator does it: a look after each interval.
type ladder struct {
	settings judge.Settings
	steps    []int // basis points
	bake     time.Duration
	history  int // intervals before the rollout
	length   int // intervals until the deadline
}

// outcome is what became of a rollout.
type outcome struct {
	decision judge.Decision // the last
	reached  int            // basis points
	at       int            // intervals since the begin
	mismatch bool           // was seen at any look
	frozen   bool
	verdict  judge.Verdict // the last
}

func usual() ladder {
	return ladder{settings: judge.Default(), steps: []int{500, 2000, 5000, 10000}, bake: 15 * time.Minute, history: 60, length: 60}
}

// run drives it. observe sees each verdict and may be nil.
func (l ladder) run(m minute, observe func(judge.Verdict)) outcome {
	at := func(t int) time.Time { return epoch.Add(time.Duration(t) * l.settings.Interval) }
	var pending []judge.Interval
	for t := -l.history; t < 0; t++ {
		pending = append(pending, m(t, 0))
	}
	step, memory := 0, judge.Memory{}
	since, out := 0, outcome{}
	for t := range l.length + 1 {
		pending = append(pending, m(t, float64(l.steps[step])/1e4))
		next := 10000
		if step+1 < len(l.steps) {
			next = l.steps[step+1]
		}
		in := judge.Input{
			Now: at(t + 1), Settings: l.settings, Intervals: pending, Through: number(t, l.settings), Memory: memory,
			Step: judge.Step{BasisPoints: l.steps[step], Next: next, Began: at(0), Since: at(since), Bake: l.bake, Deadline: at(l.length)},
		}
		out.verdict, memory = judge.Judge(in)
		pending = nil
		if observe != nil {
			observe(out.verdict)
		}
		out.decision, out.at, out.reached = out.verdict.Decision, t, l.steps[step]
		out.mismatch = out.mismatch || out.verdict.Mismatch != ""
		out.frozen = out.frozen || out.verdict.Frozen != ""
		if out.decision == judge.Promote && step+1 < len(l.steps) {
			step, since = step+1, t+1
		} else if out.decision != judge.Hold {
			break
		}
	}
	return out
}

// atMost fails where so many hits of so many tries would be seen less than once in
// a million at the given probability (the exact binomial tail).
func atMost(t *testing.T, name string, p float64, hits, tries int) {
	t.Helper()
	tail := 1.0
	if hits > 0 {
		tail = 1 - distuv.Binomial{N: float64(tries), P: p}.CDF(float64(hits-1))
	}
	t.Logf("%s: %d of %d, %.2f %%, at most %.2f %% are allowed", name, hits, tries, 100*float64(hits)/float64(tries), 100*p)
	require.Greater(t, tail, 1e-6, "%s: %d of %d are more than %v", name, hits, tries, p)
}

// only keeps the limits of some metrics.
func only(s judge.Settings, metrics ...judge.Metric) judge.Settings {
	limits := judge.Limits{}
	for m, b := range s.Limits {
		if slices.Contains(metrics, m) {
			limits[m] = b
		}
	}
	s.Limits = limits
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
