// Package rollout turns verdicts and commands into the next state of a rollout
// and the writes that make it so. It is pure: state and time in, state and
// writes out.
//
//	           start
//	             │ ┌─────────────────────────────────────────────────────────┐
//	             ▼ ▼                                                         │
//	┌────────▶ running ─── set, pause ────────────────────────▶ paused ──────┤
//	│ verdict  │ │ │                                             ▲ ▲        │
//	│ promote, │ │ └────── verdict inconclusive ─▶ inconclusive ─┘ │ resume │
//	│ a higher │ │                                  │   set, pause  │        │
//	│ step     │ │                                  └───────────────┼────────┤
//	└──────────┤ │                                                  │        │
//	           │ └──────── verdict promote, but an ──▶ waiting ─────┘        │
//	           │           approval or pause is due      │   set, pause      │
//	           │                                         └───────────────────┘
//	           │ verdict promote after the last            approve, or the
//	           │ step, or promote, at any time             pause is over
//	           ▼
//	        promoted
//
// Where a person decides instead of the evidence, the end of the bake stands for
// the verdict promote. What was waited for is not waited for again at the step,
// and the deadline stands still meanwhile. A canary that the edge has dropped, as
// nobody judged it, bakes anew from the next look on, running.
//
// From every phase, promoted included: verdict rollback, the command rollback, or
// a halt key found in the store ▶ rolled_back, which only start leaves. A verdict
// inconclusive rolls back as well where the policy says so.
//
// The state is what the orchestrator goes by. It holds the document and the
// history entry that belong to it, and is written before them: whatever a crash
// left out, Repair finds by comparing, and writes.
package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
	"perch/shared/document"
)

// Phase is where a rollout is.
type Phase string

// The phases.
const (
	Running      Phase = "running"
	Waiting      Phase = "waiting"      // an approval or a pause is outstanding; a breach acts
	Paused       Phase = "paused"       // by hand; only a breach acts
	Inconclusive Phase = "inconclusive" // the deadline passed; only a breach acts
	RolledBack   Phase = "rolled_back"
	Promoted     Phase = "promoted"
)

// Ended reports that nothing is judged any more.
func (p Phase) Ended() bool { return p == RolledBack || p == Promoted }

// schema is the version of the state's format.
const schema = 2

// State is a rollout of one service.
type State struct {
	Schema    int           `json:"schema"`
	Phase     Phase         `json:"phase"`
	Document  Document      `json:"document"` // as the edge is to have it; its generation is the state's
	Policy    policy.Policy `json:"policy"`   // as it was at the start
	StartedAt time.Time     `json:"started_at"`
	StepSince time.Time     `json:"step_since"` // since when the present percentage bakes
	Deadline  time.Time     `json:"deadline"`
	// WaitingSince is when the rollout first waited at the step, zero before. The
	// step's pause runs from then on.
	WaitingSince time.Time `json:"waiting_since,omitzero"`
	Approved     *Approved `json:"approved,omitempty"` // the newest approval
	// Last is the newest history entry. Its generation is lower than the state's
	// where only the dead man's switch was renewed since.
	Last Entry `json:"last"`
	// Former is what stable was before a promotion.
	Former *Target `json:"former,omitempty"`
	// ForeignAliases are alias keys of the targets that are another service's.
	ForeignAliases []string `json:"foreign_aliases,omitempty"`
}

// Entry is one line of a rollout's history.
type Entry struct {
	Time       time.Time      `json:"time"`
	Actor      string         `json:"actor"`
	Action     Action         `json:"action"`
	Rollout    string         `json:"rollout"`
	Generation int64          `json:"generation"`
	From       Percentage     `json:"from"`
	To         Percentage     `json:"to"` // after a promotion 100: all users are on what was the canary
	Reason     string         `json:"reason"`
	Verdict    *judge.Verdict `json:"verdict,omitempty"`
}

// Action is what a history entry records.
type Action string

// The actions.
const (
	ActionStart        Action = "start"
	ActionRaise        Action = "raise"
	ActionSet          Action = "set"
	ActionPause        Action = "pause"
	ActionResume       Action = "resume"
	ActionWait         Action = "wait"      // the step is done but for an approval or a pause
	ActionApprove      Action = "approve"   // of leaving the step
	ActionConfigure    Action = "configure" // of how the edge treats requests
	ActionRevive       Action = "revive"    // judged again after the dead man's switch had fired
	ActionInconclusive Action = "inconclusive"
	ActionPromote      Action = "promote"
	ActionRollback     Action = "rollback"
)

// Percentage is in basis points, and in JSON a percentage such as 12.5.
type Percentage int

func (p Percentage) String() string { return document.FormatPercentage(int(p)) }

// MarshalJSON implements json.Marshaler.
func (p Percentage) MarshalJSON() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (p *Percentage) UnmarshalJSON(text []byte) error {
	basisPoints, err := document.ParsePercentage(string(text))
	*p = Percentage(basisPoints)
	return err
}

// Document is a rollout document that is JSON in the document's own format.
type Document struct{ *document.Document }

// MarshalJSON implements json.Marshaler.
func (d Document) MarshalJSON() ([]byte, error) { return d.Encode(), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Document) UnmarshalJSON(text []byte) (err error) {
	d.Document, err = document.Parse(text)
	return err
}

// clone returns a copy that can be changed without changing the original.
func (d Document) clone() Document {
	c := *d.Document
	c.Targets = append([]document.Target(nil), d.Targets...)
	c.Rules = append([]document.Rule(nil), d.Rules...)
	return Document{&c}
}

// target returns the target with that name, or nil.
func (d Document) target(name string) *document.Target {
	if i := d.Target(name); i >= 0 {
		return &d.Targets[i]
	}
	return nil
}

// Encode returns the state as it is stored.
func (s State) Encode() []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encode state: %v", err)) // every part is of our own types
	}
	return text
}

// Decode reads a stored state.
func Decode(text []byte) (State, error) {
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	switch {
	case s.Schema > 0 && s.Schema < schema:
		return s, fmt.Errorf("read state: schema %d is an earlier orchestrator's: this one reads %d, and cannot go on with its rollout", s.Schema, schema)
	case s.Schema != schema:
		return s, fmt.Errorf("read state: schema %d is not known to this orchestrator, which reads %d", s.Schema, schema)
	case s.Document.Document == nil:
		return s, errors.New("read state: it holds no document")
	}
	return s, s.check()
}

// check reports what the phase needs and the state lacks.
func (s State) check() error {
	switch s.Phase {
	case Running, Waiting, Paused, Inconclusive, RolledBack:
		if s.Document.target(document.Canary) == nil {
			return fmt.Errorf("read state: phase %s without a canary", s.Phase)
		}
		if s.Phase == Waiting && s.WaitingSince.IsZero() {
			return errors.New("read state: phase waiting without the time since when")
		}
	case Promoted:
		if s.Former == nil {
			return errors.New("read state: phase promoted without the former stable target")
		}
	default:
		return fmt.Errorf("read state: unknown phase %q", s.Phase)
	}
	if len(s.Policy.Steps) == 0 {
		return errors.New("read state: its policy has no steps")
	}
	return nil
}

// ID returns the rollout's id.
func (s State) ID() string { return s.Document.Rollout }

// Step returns the number of the present step, 0 to len(Policy.Steps).
func (s State) Step() int { return s.Policy.StepNumber(s.Document.BasisPoints) }

// Lapsed reports that the edge has dropped the canary because nobody judged it.
func (s State) Lapsed(now time.Time) bool {
	return s.Document.UnattendedAfterMS != 0 && now.UnixMilli() >= s.Document.UnattendedAfterMS
}

// By says who acts and when.
type By struct {
	Actor string
	Now   time.Time
}
