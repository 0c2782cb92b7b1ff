package judge

import (
	"math"
	"strings"

	"perch/orchestrator/judge/eprocess"
)

// Decide returns the decision that follows from what a verdict stores, and its
// reason in one sentence.
func Decide(v Verdict) (Decision, string) {
	d := v.decide()
	return d, v.reason(d)
}

func (v *Verdict) decide() Decision {
	for i := range v.Metrics {
		if v.rollsBack(&v.Metrics[i]) {
			return Rollback
		}
	}
	switch {
	case !v.Step.Late && v.promotable():
		return Promote
	case v.Step.Expired:
		return Inconclusive
	}
	return Hold
}

// rollsBack reports that a metric alone rolls back.
func (v *Verdict) rollsBack(a *Assessment) bool {
	if a.Role == Observed || !a.breached(v) {
		return false
	}
	return v.Method != Thresholds || v.Breaches >= v.BreachesNeeded
}

// promotable reports that nothing stands against a promotion, and that something
// proves it.
func (v *Verdict) promotable() bool {
	if v.Problem != "" || v.At.IsZero() || v.Step.BakeLeft > 0 || v.Frozen != "" || v.Mismatch != "" || v.Collapse != "" {
		return false
	}
	proven := false
	for i := range v.Metrics {
		a := &v.Metrics[i]
		if v.stands(a) != nothing {
			return false
		}
		proven = proven || a.Role == Proof
	}
	return proven
}

// obstacle says what of a metric stands against a promotion.
type obstacle int

const (
	nothing    obstacle = iota
	absent              // stable has it and the canary has not
	above               // the value is above the promote limit
	unproven            // the evidence lacks
	ofUsers             // by users it would be rolled back
	inBreach            // it is in breach, and not for long enough
	tooFewRows          // of method thresholds
)

func (v *Verdict) stands(a *Assessment) obstacle {
	switch {
	case a.Role == Observed:
		return nothing
	case a.breached(v):
		return inBreach
	case a.Role == Incomplete && a.Window.CanaryRows == 0:
		return absent
	case a.Role == Incomplete:
		return nothing
	case v.Method == Thresholds:
		return v.standsByLimits(a)
	case a.breachedByUsers():
		return ofUsers
	}
	if a.Role == Proof {
		switch {
		case !a.measured():
			return unproven
		case !a.within(v):
			return above
		case !a.proven():
			return unproven
		}
		return nothing
	}
	if a.Window.CanaryEffective >= leastGuard && a.limited() && !a.within(v) {
		return above
	}
	return nothing
}

// limited reports that the metric has a promote limit that applies.
func (a *Assessment) limited() bool { return a.PromoteLimit != (Limit{}) }

func (a *Assessment) measured() bool { return a.Window.CanaryRows > 0 }

// breached reports that the value is past a limit that the evidence is past too.
func (a *Assessment) breached(v *Verdict) bool {
	if v.Method == Thresholds {
		return a.breachedLimits(v)
	}
	if !(a.Recent.CanaryRows > 0) {
		return false
	}
	tested, sure, overCeiling := false, true, false
	for i := range a.Tests {
		t := &a.Tests[i]
		switch {
		case strings.HasPrefix(t.Name, "rollback."):
			tested = true
			sure = sure && t.suffices()
		case t.Name == kindNames[ceilingAbsolute]:
			overCeiling = t.suffices() && a.Recent.Canary > a.Ceiling
		}
	}
	return overCeiling || tested && sure && a.comparable() && a.Recent.Canary > a.RollbackAbove
}

// comparable reports that the rollback limit is known: where all of stable's answers
// fail it has no times, and no multiple of them is a limit. A rate has its absolute
// part even then.
func (a *Assessment) comparable() bool {
	_, _, timed := a.Metric.Timing()
	return a.RollbackLimit.Relative == 0 || a.Recent.StableRows > 0 || !timed && a.RollbackLimit.Absolute > 0
}

// suffices reports that the evidence is what it takes, whatever rounding left of it.
func (t Test) suffices() bool { return t.Log >= t.NeededLog-1e-9 }

// breachedByUsers reports that users say what requests do not: by the part of
// them that had an event the canary is past the limit, and the evidence is there.
func (a *Assessment) breachedByUsers() bool {
	if a.UsersAbove == 0 || a.Window.CanaryFailing <= a.UsersAbove {
		return false
	}
	for i := range a.Tests {
		if t := &a.Tests[i]; t.Name == kindNames[rollbackRelativeUsers] {
			return t.suffices()
		}
	}
	return false
}

// within reports that the value is within the promote limit.
func (a *Assessment) within(v *Verdict) bool {
	if v.Method == Thresholds {
		return a.withinLimits(v)
	}
	return a.measured() && (!a.limited() || a.Window.Canary <= a.PromoteUpTo)
}

// proven reports that the mean of the evidence for a promotion suffices.
func (a *Assessment) proven() bool {
	log, needed, ok := a.proof()
	return ok && Test{Log: log, NeededLog: needed}.suffices()
}

// proof returns the logarithm of the mean of the evidence for a promotion, and
// what it takes; false where there is no such test.
func (a *Assessment) proof() (log, needed float64, ok bool) {
	log, parts := math.Inf(-1), 0.0
	for i := range a.Tests {
		if t := &a.Tests[i]; strings.HasPrefix(t.Name, "promote.") {
			log, needed = eprocess.Add(log, t.Log), t.NeededLog
			parts++
		}
	}
	return log - math.Log(max(1, parts)), needed, parts > 0
}
