package simulate

import (
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// Plan is how a rollout is stepped and judged.
type Plan struct {
	Steps    []Step // rising; a promotion of the last ends the rollout
	Look     time.Duration
	Lag      time.Duration // until an interval can be judged
	Deadline time.Duration // of the whole rollout
}

// Step is a share of the traffic and how it is judged.
type Step struct {
	BasisPoints int
	Bake        time.Duration
	Pause       time.Duration // once the verdict is to promote
	// Approved says that a person promotes as soon as the bake is over: evidence
	// alone can only roll back.
	Approved bool
	Settings judge.Settings // their Interval and History are the same at each step
}

// next is the share that a promotion of a step leads to.
func (p Plan) next(step int) int {
	if step+1 < len(p.Steps) {
		return p.Steps[step+1].BasisPoints
	}
	return 10_000
}

// PlanOf is a policy's plan. Its people approve at once.
func PlanOf(p policy.Policy) Plan {
	plan := Plan{Look: time.Duration(p.Look), Lag: time.Duration(p.Lag), Deadline: time.Duration(p.Deadline)}
	for _, s := range p.Steps {
		at := p.StepAt(s.BasisPoints)
		plan.Steps = append(plan.Steps, Step{
			BasisPoints: at.BasisPoints, Bake: time.Duration(at.Bake), Pause: time.Duration(at.Pause),
			Approved: at.Approve == policy.ApproveInstead, Settings: p.Settings(at.BasisPoints),
		})
	}
	return plan
}

// Figures is the plan that the published figures are of: 5, 20 and 50 % for 15
// minutes each, the whole traffic after them, an hour for all, and no lag.
func Figures() Plan {
	p := policy.Default()
	p.Deadline, p.Lag = policy.Duration(time.Hour), 0
	plan := PlanOf(p)
	plan.Steps = plan.Steps[:3]
	return plan
}
