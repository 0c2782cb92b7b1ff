package rollout

import (
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// Approved is who approved of leaving a step.
type Approved struct {
	Step  Percentage `json:"step"`
	Actor string     `json:"actor"`
	Time  time.Time  `json:"time"`
}

// step is the policy's step in force.
func (s State) step() policy.Step { return s.Policy.StepAt(s.Document.BasisPoints) }

func (s State) isApproved() bool {
	return s.Approved != nil && int(s.Approved.Step) == s.step().BasisPoints
}

// NeedsApproval reports that a person has yet to approve of leaving the step.
func (s State) NeedsApproval() bool {
	return !s.Phase.Ended() && s.step().Approve != policy.ApproveNone && !s.isApproved()
}

// PauseEnds is when the step's pause is over; zero where the step has none, or
// it has not begun, which it does when the rollout first waits at the step.
func (s State) PauseEnds() time.Time {
	if s.step().Pause == 0 || s.WaitingSince.IsZero() {
		return time.Time{}
	}
	return s.WaitingSince.Add(time.Duration(s.step().Pause))
}

// Outstanding is what the step still takes beside its verdict, in words, or "".
func (s State) Outstanding(now time.Time) string {
	var parts []string
	if s.NeedsApproval() {
		parts = append(parts, "an approval")
	}
	switch ends := s.PauseEnds(); {
	case ends.IsZero() && s.step().Pause > 0:
		parts = append(parts, "its pause of "+s.step().Pause.String())
	case now.Before(ends):
		parts = append(parts, "the end of its pause at "+ends.Format("2006-01-02 15:04:05 UTC"))
	}
	return strings.Join(parts, " and ")
}

// waitHint says what a person can do while the rollout waits.
func (s State) waitHint() string {
	if s.NeedsApproval() {
		return "orchestrator approve lets it go on, orchestrator promote makes the canary stable at once"
	}
	return "orchestrator promote makes the canary stable at once"
}

// waiting begins a wait, for which the deadline stands still.
func (s State) waiting(v judge.Verdict, waits string, by By) State {
	s = s.noted(by, ActionWait, "waits for "+waits+"; "+v.Reason, &v)
	s.Phase, s.WaitingSince = Waiting, s.Last.Time
	return s.renew(by.Now)
}

// released ends a wait. The deadline moves on by as long as it stood still, and
// leaves time to bake once more.
func (s State) released(now time.Time) State {
	if s.Phase != Waiting {
		return s
	}
	stood := s.Deadline.Add(max(0, stamp(now).Sub(s.WaitingSince)))
	least := stamp(now).Add(time.Duration(s.step().Bake + s.Policy.Interval + s.Policy.Lag))
	s.Phase, s.Deadline = Running, stood
	if stood.Before(least) {
		s.Deadline = least
	}
	return s
}

// Approve returns the state in which a person has approved of leaving the
// present step: the next look that says promote goes on, and where a person
// decides instead of the evidence, the next that does not say rollback. Errors
// are *Refused.
func (s State) Approve(reason string, by By) (State, error) {
	const begin = "begin a new rollout with orchestrator start"
	switch {
	case s.Phase.Ended():
		return s, &Refused{fmt.Sprintf("rollout %s has ended: %s", s.ID(), s.Phase.words()), begin}
	case s.Phase == Paused || s.Phase == Inconclusive:
		return s, &Refused{fmt.Sprintf("rollout %s is %s: an approval would not make it go on", s.ID(), s.Phase.words()),
			"orchestrator resume goes on from there, orchestrator promote makes the canary stable at once"}
	case s.step().Approve == policy.ApproveNone:
		return s, &Refused{fmt.Sprintf("rollout %s waits for no approval at %s %%", s.ID(), Percentage(s.Document.BasisPoints)),
			"approve: true at a step of the policy asks for one; orchestrator promote makes the canary stable at once"}
	case s.isApproved():
		return s, nil
	}
	if reason == "" {
		reason = "approved by hand"
	}
	s = s.noted(by, ActionApprove, reason, nil)
	s.Approved = &Approved{Percentage(s.step().BasisPoints), by.Actor, s.Last.Time}
	if s.Outstanding(by.Now) == "" {
		s = s.released(by.Now)
	}
	return s, nil
}

// Pause returns the state in which automation has stopped at the present
// percentage, and the dead man's switch is off. What the switch has ended stays
// ended until someone resumes. Errors are *Refused.
func (s State) Pause(reason string, by By) (State, error) {
	switch {
	case s.Phase == Paused:
		return s, nil
	case s.Phase.Ended():
		return s, &Refused{fmt.Sprintf("rollout %s has ended: %s", s.ID(), s.Phase.words()), "begin a new rollout with orchestrator start"}
	}
	if reason == "" {
		reason = "paused by hand"
	}
	lapsed := s.Lapsed(by.Now)
	s = s.noted(by, ActionPause, reason, nil)
	s.Phase, s.WaitingSince = Paused, time.Time{}
	if !lapsed {
		s.Document.UnattendedAfterMS = 0
	}
	return s, nil
}
