package judge

import (
	"math"
	"time"
)

// leastGuard is how many effective units of the canary a guard takes to stand
// against a promotion.
const leastGuard = 20

// look judges what has been seen so far: the verdict without its words.
func (j *judging) look() {
	in, m := j.in, &j.memory
	j.sumWindows()
	v := Verdict{Method: in.Settings.Method, Problem: in.Problem, RecentWindow: Seconds(in.Settings.Recent.Seconds()), Metrics: j.verdict.Metrics[:0]}
	if v.Method != Thresholds {
		v.Method = Evidence
	}
	v.Step = StepView{BasisPoints: in.Step.BasisPoints, Next: in.Step.Next, Since: in.Step.Since, Deadline: in.Step.Deadline, BakeLeft: Seconds(in.Step.Bake.Seconds())}
	if m.judged {
		v.At = beginOf(m.last+1, j.interval)
		if m.stepped {
			v.Step.BakeLeft = Seconds(max(0, in.Step.Bake-time.Duration(m.last+1-j.since)*j.interval).Seconds())
		}
	}
	if !in.Step.Deadline.IsZero() {
		end := v.At
		if in.Problem != "" || !m.judged {
			end = in.Now.Add(-in.Lag)
		}
		v.Step.Expired, v.Step.Late = !end.Before(in.Step.Deadline), end.After(in.Step.Deadline)
	}
	j.watch(&v)
	j.assess(&v)
	if v.Method == Thresholds {
		j.count(&v)
	}
	v.Decision = v.decide()
	j.verdict = v
}

// assess fills in the metrics' numbers.
func (j *judging) assess(v *Verdict) {
	j.tests = j.tests[:0]
	proof := j.proofTiming()
	for i := range j.assays {
		a := &j.assays[i]
		s := Assessment{Metric: a.metric, Ceiling: a.bounds.Ceiling, StableWas: a.was}
		s.Recent, s.Window = j.values(a, &j.recently), j.values(a, &j.window)
		if s.Recent.CanaryRows+s.Recent.StableRows+s.Window.CanaryRows+s.Window.StableRows == 0 && !(a.timed && a.timing == proof) {
			continue
		}
		s.RollbackLimit, s.PromoteLimit = a.parts(a.bounds.Rollback), a.parts(a.bounds.Promote)
		s.RollbackAbove, s.PromoteUpTo = s.RollbackLimit.of(s.Recent.Stable), s.PromoteLimit.of(s.Window.Stable)
		j.users(a, &s)
		from := len(j.tests)
		for k := range a.trials {
			t := &a.trials[k]
			if v.Method == Thresholds {
				break
			}
			j.tests = append(j.tests, Test{Name: kindNames[t.kind], Log: t.process.Log(t.schedule), NeededLog: t.needed})
		}
		s.Tests = j.tests[from:len(j.tests):len(j.tests)]
		s.Role = j.role(a, &s, proof)
		s.Breach, s.Within = s.breached(v), s.within(v)
		v.Metrics = append(v.Metrics, s)
	}
}

// values returns a metric's values in a window.
func (j *judging) values(a *assayed, t *total) Values {
	var v Values
	value := [arms]*float64{&v.Canary, &v.Stable}
	rows := [arms]*float64{&v.CanaryRows, &v.StableRows}
	effective := [arms]*float64{&v.CanaryEffective, &v.StableEffective}
	for i := range t.arms {
		arm := &t.arms[i]
		var n float64
		if a.timed {
			times := t.times[i][a.timing].View()
			n, *value[i] = times.Total(), times.Quantile(a.quantile)
		} else if k, units := arm.events(a.metric); units > 0 {
			n, *value[i] = units, k/units
		}
		*effective[i], *rows[i] = n*arm.kish(), n
		if arm.weight > 0 && arm.rows > 0 {
			*rows[i] = n * arm.rows / arm.weight
		}
	}
	if a.metric == Errors {
		v.CanarySkipped = t.arms[canary].skipped
	}
	if j.alone {
		v.Stable, v.StableRows, v.StableEffective = 0, 0, 0
	}
	return v
}

// users fills in how many distinct users the step had, and which part of them had
// an event.
func (j *judging) users(a *assayed, s *Assessment) {
	c, w := &j.memory.crowd, &s.Window
	if !j.memory.stepped || a.metric != Errors && a.metric != ClientErrors {
		return
	}
	w.CanaryUsers, w.CanaryFailing = c.users(a.metric, canary)
	if j.alone {
		return
	}
	w.StableUsers, w.StableFailing = c.users(a.metric, stable)
	if w.CanaryUsers > 0 && w.StableUsers > 0 && alike(&j.window.arms) {
		s.UsersAbove = s.RollbackLimit.of(w.StableFailing)
	}
}

// proofTiming returns the time that a promotion needs proof of: of first bytes and
// totals the one that the canary has more of, or stable where it has none.
func (j *judging) proofTiming() Timing {
	best, most, mostPast := Timing(-1), -1.0, -1.0
	for _, timing := range j.timings {
		if timing != FirstByte && timing != Total {
			continue
		}
		n, past := j.window.times[canary][timing].View().Total(), j.past[timing].View().Total()
		if past*j.pastKish < leastPast && n*j.window.arms[canary].kish() < leastPast {
			continue
		}
		if n > most || n == most && past > mostPast {
			best, most, mostPast = timing, n, past
		}
	}
	return best
}

func (j *judging) role(a *assayed, s *Assessment, proof Timing) Role {
	expected := 0.0
	if c, st := j.window.arms[canary].weight, j.window.arms[stable].weight; st > 0 {
		expected = s.Window.StableEffective * c / st
	}
	switch {
	case a.bounds.Observe:
		return Observed
	case s.Window.CanaryRows > 0 && s.Window.StableRows == 0 && !j.alone && a.timed && a.timing != proof,
		s.Window.CanaryRows == 0 && expected >= leastGuard:
		return Incomplete
	case a.metric == Errors, a.timed && a.timing == proof && a.promotes():
		return Proof
	}
	return Guard
}

// promotes reports that there are tests for a promotion.
func (a *assayed) promotes() bool {
	return len(a.trials) > 0 && a.trials[len(a.trials)-1].kind.promotes()
}

// watch looks at what stands against any promotion: v's words follow later.
func (j *judging) watch(v *Verdict) {
	c, s := &j.recently.arms[canary], &j.recently.arms[stable]
	if seconds := j.recentSeconds(); seconds > 0 {
		v.Traffic.CanaryPerSecond, v.Traffic.StablePerSecond = c.weight/seconds, s.weight/seconds
	}
	v.Open = j.window.arms[canary].open
	for i := range j.assays {
		if j.assays[i].metric == Errors {
			v.Noise = j.memory.noise[j.assays[i].number].C()
			if limit, rate := j.freeze(&j.assays[i]); limit > 0 && rate > limit {
				v.Frozen = pending
			}
		}
	}
	if j.memory.stepped && !j.alone && j.memory.crowd.check.Mismatch() {
		v.Mismatch = pending
	}
	if arm, _, _, _ := j.collapse(); arm >= 0 {
		v.Collapse = pending
	}
}

// pending stands for words that are not there yet.
const pending = "…"

// split is the canary's configured share, kept off 0 and 1.
func (j *judging) split() float64 {
	return math.Max(1e-4, math.Min(1-1e-4, float64(j.in.Step.BasisPoints)/allTraffic))
}

func (j *judging) recentSeconds() float64 {
	if !j.memory.judged {
		return 0
	}
	return float64(max(0, min(j.recent, j.memory.last+1-j.began))) * j.interval.Seconds()
}

// freeze returns the error rate from which stable is in trouble, 0 for none, and
// the one that it has.
func (j *judging) freeze(a *assayed) (limit, rate float64) {
	if s := &j.recently.arms[stable]; s.weight > 0 && !j.alone {
		rate = s.errors / s.weight
	}
	limit = a.bounds.Rollback.Absolute
	if before := j.memory.before[a.number]; before[1] > 0 {
		limit = max(limit, 2*before[0]/before[1])
	}
	return limit, rate
}

const (
	// collapsed is the part of its expected traffic below which an arm's is gone.
	collapsed = 0.1
	// leastExpected is how many units must be expected for that: 10 happen to be
	// none once in 20,000 times.
	leastExpected = 10
)

// collapse returns the arm whose traffic is gone, −1 for none, with what it had in
// the recent window and what was expected by its own earlier rate in the step or,
// bySplit, by the other arm's traffic.
func (j *judging) collapse() (arm int, had, expected float64, bySplit bool) {
	m := &j.memory
	recent := min(j.recent, m.last+1-j.since)
	if !m.stepped || recent <= 0 {
		return -1, 0, 0, false
	}
	share := j.split()
	shares := [arms]float64{share, 1 - share}
	earlier := min(j.reference, m.last+1-j.since) - recent
	for arm := range shares {
		if j.alone && arm == stable {
			continue
		}
		had, other := 0.0, 0.0
		for i := range m.window {
			if b := &m.window[i]; b.last > m.last-recent && b.first >= j.since {
				had, other = had+b.arms[arm].weight, other+b.arms[1-arm].weight
			}
		}
		if earlier > 0 {
			if expected = (j.window.arms[arm].weight - had) * float64(recent) / float64(earlier); expected >= leastExpected && had < collapsed*expected {
				return arm, had, expected, false
			}
		}
		if settled := m.last+1-j.spread >= recent; settled && !j.alone {
			if expected = other * shares[arm] / shares[1-arm]; expected >= leastExpected && had < collapsed*expected {
				return arm, had, expected, true
			}
		}
	}
	return -1, 0, 0, false
}
