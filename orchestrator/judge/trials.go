package judge

import (
	"math"

	"perch/orchestrator/judge/eprocess"
	"perch/orchestrator/judge/histogram"
)

// kind says what a test is about; its number is stored.
type kind int

// The kinds.
const (
	rollbackAbsolute kind = iota
	rollbackRelative
	rollbackAbsoluteUsers
	rollbackRelativeUsers
	ceilingAbsolute
	promoteAbsolute
	promoteRelative
)

var kindNames = [...]string{"rollback.absolute", "rollback.relative", "rollback.absolute.users", "rollback.relative.users",
	"ceiling", "promote.absolute", "promote.relative"}

func (k kind) promotes() bool { return k >= promoteAbsolute }

// trial is a test that runs: a bet, of one of three forms, and its process.
type trial struct {
	kind     kind
	null     float64 // the limit's part that is tested
	needed   float64 // natural logarithm of the evidence that it takes
	schedule eprocess.Schedule
	process  *eprocess.Process
	absolute eprocess.Absolute
	relative eprocess.Relative
	shift    eprocess.Shift
	// Of times: the bucket from which a time is slower than the limit, or by how
	// many buckets the canary may be slower than stable.
	bucket int
}

// assayed is a metric with what is needed to judge it.
type assayed struct {
	metric   Metric
	number   int
	bounds   Bounds
	alone    bool    // there is no stable traffic
	was      float64 // the rate that stable then had when it last had traffic, 0 if unknown
	timed    bool
	timing   Timing
	quantile float64
	trials   []trial
}

// parts returns a limit as it applies. The floor is the least that its absolute
// part can be. Without stable traffic there is no relative part; the absolute one is
// then at least what the relative one would be for the rate that stable had. A floor
// alone is no limit.
func (a *assayed) parts(l Limit) Limit {
	l = Limit{max(0, l.Absolute), max(0, l.Relative)}
	if a.alone {
		if l.Absolute > 0 {
			l.Absolute = max(l.Absolute, l.Relative*a.was)
		}
		l.Relative = 0
	}
	if l != (Limit{}) {
		l.Absolute = max(l.Absolute, a.bounds.Floor)
	}
	return l
}

// of returns the value that both parts amount to, given stable's.
func (l Limit) of(stable float64) float64 { return max(l.Absolute, l.Relative*stable) }

// nulls returns what a rollback must disprove: the promote limit, or the rollback
// limit where no part of the other applies.
func (a *assayed) nulls() Limit {
	if promote := a.parts(a.bounds.Promote); promote != (Limit{}) {
		return promote
	}
	return a.parts(a.bounds.Rollback)
}

// beta returns the chance of a false promotion that a step may have.
func beta(next int) float64 {
	switch {
	case next <= 2000:
		return 0.2
	case next <= 5000:
		return 0.1
	}
	return 0.05
}

// assay lays out a metric's tests.
func (j *judging) assay(number int, b Bounds) assayed {
	a := assayed{metric: Metrics[number], number: number, bounds: b, alone: j.alone}
	if j.alone {
		a.was = j.was(number)
	}
	a.timing, a.quantile, a.timed = a.metric.Timing()
	alpha := j.in.Settings.Alpha
	cap, family := -math.Log(alpha), alpha
	if a.timed {
		family /= 2
	}
	rollback := eprocess.Schedule{First: 0.5, Horizon: j.horizon, Cap: cap, Renew: true}
	nulls := a.nulls()
	a.lay(rollbackAbsolute, nulls.Absolute, -math.Log(family), rollback)
	a.lay(rollbackRelative, nulls.Relative, -math.Log(family), rollback)
	if a.metric == Errors || a.metric == ClientErrors {
		// Users that fail each time are new in one interval alone: no cap, as requests
		// must agree anyway.
		users := rollback
		users.Cap = math.Inf(1)
		if nulls.Relative > 0 {
			a.lay(rollbackRelativeUsers, nulls.Relative, -math.Log(family), users)
		} else {
			a.lay(rollbackAbsoluteUsers, nulls.Absolute, -math.Log(family), users)
		}
	}
	a.lay(ceilingAbsolute, b.Ceiling, -math.Log(alpha), rollback)
	promote := eprocess.Schedule{First: 1, Horizon: 1, Cap: math.Inf(1)}
	limit := a.parts(b.Rollback)
	a.lay(promoteAbsolute, limit.Absolute, -math.Log(beta(j.in.Step.Next)), promote)
	a.lay(promoteRelative, limit.Relative, -math.Log(beta(j.in.Step.Next)), promote)
	return a
}

// mostRate keeps a null rate below 1.
const mostRate = 0.999

// lay adds a test of a null, where that part exists.
func (a *assayed) lay(k kind, null, needed float64, schedule eprocess.Schedule) {
	if !(null > 0) {
		return
	}
	t := trial{kind: k, null: null, needed: needed, schedule: schedule}
	aim, buckets := eprocess.Above, histogram.Wider
	if k.promotes() {
		aim, buckets = eprocess.Below, histogram.Narrower
	}
	relative := k == rollbackRelative || k == rollbackRelativeUsers || k == promoteRelative
	switch {
	case a.timed:
		t.bucket = buckets(null)
		if relative {
			t.shift = eprocess.ShiftsTo(aim)
		} else {
			t.absolute = eprocess.NewOdds(1-a.quantile, eprocess.Shifts(aim))
		}
	case relative:
		t.relative = eprocess.RatiosTo(aim, null)
	default:
		null = min(null, mostRate)
		t.absolute = eprocess.NewAbsolute(null, eprocess.Rates(aim, null))
	}
	a.trials = append(a.trials, t)
}

// size returns the number of alternatives.
func (t *trial) size() int {
	return max(t.absolute.Len(), t.relative.Len(), t.shift.Len())
}

// resume gives the tests the processes that the memory holds of them, or new
// ones, and leaves those in the memory alone.
func (j *judging) resume() {
	former := j.memory.trials
	count := 0
	for i := range j.assays {
		count += len(j.assays[i].trials)
	}
	j.memory.trials = make([]remembered, 0, count)
	for i := range j.assays {
		a := &j.assays[i]
		for k := range a.trials {
			t := &a.trials[k]
			r := remembered{metric: a.number, kind: t.kind, null: t.null}
			for f := range former {
				if former[f].metric == r.metric && former[f].kind == r.kind && former[f].null == r.null && len(former[f].process.Weights) == t.size() {
					r.process = former[f].process
				}
			}
			if r.process.Weights == nil {
				r.process = eprocess.New(t.size())
			}
			j.memory.trials = append(j.memory.trials, r)
			t.process = &j.memory.trials[len(j.memory.trials)-1].process
		}
	}
}
