// Package policy reads how a service's rollouts are stepped and judged. It is
// pure: text in, policy or problems out.
package policy

import (
	"fmt"
	"time"

	"perch/orchestrator/judge"
)

// MethodThresholds names judge.Thresholds.
const MethodThresholds = "thresholds"

// What to do with the canary when the deadline passes without a verdict.
const (
	InconclusiveHold     = "hold"
	InconclusiveRollback = "rollback"
)

// Policy says how a rollout is stepped and judged. A rollout keeps the policy
// that it was started with.
type Policy struct {
	Method          string       `json:"method"`
	Steps           []int        `json:"steps_basis_points"` // rising, 1 to 10000
	Look            Duration     `json:"look"`               // between two judgements of run
	Bake            Duration     `json:"bake"`               // least time at each step
	Window          Duration     `json:"window"`             // of the recent evidence
	Lag             Duration     `json:"lag"`                // until a request can be seen in analytics
	MinRequests     int64        `json:"min_requests"`       // rows per arm and window
	UnattendedAfter Duration     `json:"unattended_after"`   // without a judgement, the edge drops the canary
	Deadline        Duration     `json:"deadline"`           // of the whole rollout
	OnInconclusive  string       `json:"on_inconclusive"`
	Rollback        judge.Limits `json:"rollback"`
	Promote         judge.Limits `json:"promote"`
	Edge            Edge         `json:"-"`
}

// Default is the policy where none is given.
func Default() Policy {
	p := Policy{
		Method: MethodThresholds, Steps: []int{500, 2_000, 5_000, 10_000},
		Look: Duration(time.Minute), Bake: Duration(15 * time.Minute), Window: Duration(5 * time.Minute),
		Lag: Duration(time.Minute), MinRequests: 100, UnattendedAfter: Duration(time.Hour),
		OnInconclusive: InconclusiveHold,
		Rollback:       judge.Limits{Errors: judge.Limit{Absolute: 0.01, Relative: 1.5}, LatencyP95: judge.Limit{Relative: 1.5}},
		Promote:        judge.Limits{Errors: judge.Limit{Absolute: 0.005, Relative: 1.2}, LatencyP95: judge.Limit{Relative: 1.2}},
	}
	p.Deadline = p.defaultDeadline()
	return p
}

// defaultDeadline is twice the sum of the bake times, or more where the lag
// outweighs them.
func (p Policy) defaultDeadline() Duration {
	return max(2*p.Bake, p.Bake+2*p.Lag) * Duration(len(p.Steps))
}

// Horizon is how far ahead each judgement sets the dead man's switch: the
// policy's time, and three looks at least.
func (p Policy) Horizon() time.Duration {
	return max(time.Duration(p.UnattendedAfter), 3*time.Duration(p.Look))
}

// Judge returns the method that the policy names.
func (p Policy) Judge() (judge.Method, error) {
	if p.Method != MethodThresholds {
		return nil, fmt.Errorf("method %q is not known: give %s", p.Method, MethodThresholds)
	}
	return judge.Thresholds{}, nil
}

// NextStep returns the first step above a percentage, both in basis points; ok
// is false past the last one.
func (p Policy) NextStep(basisPoints int) (next int, ok bool) {
	for _, step := range p.Steps {
		if step > basisPoints {
			return step, true
		}
	}
	return 0, false
}

// StepNumber returns how many of the steps a percentage has reached, 0 to len(Steps).
func (p Policy) StepNumber(basisPoints int) int {
	n := 0
	for _, step := range p.Steps {
		if step <= basisPoints {
			n++
		}
	}
	return n
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
