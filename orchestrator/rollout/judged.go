package rollout

import (
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// Judged returns the state after a verdict, and whether it is another.
func (s State) Judged(v judge.Verdict, by By) (State, bool) {
	switch {
	case s.Phase.Ended():
		return s, false
	case v.Decision == judge.Rollback:
		return s.rolledBack(by, v.Reason, &v), true
	case s.Phase == Running && v.Decision == judge.Inconclusive:
		return s.inconclusive(v, by), true
	case !measured(v):
		return s, false
	case s.Phase == Paused || s.Phase == Inconclusive:
		return s.renewIfDue(by.Now)
	case s.Lapsed(by.Now):
		return s.revived(v, by), true
	}
	return s.stepped(v, by)
}

// measured reports that a look saw what the canary does. One that did not keeps
// nobody's canary alive.
func measured(v judge.Verdict) bool { return v.Problem == "" && len(v.Metrics) > 0 }

// stepped goes on to the next step, waits to go on, or stays.
func (s State) stepped(v judge.Verdict, by By) (State, bool) {
	decided, waits := s.decided(v, by.Now), s.Outstanding(by.Now)
	switch {
	case decided && waits == "":
		return s.advanced(v, by), true
	case decided && s.Phase == Running:
		return s.waiting(v, waits, by), true
	case waits == "" && s.Phase == Waiting:
		s = s.noted(by, ActionResume, "nothing is waited for any more; "+v.Reason, &v).released(by.Now)
		return s.renew(by.Now), true
	}
	return s.renewIfDue(by.Now)
}

// decided reports that the step is done but for what it waits for: by its
// verdict, or by a person where one decides instead.
func (s State) decided(v judge.Verdict, now time.Time) bool {
	step := s.step()
	baked := !now.Before(s.StepSince.Add(time.Duration(step.Bake + s.Policy.Lag)))
	return v.Decision == judge.Promote || step.Approve == policy.ApproveInstead && (baked || s.isApproved())
}

func (s State) advanced(v judge.Verdict, by By) State {
	reason := v.Reason
	if s.isApproved() {
		reason = "approved by " + s.Approved.Actor + "; " + reason
	}
	next, more := s.Policy.NextStep(s.Document.BasisPoints)
	if !more {
		return s.promoted(by, reason, &v)
	}
	s = s.released(by.Now).change(by, ActionRaise, next, reason, &v)
	return s.renew(by.Now)
}

func (s State) inconclusive(v judge.Verdict, by By) State {
	if s.Policy.OnInconclusive == policy.InconclusiveRollback {
		return s.rolledBack(by, v.Reason, &v)
	}
	lapsed := s.Lapsed(by.Now)
	s = s.noted(by, ActionInconclusive, v.Reason, &v)
	s.Phase = Inconclusive
	if lapsed || !measured(v) {
		return s
	}
	return s.renew(by.Now)
}

// revived brings back a canary that the edge had dropped. What it showed before
// is too old to go by, and so is an approval of it: the bake starts anew, and what
// follows it.
func (s State) revived(v judge.Verdict, by By) State {
	since := time.UnixMilli(s.Document.UnattendedAfterMS).UTC().Format("2006-01-02 15:04:05 UTC")
	s = s.released(by.Now).change(by, ActionRevive, s.Document.BasisPoints, "nobody judged the canary, so the edge had dropped it since "+since+"; the bake starts anew", &v)
	s.Approved = nil
	return s.renew(by.Now)
}
