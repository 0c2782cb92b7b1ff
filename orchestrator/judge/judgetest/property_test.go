package judgetest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// begun is a random rollout's beginning, with no decision in it.
func begun(r *rand.Rand) *looks {
	s := judge.Default()
	s.Limits = judge.Limits{}
	for m, b := range judge.Default().Limits {
		if m == judge.Errors || m == judge.ClientErrors || m == judge.LatencyP50 || m == judge.LatencyP95 {
			s.Limits[m] = b
		}
	}
	s.Alpha = 1e-300 // no rollback: the tests' evidence is looked at
	l := newLooks(s, pick(r, []int{500, 2000, 5000}))
	l.step.Bake, l.step.Deadline = 1000*time.Hour, time.Time{}
	share := float64(l.step.BasisPoints) / 1e4
	total := math.Exp(math.Log(50) + r.Float64()*math.Log(100))
	for at := -40; at < 5+r.IntN(12); at++ {
		l.pending = append(l.pending, both(r, at, s, total*share, total*(1-share)))
	}
	return l
}

// tests are the logarithms of a verdict's evidence by metric and name.
func tests(v judge.Verdict) map[string]float64 {
	out := map[string]float64{}
	for _, a := range v.Metrics {
		for _, t := range a.Tests {
			out[string(a.Metric)+" "+t.Name] = t.Log
		}
	}
	return out
}

// after judges a rollout's past and one more interval.
func after(l *looks, i judge.Interval) map[string]float64 {
	in := l.at(int(i.Index - number(0, l.settings)))
	in.Intervals = append(slices.Clone(l.pending), i)
	v, _ := judge.Judge(in)
	return tests(v)
}

// TestMonotone: what is worse for the canary in an interval makes no promotion
// likelier and no rollback less likely; the same done to stable, the other way round.
func TestMonotone(t *testing.T) {
	for run := range runs(150, 5000) {
		r := source(uint64(200 + run))
		l := begun(r)
		at := len(l.pending) - 40
		i := both(r, at, l.settings, 200, 400)
		worse := i
		stable := r.IntN(2) == 0
		arm := &worse.Canary
		if stable {
			arm = &worse.Stable
		}
		more := math.Floor(1 + 20*r.Float64())
		arm.Errors = min(arm.Weight, arm.Errors+more)
		arm.ClientErrors = min(arm.Weight, arm.ClientErrors+more)
		arm.Times[judge.FirstByte] = slower(arm.Times[judge.FirstByte], 1+r.IntN(8))
		before, then := after(l, i), after(l, worse)
		require.NotEmpty(t, before)
		for name, e := range before {
			rollback := !promotes(name)
			if stable && absolutes(name) {
				require.InDelta(t, e, then[name], 1e-9, name)
			} else if rollback != stable {
				require.GreaterOrEqual(t, then[name], e-1e-9, "%d: %s", run, name)
			} else {
				require.LessOrEqual(t, then[name], e+1e-9, "%d: %s", run, name)
			}
		}
	}
}

func promotes(name string) bool { return strings.Contains(name, "promote") }

func absolutes(name string) bool {
	return strings.Contains(name, "absolute") || strings.Contains(name, "ceiling")
}

// slower moves all times up by some buckets.
func slower(h histogram.Histogram, by int) histogram.Histogram {
	out := histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
	for i, n := range h.Counts {
		out.Counts[min(histogram.Buckets-1, h.First+i+by)] += n
	}
	return out
}

// TestScale: rows that stand for several requests each are as much evidence as the
// same rows that stand for one.
func TestScale(t *testing.T) {
	for run := range runs(100, 3000) {
		r := source(uint64(300 + run))
		l := begun(r)
		scaled := *l
		scaled.pending = slices.Clone(l.pending)
		k := math.Ldexp(1, 1+r.IntN(10)) // a power of two: a median between two buckets stays there
		for i := range scaled.pending {
			scaled.pending[i].Canary = heavier(scaled.pending[i].Canary, k)
			scaled.pending[i].Stable = heavier(scaled.pending[i].Stable, k)
		}
		requireClose(t, evidenceOf(l), evidenceOf(&scaled), 1e-6)
	}
}

func heavier(c judge.Counts, k float64) judge.Counts {
	c.Weight, c.WeightSquared, c.Errors, c.ClientErrors, c.Good, c.Bad = c.Weight*k, c.WeightSquared*k*k, c.Errors*k, c.ClientErrors*k, c.Good*k, c.Bad*k
	for i, h := range c.Times {
		c.Times[i].Counts = make([]float64, len(h.Counts))
		for j, n := range h.Counts {
			c.Times[i].Counts[j] = n * k
		}
	}
	return c
}

func evidenceOf(l *looks) map[string]float64 {
	v, _ := judge.Judge(l.at(len(l.pending) - 41))
	return tests(v)
}

func requireClose(t *testing.T, want, got map[string]float64, relative float64) {
	t.Helper()
	require.NotEmpty(t, want)
	require.Equal(t, sortedKeys(want), sortedKeys(got))
	for name, e := range want {
		require.InDelta(t, e, got[name], relative*math.Max(1, math.Abs(e)), name)
	}
}

// TestSymmetries: neither when a rollout happens nor how histograms are cut nor who
// the users are makes a difference.
func TestSymmetries(t *testing.T) {
	for run := range runs(60, 2000) {
		r := source(uint64(400 + run))
		l := begun(r)
		for i := range l.pending {
			l.pending[i].UserShare = 1
			for _, c := range []*judge.Counts{&l.pending[i].Canary, &l.pending[i].Stable} {
				c.Users, c.FailingUsers = someUsers(r)
			}
		}
		want := evidenceOf(l)

		later := *l
		hours := int64(1 + r.IntN(1e6))
		later.step.Began, later.step.Since = l.step.Began.Add(time.Duration(hours)*time.Hour), l.step.Since.Add(time.Duration(hours)*time.Hour)
		later.pending = slices.Clone(l.pending)
		for i := range later.pending {
			later.pending[i].Index += hours * int64(time.Hour/l.settings.Interval)
		}
		in := later.at(len(l.pending) - 41)
		in.Now, in.Through = in.Now.Add(time.Duration(hours)*time.Hour), in.Through+hours*int64(time.Hour/l.settings.Interval)
		v, _ := judge.Judge(in)
		requireClose(t, want, tests(v), 1e-9)

		others := *l
		others.pending = slices.Clone(l.pending)
		mask := r.Uint32()
		for i := range others.pending {
			for _, c := range []*judge.Counts{&others.pending[i].Canary, &others.pending[i].Stable} {
				c.Users, c.FailingUsers = renamed(c.Users, mask), renamed(c.FailingUsers, mask)
				c.Times[judge.FirstByte] = trimmed(c.Times[judge.FirstByte])
			}
		}
		requireClose(t, want, evidenceOf(&others), 1e-9)
	}
}

func someUsers(r *rand.Rand) (seen, failing []uint32) {
	for range r.IntN(6) {
		u := uint32(r.IntN(100))
		seen = append(seen, u)
		if r.IntN(5) == 0 {
			failing = append(failing, u)
		}
	}
	return sorted(seen), sorted(failing)
}

func sorted(u []uint32) []uint32 {
	slices.Sort(u)
	return slices.Compact(u)
}

func renamed(users []uint32, mask uint32) []uint32 {
	out := make([]uint32, 0, len(users))
	for _, u := range users {
		out = append(out, u^mask)
	}
	return sorted(out)
}

// trimmed is the same histogram without the empty buckets at its ends.
func trimmed(h histogram.Histogram) histogram.Histogram {
	counts, first := h.Counts, h.First
	for len(counts) > 0 && counts[0] == 0 {
		counts, first = counts[1:], first+1
	}
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	return histogram.Histogram{First: first, Counts: counts}
}
