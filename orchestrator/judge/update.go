package judge

import (
	"math"

	"perch/orchestrator/judge/histogram"
)

// leastPast is how many of stable's times, effective, a reference quantile takes.
const leastPast = 20

// meet counts the users of an interval in the rollout.
func (j *judging) meet(iv *Interval, b *block) fresh {
	m := &j.memory
	if !(iv.UserShare > 0) {
		return fresh{}
	}
	share := float64(j.in.Step.BasisPoints) / allTraffic
	if b.first < j.since {
		// The share of an earlier step is not known any more.
		share = b.arms[canary].weight / (b.arms[canary].weight + b.arms[stable].weight)
		if !(share > 0) {
			share = 0
		}
	}
	if b.arms[canary].weight == 0 && b.arms[stable].weight*share >= leastExpected*(1-share) {
		return fresh{} // the edge has dropped the canary: its users are with stable
	}
	var f fresh
	m.crowd, f = m.crowd.add(iv, share, b.first >= j.spread && b.first >= j.since && alike(&b.arms))
	f.known = true
	return f
}

// forgetUsers lets go of who has failed where the tests of users begin anew after the
// next intervals: of a user base that is small and stays, each has failed at some
// time, and none would be new any more.
func (j *judging) forgetUsers(intervals int64) {
	for i := range j.assays {
		a := &j.assays[i]
		for k := range a.trials {
			t := &a.trials[k]
			if ofUsers := t.kind == rollbackAbsoluteUsers || t.kind == rollbackRelativeUsers; ofUsers && t.process.Intervals+intervals > t.schedule.Horizon {
				*j.memory.crowd.of(a.metric) = [arms]sketch{}
			}
		}
	}
}

// updateRate lets an interval pass for a rate's tests.
func (j *judging) updateRate(a *assayed, b *block, f *fresh, stepping bool) {
	kc, nc := b.arms[canary].events(a.metric)
	ks, ns := b.arms[stable].events(a.metric)
	fc, fs := b.arms[canary].kish(), b.arms[stable].kish()
	kc, nc, ks, ns = kc*fc, nc*fc, ks*fs, ns*fs
	noise := 0.0
	if nc+ns > 0 {
		noise = j.memory.noise[a.number].C()
	}
	users := f.of(a.metric)
	for i := range a.trials {
		t := &a.trials[i]
		if t.kind.promotes() && !stepping {
			continue
		}
		to := j.scratch[:t.size()]
		switch {
		case nc+ns == 0:
			t.process.Skip(t.schedule, 1)
			continue
		case t.kind == rollbackRelativeUsers && f.known:
			t.relative.Increments(to, users.k[canary], users.n[canary], users.k[stable], users.n[stable], noise)
		case t.kind == rollbackAbsoluteUsers && f.known:
			// Each failing user counts once, among all requests: less than there is to see.
			t.absolute.Increments(to, users.k[canary], max(users.k[canary], nc*users.part), noise)
		case t.relative.Len() > 0:
			t.relative.Increments(to, kc, nc, ks, ns, noise)
		default:
			t.absolute.Increments(to, kc, nc, noise)
		}
		t.process.Update(t.schedule, to)
	}
	if stepping && nc > 0 {
		s := &j.memory.step[a.number]
		d := 1 + noise*noise*nc*(s.k+0.5)/(s.temperedN+1)
		s.n, s.k, s.temperedN = s.n+nc, s.k+kc/d, s.temperedN+nc/d
	}
}

// updateTime lets an interval pass for the tests of a time. In the cold start of
// a step the canary's are not looked at.
func (j *judging) updateTime(a *assayed, b *block, stepping bool) {
	var hc, hs histogram.Histogram
	fc, fs := b.arms[canary].kish(), b.arms[stable].kish()
	if !b.cold {
		hc, hs = b.arms[canary].times[a.timing], b.arms[stable].times[a.timing]
	}
	nc, ns := hc.Total()*fc, hs.Total()*fs
	past := j.past[a.timing].View()
	pastTotal := past.Total() * j.pastKish
	holding, known := past.Holding(a.quantile)
	known = known && pastTotal >= leastPast
	noise := 0.0
	if nc > 0 {
		noise = j.memory.noise[a.number].C()
	}
	for i := range a.trials {
		t := &a.trials[i]
		if t.kind.promotes() && !stepping {
			continue
		}
		relative := t.shift.Len() > 0
		if nc == 0 || relative && (!known || ns == 0) {
			t.process.Skip(t.schedule, 1)
			continue
		}
		to := j.scratch[:t.size()]
		if relative {
			edge := t.edge(holding)
			ps := clampRate((past.From(edge)*j.pastKish + 0.5) / (pastTotal + 1))
			t.shift.Increments(to, hc.From(edge+t.bucket)*fc, nc, hs.From(edge)*fs, ns, ps, noise)
		} else {
			t.absolute.Increments(to, hc.From(t.bucket)*fc, nc, noise)
		}
		t.process.Update(t.schedule, to)
	}
	if stepping && nc > 0 {
		m := &j.memory
		q := a.quantile
		s := &m.step[a.number]
		d := 1 + noise*noise*nc*q*(1-q)
		s.n, s.temperedN = s.n+nc, s.temperedN+nc/d
		if a.number%2 == firstTimed%2 || !j.judges(a.number-1) {
			if fc != 1 {
				hc = hc.Scale(fc)
			}
			m.times[a.timing] = m.times[a.timing].Add(hc)
		}
	}
}

// judges reports that a metric is among the judged.
func (j *judging) judges(number int) bool {
	_, ok := j.in.Settings.Limits[Metrics[number]]
	return ok
}

// edge returns the bucket from which stable's times are slower than x, its
// quantile of before, which lies within the bucket that holds it. A rollback takes
// that bucket's end and a promotion its begin: where all of stable's times are
// alike, both then still see a canary that is slower, or is not.
func (t *trial) edge(holding int) int {
	if t.kind.promotes() {
		return holding
	}
	return holding + 1
}

// clampRate keeps a chance off 0 and 1.
func clampRate(p float64) float64 {
	const least = 1e-6
	return math.Max(least, math.Min(1-least, p))
}
