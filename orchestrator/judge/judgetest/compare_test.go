package judgetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// TestSecondImplementation: on random histories the judge decides as the plain
// implementation does, at the same interval, from the same evidence.
func TestSecondImplementation(t *testing.T) {
	decisions := map[judge.Decision]int{}
	for run := range runs(50000, 1000000) {
		decisions[compare(t, uint64(run))]++
	}
	t.Log(decisions)
	require.Less(t, decisions["on the edge"], runs(50000, 1000000)/20)
	for _, d := range []judge.Decision{judge.Hold, judge.Promote, judge.Rollback, judge.Inconclusive} {
		require.Greater(t, decisions[d], runs(50000, 1000000)/50, "%s is hardly tried", d)
	}
}

// story is a random rollout: how it is judged, what happens, when anyone looks.
type story struct {
	r        *rand.Rand
	settings judge.Settings
	step     judge.Step
	measured []judge.Interval
	begins   int // of the measured, from the epoch
	ends     int
}

func tell(seed uint64) story {
	r := source(seed)
	s := story{r: r, settings: someSettings(r)}
	s.begins, s.ends = -r.IntN(14), 3+r.IntN(7)
	if r.IntN(100) == 0 {
		s.ends += 60 // past the horizon, which is 30 intervals at least
	}
	s.step = judge.Step{BasisPoints: pick(r, []int{100, 500, 2000, 5000, 9900, 10000}), Next: pick(r, []int{1500, 2000, 5000, 9000, 10000}),
		Began: epoch.Add(time.Duration(r.IntN(2)) * s.settings.Interval / 2), Bake: time.Duration(1+r.IntN(5)) * s.settings.Interval}
	s.step.Since = s.step.Began
	if r.IntN(4) > 0 {
		s.step.Deadline = epoch.Add(time.Duration(4+r.IntN(10)) * s.settings.Interval)
	}
	m := someTraffic(r, s.settings)
	gaps := pick(r, []float64{0, 0.05, 0.5})
	for t := s.begins; t < s.ends; t++ {
		if r.Float64() >= gaps {
			s.measured = append(s.measured, m(t, float64(s.step.BasisPoints)/1e4))
		}
	}
	return s
}

func someSettings(r *rand.Rand) judge.Settings {
	s := judge.Default()
	s.Interval = pick(r, []time.Duration{time.Second, 10 * time.Second, time.Minute})
	in := func(least, span int) time.Duration { return time.Duration(least+r.IntN(span)) * s.Interval }
	s.Recent, s.Reference, s.History = in(1, 4), in(2, 6), in(0, 14)
	s.ColdStart, s.Spread, s.Horizon = in(0, 3), in(0, 3), in(1, 20)
	s.Alpha = pick(r, []float64{0.05, 0.05, 0.3})
	s.Limits = judge.Limits{}
	bounds := func(absolute, factor float64) judge.Bounds {
		b := judge.Bounds{Rollback: judge.Limit{Absolute: absolute, Relative: 1.5}, Promote: judge.Limit{Absolute: absolute / 2, Relative: 1.2}}
		switch r.IntN(7) {
		case 3:
			b.Promote.Absolute = 0
		case 0:
			b.Rollback.Absolute, b.Promote.Absolute = 0, 0
		case 1:
			b.Rollback.Relative, b.Promote.Relative = 0, 0
		case 2:
			b.Rollback.Relative, b.Promote.Relative = 3, 1.05
		}
		if r.IntN(4) == 0 {
			b.Floor = absolute * factor
		}
		if r.IntN(4) == 0 {
			b.Ceiling = absolute * 3
		}
		b.Observe = r.IntN(12) == 0
		return b
	}
	for _, m := range []judge.Metric{judge.Errors, judge.ClientErrors, judge.Feedback} {
		if r.IntN(2) == 0 || m == judge.Errors && r.IntN(4) > 0 {
			s.Limits[m] = bounds(pick(r, []float64{0.01, 0.02, 0.1}), 0.5)
		}
	}
	for _, m := range []judge.Metric{judge.LatencyP50, judge.LatencyP95, judge.TotalP95} {
		if r.IntN(3) == 0 {
			s.Limits[m] = bounds(pick(r, []float64{500, 1000, 3000}), 0.3)
		}
	}
	return s
}

// someTraffic is of a random volume, health and drift, sampled or not, with users or not.
func someTraffic(r *rand.Rand, s judge.Settings) minute {
	total := math.Exp(math.Log(1e5) * r.Float64())
	p, worse := pick(r, []float64{0, 0.001, 0.01, 0.2}), pick(r, []float64{0, 0, 0, 0.01, 0.1, 0.5})
	slow, weight := pick(r, []float64{1, 1, 1.1, 1.5, 2, 5}), pick(r, []float64{1, 1, 1, 10, 500})
	users, drop := pick(r, []float64{0, 0, 1, 0.25}), pick(r, []float64{0, 0, 0.2})
	d := drifting(r)
	arm := func(n, p, median float64) judge.Counts {
		if r.Float64() < drop {
			n = 0
		}
		return someCounts(r, s, n, math.Min(p, 1), median, weight, users)
	}
	return func(t int, share float64) judge.Interval {
		wave := math.Exp(0.5 * d.rate(10*t))
		i := judge.Interval{Index: number(t, s), UserShare: users, Stable: arm(total*(1-share), p*wave, 800*wave)}
		if t >= 0 {
			i.Canary = arm(total*share, p*wave+worse, 800*wave*slow)
		} else if t < 0 {
			i.Stable = arm(total, p*wave, 800*wave)
		}
		return i
	}
}

func someCounts(r *rand.Rand, s judge.Settings, mean, p, median, weight, users float64) judge.Counts {
	n := poisson(r, mean/weight)
	c := judge.Counts{Rows: n, Weight: n * weight, WeightSquared: n * weight * weight * (1 + 0.3*r.Float64())}
	c.Errors, c.ClientErrors = weight*binomial(r, n, p), weight*binomial(r, n, p/2)
	if _, judged := s.Limits[judge.Feedback]; judged {
		c.Good = weight * binomial(r, n, 0.1)
		c.Bad = binomial(r, c.Good, p)
	}
	c.Times[judge.FirstByte] = someTimes(r, n, weight, median)
	if _, judged := s.Limits[judge.TotalP95]; judged {
		c.Times[judge.Total] = someTimes(r, binomial(r, n, 0.3), weight, 5*median)
	}
	if users > 0 {
		failing := func(k float64) (out []uint32) {
			for range int(math.Min(k, 4)) {
				out = append(out, uint32(r.IntN(60))<<22)
			}
			return sorted(out)
		}
		for range int(math.Min(n, 12)) {
			c.Users = append(c.Users, uint32(users*float64(uint32(r.IntN(60))<<22)))
		}
		c.Users = sorted(c.Users)
		c.FailingUsers, c.ClientFailingUsers = failing(c.Errors), failing(c.ClientErrors)
	}
	return c
}

// someTimes are n rows in a dozen buckets around a median.
func someTimes(r *rand.Rand, n, weight, median float64) histogram.Histogram {
	h := histogram.Histogram{First: max(0, histogram.Bucket(median)-r.IntN(3)-4)}
	for left := n; left > 0 && len(h.Counts) < 12; {
		k := binomial(r, left, 0.1+0.5*r.Float64())
		h.Counts, left = append(h.Counts, weight*k), left-k
	}
	return h
}

// compare drives both through one story and returns its last decision.
func compare(t *testing.T, seed uint64) judge.Decision {
	s := tell(seed)
	var plain past
	var memory judge.Memory
	decision := judge.Hold
	done := s.begins
	for at := 0; at < s.ends; at += 1 + s.r.IntN(3)*s.r.IntN(3) {
		in := judge.Input{Now: epoch.Add(time.Duration(at+1) * s.settings.Interval), Settings: s.settings, Step: s.step,
			Intervals: upTo(s.measured, number(at, s.settings)), Through: number(at, s.settings), Memory: memory}
		var v judge.Verdict
		v, memory = judge.Judge(in)
		var want found
		for want.decision = judge.Hold; done <= at && want.decision == judge.Hold; done++ {
			plain = append(plain, record{s.at(done), s.step, s.settings})
			if done >= 0 {
				if want = find(plain); want.edge {
					return "on the edge"
				}
			}
		}
		requireAgree(t, seed, at, want, v)
		decision = v.Decision
		if decision == judge.Promote && s.step.Next < 10000 && s.step.Next > s.step.BasisPoints {
			s.step.BasisPoints, s.step.Next, s.step.Since = s.step.Next, 10000, v.At.Add(time.Duration(s.r.IntN(3))*s.settings.Interval/2)
		} else if decision != judge.Hold {
			break
		}
	}
	return decision
}

// at is the interval t past the epoch, empty where nothing was measured.
func (s *story) at(t int) judge.Interval {
	n := number(t, s.settings)
	for _, i := range s.measured {
		if i.Index == n {
			return i
		}
	}
	return judge.Interval{Index: n}
}

func upTo(all []judge.Interval, through int64) []judge.Interval {
	until := slices.IndexFunc(all, func(i judge.Interval) bool { return i.Index > through })
	if until < 0 {
		return all
	}
	return all[:until]
}

// requireAgree holds a verdict to what was plainly found.
func requireAgree(t *testing.T, seed uint64, at int, want found, v judge.Verdict) {
	t.Helper()
	wrong := func(what string, plain, judged any) {
		t.Helper()
		text, _ := json.MarshalIndent(v, "", " ")
		t.Fatalf("seed %d, look %d: %s: plainly %v, judged %v: %s", seed, at, what, plain, judged, text)
	}
	evidence, judged := tests(v), map[judge.Metric]bool{}
	for _, a := range v.Metrics {
		judged[a.Metric] = true
		f := want.metrics[a.Metric]
		if f == nil {
			wrong(string(a.Metric), "nothing", "something")
		}
		for i, pair := range [][2]float64{{f.recent[0], a.Recent.Canary}, {f.recent[1], a.Recent.Stable}, {f.window[0], a.Window.Canary}, {f.window[1], a.Window.Stable},
			{f.above, a.RollbackAbove}, {f.upTo, a.PromoteUpTo}} {
			if !near(pair[0], pair[1]) {
				wrong(fmt.Sprint(a.Metric, " value ", i), pair[0], pair[1])
			}
		}
		if f.breach != a.Breach {
			wrong(string(a.Metric)+" breach", f.breach, a.Breach)
		}
		if f.within != a.Within {
			wrong(string(a.Metric)+" within", f.within, a.Within)
		}
		for name, e := range f.evidence {
			full := string(a.Metric) + " " + name
			if got, has := evidence[full]; !has || !near(e, got) {
				wrong(full, e, got)
			}
			delete(evidence, full)
		}
	}
	for m := range want.metrics {
		if !judged[m] {
			wrong(string(m), "something", "nothing")
		}
	}
	for name, e := range evidence {
		wrong(name, "unknown", e)
	}
	if found := [...]bool{want.frozen, want.mismatch, want.collapse}; found != [...]bool{v.Frozen != "", v.Mismatch != "", v.Collapse != ""} {
		wrong("frozen, mismatch, collapse", found, [...]string{v.Frozen, v.Mismatch, v.Collapse})
	}
	if want.decision != v.Decision {
		wrong("decision", want.decision, v.Decision)
	}
}

const tolerance = 1e-9

// near: within a billionth.
func near(a, b float64) bool {
	return math.Abs(a-b) <= tolerance*math.Max(1, math.Max(math.Abs(a), math.Abs(b)))
}
