package rollout

import (
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
	"perch/shared/document"
)

// Refused reports a change that the rollout's phase does not allow.
type Refused struct{ Problem, Hint string }

func (e *Refused) Error() string { return e.Problem }

// New says what a rollout begins with.
type New struct {
	Service        document.Service
	Rollout        string // never used before by the service; also the salt
	Stable, Canary document.Target
	Policy         policy.Policy
	// Base is the service's present document, whose edge settings and further
	// targets are kept where the policy sets none, or nil.
	Base *document.Document
	// After is the highest generation that the service has had.
	After int64
	// ForeignAliases are alias keys of the two targets that another service keeps.
	ForeignAliases []string
}

// Start returns the state of a new rollout at its first step, or what is wrong
// with its document. An earlier rollout's halt key stays: it names that one
// alone, and still stops a late write of its document.
func Start(n New, by By) (State, error) {
	d := document.Document{Service: n.Service, User: document.User{Header: document.DefaultUserHeader, Cookie: document.DefaultUserCookie}}
	if n.Base != nil {
		d = *n.Base
	}
	n.Stable.Name, n.Canary.Name = document.Stable, document.Canary
	targets := []document.Target{n.Stable, n.Canary}
	for _, t := range d.Targets {
		if t.Name != document.Stable && t.Name != document.Canary {
			targets = append(targets, t)
		}
	}
	d.Rollout, d.Salt, d.Mode, d.Targets = n.Rollout, n.Rollout, document.ModeCanary, targets
	d.Generation = n.After
	d.BasisPoints, d.UnattendedAfterMS = 0, 0
	if err := d.Validate(); err != nil {
		return State{}, err
	}
	configured, err := n.Policy.Edge.Apply(&d)
	if err != nil {
		return State{}, err
	}
	s := State{Schema: schema, Phase: Running, Document: Document{configured}, Policy: n.Policy, ForeignAliases: n.ForeignAliases}
	s.StartedAt = stamp(by.Now)
	s.Deadline = s.StartedAt.Add(time.Duration(n.Policy.Deadline))
	s = s.change(by, ActionStart, n.Policy.Steps[0].BasisPoints, fmt.Sprintf("started with stable %s and canary %s", n.Stable, n.Canary), nil)
	return s.renew(by.Now), d.Validate()
}

// Set returns the state after a percentage was set by hand: automation pauses,
// and the dead man's switch is off.
func (s State) Set(basisPoints int, reason string, by By) (State, error) {
	switch {
	case s.Phase.Ended() && basisPoints == 0:
		return s, nil
	case s.Phase == RolledBack:
		return s, &Refused{fmt.Sprintf("rollout %s was rolled back: it stays at 0 %%", s.ID()), "begin a new rollout with orchestrator start"}
	case s.Phase == Promoted:
		return s, &Refused{fmt.Sprintf("rollout %s was promoted: there is no canary to send users to", s.ID()), "begin a new rollout with orchestrator start"}
	}
	if reason == "" {
		reason = "set by hand; automation is paused"
	}
	s = s.change(by, ActionSet, basisPoints, reason, nil)
	s.Phase, s.Document.UnattendedAfterMS, s.Approved = Paused, 0, nil
	return s, nil
}

// Resume returns the state in which automation goes on from the present
// percentage, or from the first step if that is 0. The bake, the deadline and
// the step's pause start anew; an approval is kept.
func (s State) Resume(by By) (State, error) {
	switch s.Phase {
	case Running:
		return s, nil
	case Waiting:
		waits := s.Outstanding(by.Now)
		if waits == "" {
			return s, nil // the next look finds that the pause is over
		}
		return s, &Refused{fmt.Sprintf("rollout %s is not paused: it waits for %s", s.ID(), waits), s.waitHint()}
	case RolledBack, Promoted:
		return s, &Refused{fmt.Sprintf("rollout %s has ended: %s", s.ID(), s.Phase.words()), "begin a new rollout with orchestrator start"}
	}
	at := s.Document.BasisPoints
	if at == 0 {
		at = s.Policy.Steps[0].BasisPoints
	}
	s = s.change(by, ActionResume, at, "resumed; the bake and the deadline start anew", nil)
	s.Phase, s.Deadline = Running, s.StepSince.Add(time.Duration(s.Policy.Deadline))
	return s.renew(by.Now), nil
}

// Configure returns the state with other edge settings. The step bakes on: a
// time limit or a rule is no new canary.
func (s State) Configure(edge policy.Edge, by By) (State, error) {
	next := s.noted(by, ActionConfigure, "edge settings changed: "+strings.Join(edge.Fields(), ", "), nil)
	configured, err := edge.Apply(next.Document.Document)
	if err != nil {
		return s, err
	}
	next.Document = Document{configured}
	return next, nil
}

// Promote returns the state in which the canary has become stable.
func (s State) Promote(reason string, by By) (State, error) {
	switch {
	case s.Phase == Promoted:
		return s, nil
	case s.Phase == RolledBack:
		return s, &Refused{fmt.Sprintf("rollout %s was rolled back: it cannot be promoted", s.ID()), "begin a new rollout with orchestrator start"}
	}
	if reason == "" {
		reason = "promoted by hand"
	}
	return s.promoted(by, reason, nil), nil
}

func (s State) promoted(by By, reason string, v *judge.Verdict) State {
	s = s.change(by, ActionPromote, 0, reason, v)
	s.Last.To = 10_000
	s.Phase, s.Document.UnattendedAfterMS = Promoted, 0
	s.Former = newTarget(*s.Document.target(document.Stable))
	canary := *s.Document.target(document.Canary)
	canary.Name = document.Stable
	s.Document.setTargets(canary)
	return s
}

// Rollback returns the state in which stable serves everyone. After a promotion
// that is the former stable again.
func (s State) Rollback(reason string, by By) State {
	if s.Phase == RolledBack {
		return s
	}
	return s.rolledBack(by, reason, nil)
}

func (s State) rolledBack(by By, reason string, v *judge.Verdict) State {
	wasPromoted := s.Phase == Promoted
	s = s.change(by, ActionRollback, 0, reason, v)
	s.Phase, s.Document.UnattendedAfterMS = RolledBack, 0
	if wasPromoted {
		s.Last.From = 10_000
		s = s.demoted()
	}
	return s
}

// demoted undoes what a promotion did to the targets.
func (s State) demoted() State {
	s.Document = s.Document.clone()
	canary := *s.Document.target(document.Stable)
	canary.Name = document.Canary
	s.Document.setTargets(s.Former.target(document.Stable), canary)
	s.Former = nil
	return s
}

// setTargets replaces stable and canary, and drops rules for a target that is gone.
func (d Document) setTargets(targets ...document.Target) {
	for _, t := range d.Targets {
		if t.Name != document.Stable && t.Name != document.Canary {
			targets = append(targets, t)
		}
	}
	d.Targets = targets
	kept := d.Rules[:0]
	for _, r := range d.Rules {
		if d.Target(r.Use) < 0 {
			continue
		}
		kept = append(kept, r)
	}
	d.Rules = kept
}

// change returns the next generation at a percentage, with its history entry.
// What a step waits for begins anew with its bake.
func (s State) change(by By, action Action, basisPoints int, reason string, v *judge.Verdict) State {
	from := s.Document.BasisPoints
	s.Document = s.Document.clone()
	s.Document.Generation++
	s.Document.BasisPoints = basisPoints
	s.StepSince, s.WaitingSince = stamp(by.Now), time.Time{}
	s.Last = Entry{
		Time: s.StepSince, Actor: by.Actor, Action: action, Rollout: s.ID(), Generation: s.Document.Generation,
		From: Percentage(from), To: Percentage(basisPoints), Reason: reason, Verdict: v,
	}
	return s
}

// noted is a change that leaves the percentage and its bake as they are.
func (s State) noted(by By, action Action, reason string, v *judge.Verdict) State {
	stepSince, waitingSince := s.StepSince, s.WaitingSince
	s = s.change(by, action, s.Document.BasisPoints, reason, v)
	s.StepSince, s.WaitingSince = stepSince, waitingSince
	return s
}

// renew sets the dead man's switch of a generation that is new anyway.
func (s State) renew(now time.Time) State {
	s.Document.UnattendedAfterMS = now.Add(s.Policy.Horizon()).UnixMilli()
	return s
}

// renewIfDue sets the dead man's switch where less than half of its time is
// left: KV writes are counted. What the switch has ended stays ended here.
func (s State) renewIfDue(now time.Time) (State, bool) {
	left := time.Duration(s.Document.UnattendedAfterMS-now.UnixMilli()) * time.Millisecond
	if s.Document.UnattendedAfterMS == 0 || s.Lapsed(now) || left >= s.Policy.Horizon()/2 {
		return s, false
	}
	s.Document = s.Document.clone()
	s.Document.Generation++
	return s.renew(now), true
}

func (p Phase) words() string {
	if p == RolledBack {
		return "rolled back"
	}
	return string(p)
}

// stamp is a time as it is stored.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
