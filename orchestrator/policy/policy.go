// Package policy reads how a service's rollouts are stepped and judged. It is
// pure: text in, policy or problems out.
package policy

import (
	"time"

	"perch/orchestrator/judge"
)

// What to do with the canary when the deadline passes without a verdict.
const (
	InconclusiveHold     = "hold"
	InconclusiveRollback = "rollback"
)

// Policy says how a rollout is stepped and judged. A rollout keeps the policy
// that it was started with.
type Policy struct {
	Method judge.Method `json:"method"`
	// Steps rise, and there is one at least. Where the last would be 100 %, it is
	// what the holdback leaves.
	Steps []Step `json:"steps"`
	// Auto reports that steps are to be laid by the service's traffic. Steps are
	// the default ones until Laid replaces them.
	Auto            bool         `json:"auto,omitempty"`
	Interval        Duration     `json:"interval"`         // of one count; whole seconds
	Look            Duration     `json:"look"`             // between two judgements of run
	Bake            Duration     `json:"bake"`             // least time at each step that gives none of its own
	Window          Duration     `json:"window"`           // of the value that a rollback looks at
	Reference       Duration     `json:"reference"`        // of the value that a promotion looks at
	History         Duration     `json:"history"`          // of stable before the rollout
	ColdStart       Duration     `json:"cold_start"`       // of each step, in which times are not judged
	Spread          Duration     `json:"spread"`           // until a new percentage is everywhere
	Lag             Duration     `json:"lag"`              // until a request can be seen in analytics
	Expire          Duration     `json:"expire"`           // after which an open prediction counts as slower than all
	Deadline        Duration     `json:"deadline"`         // of the whole rollout
	UnattendedAfter Duration     `json:"unattended_after"` // without a judgement, the edge drops the canary
	Holdback        int          `json:"holdback_basis_points"`
	OnInconclusive  string       `json:"on_inconclusive"`
	MinRequests     int64        `json:"min_requests"` // of thresholds: rows per arm and window
	Failures        int          `json:"failures"`     // of thresholds: breaches in a row that roll back
	Limits          judge.Limits `json:"limits"`
	Edge            Edge         `json:"-"`

	ownDeadline bool // Deadline was given, and stays when steps are laid
}

// Default is the policy where none is given.
func Default() Policy {
	d := judge.Default()
	p := Policy{
		Method: d.Method, Steps: []Step{{BasisPoints: 500}, {BasisPoints: 2_000}, {BasisPoints: 5_000}, {BasisPoints: allTraffic}},
		Interval: Duration(d.Interval), Look: Duration(time.Minute), Bake: Duration(15 * time.Minute),
		Window: Duration(d.Recent), Reference: Duration(d.Reference), History: Duration(d.History),
		ColdStart: Duration(d.ColdStart), Spread: Duration(d.Spread), Lag: Duration(time.Minute), Expire: Duration(5 * time.Minute),
		UnattendedAfter: Duration(time.Hour), OnInconclusive: InconclusiveHold,
		MinRequests: d.MinRequests, Failures: d.Failures, Limits: d.Limits,
	}
	p.Deadline = p.DefaultDeadline()
	return p
}

// Horizon is how far ahead each judgement sets the dead man's switch: the
// policy's time, and three looks at least.
func (p Policy) Horizon() time.Duration {
	return max(time.Duration(p.UnattendedAfter), 3*time.Duration(p.Look))
}

// Settings say how a percentage, in basis points, is judged: as its step says
// where that has limits of its own.
func (p Policy) Settings(basisPoints int) judge.Settings {
	return judge.Settings{
		Method: p.Method, Interval: time.Duration(p.Interval), Recent: time.Duration(p.Window), Reference: time.Duration(p.Reference),
		History: time.Duration(p.History), ColdStart: time.Duration(p.ColdStart), Spread: time.Duration(p.Spread),
		Horizon: time.Duration(p.Deadline), Alpha: judge.Default().Alpha, Limits: p.limits(p.StepAt(basisPoints)),
		MinRequests: p.MinRequests, Failures: p.Failures,
	}
}

// Duration is a time.Duration that is written as text, such as "15m".
type Duration time.Duration

func (d Duration) String() string { return judge.FormatDuration(time.Duration(d)) }

// MarshalText implements encoding.TextMarshaler, exactly.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
