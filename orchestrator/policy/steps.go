package policy

import (
	"maps"
	"strings"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

const allTraffic = 10_000

// Approval says what a person has to do with a step.
type Approval string

// The approvals.
const (
	ApproveNone    Approval = ""
	ApproveAlso    Approval = "also"    // beside the verdict, a person approves of leaving the step
	ApproveInstead Approval = "instead" // a person decides; evidence can only roll back
)

// Step is one percentage of a rollout.
type Step struct {
	BasisPoints int      `json:"basis_points"`   // 1 to 10000
	Bake        Duration `json:"bake,omitempty"` // least time at the step; 0 is the policy's
	// Pause is how long the rollout waits once the step has its verdict.
	Pause   Duration     `json:"pause,omitempty"`
	Approve Approval     `json:"approve,omitempty"`
	Limits  judge.Limits `json:"limits,omitempty"` // in place of the policy's, of these metrics
}

// String returns the percentage and what is the step's own: "50 (bake 30m, pause
// 1h, approval)".
func (s Step) String() string {
	var own []string
	if s.Bake > 0 {
		own = append(own, "bake "+s.Bake.String())
	}
	if s.Pause > 0 {
		own = append(own, "pause "+s.Pause.String())
	}
	switch s.Approve {
	case ApproveAlso:
		own = append(own, "approval")
	case ApproveInstead:
		own = append(own, "approval instead of a verdict")
	}
	if len(s.Limits) > 0 {
		own = append(own, "limits of its own")
	}
	text := document.FormatPercentage(s.BasisPoints)
	if len(own) == 0 {
		return text
	}
	return text + " (" + strings.Join(own, ", ") + ")"
}

// StepAt returns the step in force at a percentage, in basis points: the highest
// that it has reached. Below the first step nothing but its bake is set.
func (p Policy) StepAt(basisPoints int) Step {
	var step Step
	if n := p.StepNumber(basisPoints); n > 0 {
		step = p.Steps[n-1]
	}
	if step.Bake == 0 {
		step.Bake = p.Bake
	}
	return step
}

// limits are those of the policy with a step's in their place.
func (p Policy) limits(step Step) judge.Limits {
	limits := maps.Clone(p.Limits)
	maps.Copy(limits, step.Limits)
	return limits
}

// NextStep returns the first step above a percentage, both in basis points; ok
// is false past the last one.
func (p Policy) NextStep(basisPoints int) (next int, ok bool) {
	for _, step := range p.Steps {
		if step.BasisPoints > basisPoints {
			return step.BasisPoints, true
		}
	}
	return 0, false
}

// StepNumber returns how many of the steps a percentage has reached, 0 to len(Steps).
func (p Policy) StepNumber(basisPoints int) int {
	n := 0
	for _, step := range p.Steps {
		if step.BasisPoints <= basisPoints {
			n++
		}
	}
	return n
}

// Laid returns the policy with other steps. Of a last one of 100 % the holdback
// is kept, and a deadline that was not given follows the steps.
func (p Policy) Laid(steps []Step) Policy {
	p.Steps = append([]Step(nil), steps...)
	if n := len(p.Steps); n > 0 && p.Steps[n-1].BasisPoints == allTraffic {
		p.Steps[n-1].BasisPoints -= p.Holdback
	}
	if !p.ownDeadline {
		p.Deadline = p.DefaultDeadline()
	}
	return p
}

// DefaultDeadline is twice the sum of the bake times, or more where the time
// until the verdict outweighs them.
func (p Policy) DefaultDeadline() Duration {
	var sum Duration
	for _, step := range p.Steps {
		bake := p.bake(step)
		sum += max(2*bake, bake+2*p.delay())
	}
	return sum
}

// leastDeadline is what the steps take where nothing holds them up.
func (p Policy) leastDeadline() Duration {
	var sum Duration
	for _, step := range p.Steps {
		sum += p.bake(step) + p.delay()
	}
	return sum
}

func (p Policy) bake(step Step) Duration {
	if step.Bake > 0 {
		return step.Bake
	}
	return p.Bake
}

// delay is how much later than it happens something is judged at the latest:
// its interval closes, and analytics lag.
func (p Policy) delay() Duration { return p.Interval + p.Lag }
