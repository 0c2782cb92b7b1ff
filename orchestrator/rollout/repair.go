package rollout

import (
	"bytes"
	"encoding/json"
	"errors"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// Observed is what the store holds of one service.
type Observed struct {
	State           *State             // nil if missing or unreadable
	StateText       []byte             // as stored, nil if missing
	StateProblem    error              // why it is unreadable
	Document        *document.Document // nil if missing or unreadable
	DocumentProblem error              // why it is unreadable
	Halted          string             // id of the halted rollout, or ""
	Entry           []byte             // as stored under the state's EntryKey, nil if missing
	Aliases         map[string][]byte  // what is stored under the state's AliasKeys; nil if nobody looked
	Verdict         *judge.Verdict     // on which a rollback began that has got no further than its halt key, or nil
}

// Observe reads the values of a service's keys; absent keys are missing from it.
// Entry and Aliases are left to the caller, as their keys follow from the state.
func Observe(service document.Service, values map[string][]byte) Observed {
	o := Observed{StateText: values[service.StateKey()], Halted: string(bytes.TrimSpace(values[service.HaltKey()]))}
	if o.StateText != nil {
		state, err := Decode(o.StateText)
		if err == nil && state.Document.Service != service {
			err = errors.New("read state: it belongs to service " + state.Document.Service.String())
		}
		if o.StateProblem = err; err == nil {
			o.State = &state
		}
	}
	if text, found := values[service.RolloutKey()]; found {
		o.Document, o.DocumentProblem = document.Parse(text)
		if o.DocumentProblem == nil && o.Document.Service != service {
			o.Document, o.DocumentProblem = nil, errors.New("it belongs to service "+o.Document.Service.String())
		}
	}
	return o
}

// Generation is the highest that the store shows.
func (o Observed) Generation() int64 {
	var highest int64
	if o.State != nil {
		highest = o.State.Document.Generation
	}
	if o.Document != nil {
		highest = max(highest, o.Document.Generation)
	}
	return highest
}

// missingAliases are the state's aliases that the store lacks, where it was asked.
func (o Observed) missingAliases() []Write {
	if o.Aliases == nil {
		return nil
	}
	return o.State.missingAliases(o.Aliases)
}

// IsHalted reports that the state's rollout is halted.
func (o Observed) IsHalted() bool { return o.State != nil && o.Halted == o.State.ID() }

// Repaired is a state with the writes that bring the store in line with it.
type Repaired struct {
	State  State
	Writes []Write
	Found  []string // what is amiss, one phrase each
}

// Repair compares the store with its state, which must be there, and returns
// what a crash, a lost race or a hand has left to do: nothing, mostly. It is
// idempotent: carried out in part, or twice, the next repair ends the same.
func Repair(o Observed, by By) Repaired {
	r := Repaired{State: o.State.adopting(o.Document)}
	if o.Entry == nil {
		r.Writes = append(r.State.changedAliases(), r.State.HistoryWrite())
		r.Found = append(r.Found, "the last change is not in the history")
	} else if missing := o.missingAliases(); len(missing) > 0 {
		r.Writes = append(r.Writes, missing...)
		r.Found = append(r.Found, "the aliases of the targets are not all there")
	}
	if o.State.Phase == RolledBack && !o.IsHalted() {
		r.Writes = append(r.Writes, r.State.haltWrite())
		r.Found = append(r.Found, "the halt key is missing")
	}
	overtaken, isOvertaken := r.State.overtakenBy(o.Entry, by)
	switch {
	case o.IsHalted() && o.State.Phase != RolledBack:
		reason := "the rollout was halted"
		if o.Verdict != nil {
			reason = o.Verdict.Reason
		}
		r.advance(o, r.State.rolledBack(by, reason, o.Verdict), "the rollout is halted, but its state is not rolled back")
	case isOvertaken:
		r.advance(o, overtaken, "a change by hand was overtaken by a late step")
	case o.zeroedByHand():
		next, _ := r.State.Set(0, "the document was set to 0 % outside the orchestrator; automation is paused", by)
		r.advance(o, next, "the document was set to 0 % outside the orchestrator")
	case o.documentStale(r.State):
		next := r.State
		next.Document, next.StepSince = next.Document.clone(), stamp(by.Now)
		next.Document.Generation++
		if next.Document.UnattendedAfterMS != 0 {
			next = next.renew(by.Now)
		}
		r.advance(o, next, "the document is not as the state says")
	}
	return r
}

// advance goes on to a new generation, above every one that the store shows.
func (r *Repaired) advance(o Observed, next State, found string) {
	changed := next.IsChange()
	next.Document.Generation = max(next.Document.Generation, o.Generation()+1)
	if changed {
		next.Last.Generation = next.Document.Generation
	}
	r.State = next
	r.Writes = append(r.Writes, next.Writes()...)
	r.Found = append(r.Found, found)
}

// overtakenBy returns the state after the change by hand that the history
// records in place of the state's own: its author had finished when a step that
// was already at work overwrote the state.
func (s State) overtakenBy(entry []byte, by By) (State, bool) {
	var e Entry
	if json.Unmarshal(entry, &e) != nil || s.Phase == RolledBack || e.Action == s.Last.Action {
		return s, false
	}
	if (e.Action == ActionSet || e.Action == ActionPause) && s.Phase == Promoted {
		s = s.demoted()
		s.Phase = Running
	}
	var err error
	switch by.Actor = e.Actor; {
	case e.Action == ActionSet, e.Action == ActionPause && s.Document.BasisPoints != int(e.To):
		s, err = s.Set(int(e.To), e.Reason, by)
	case e.Action == ActionPause:
		s, err = s.Pause(e.Reason, by)
	case e.Action == ActionApprove && s.Document.BasisPoints == int(e.To):
		s, err = s.Approve(e.Reason, by)
	case e.Action == ActionPromote:
		s, err = s.Promote(e.Reason, by)
	default:
		return s, false
	}
	return s, err == nil
}

// adopting takes over what people may edit in the document while a rollout runs:
// how the edge treats requests, and targets other than the two that are compared.
func (s State) adopting(d *document.Document) State {
	if d == nil || d.Rollout != s.ID() {
		return s
	}
	own := s.Document
	s.Document = own.clone()
	s.Document.Rules, s.Document.User, s.Document.Overrides = d.Rules, d.User, d.Overrides
	s.Document.TimeoutMS, s.Document.IdleTimeoutMS, s.Document.Fallback = d.TimeoutMS, d.IdleTimeoutMS, d.Fallback
	s.Document.Outcomes, s.Document.Access = d.Outcomes, d.Access
	targets := make([]document.Target, 0, len(d.Targets))
	for _, t := range own.Targets {
		if t.Name == document.Stable || t.Name == document.Canary {
			targets = append(targets, t)
		}
	}
	for _, t := range d.Targets {
		if t.Name != document.Stable && t.Name != document.Canary {
			targets = append(targets, t)
		}
	}
	s.Document.Targets = targets
	if s.Document.Validate() != nil {
		s.Document = own
	}
	return s
}

// zeroedByHand reports a document at 0 that no crash can have left behind: a
// hand on the KV store itself, in an emergency. It must not be overwritten.
func (o Observed) zeroedByHand() bool {
	return !o.State.Phase.Ended() && o.State.Document.BasisPoints > 0 &&
		o.Document != nil && o.Document.BasisPoints == 0 && o.Document.Generation >= o.State.Document.Generation
}

// documentStale reports that the stored document is not the wanted one. After
// the end of a rollout its document belongs to people again, as long as it
// sends nobody to the canary.
func (o Observed) documentStale(want State) bool {
	d := o.Document
	if d == nil || d.Generation < want.Document.Generation {
		return true
	}
	if want.Phase.Ended() {
		return d.Rollout == want.ID() && d.BasisPoints > 0
	}
	return !bytes.Equal(d.Encode(), want.Document.Encode())
}

// FromDocument returns a state for a document that has none: paused, or rolled
// back where it is halted. Policy and times are base's. It is nil where the
// document has no canary.
func FromDocument(o Observed, base State) *State {
	if o.Document == nil || o.Document.Target(document.Canary) < 0 {
		return nil
	}
	s := base
	s.Schema, s.Phase, s.Document = schema, Paused, Document{o.Document}.clone()
	if o.Halted == o.Document.Rollout {
		s.Phase = RolledBack
	}
	return &s
}
