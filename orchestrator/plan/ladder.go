package plan

import (
	"math"
	"time"

	"perch/orchestrator/policy"
)

// ladders are the steps before the last that may be laid, the gentlest first. Two
// at least must be passed: one proof alone lets too many canaries through that
// are a point worse.
var ladders = [][]int{
	{100, 1_000, 5_000},
	{500, 2_000, 5_000},
	{1_000, 2_000, 5_000},
	{2_000, 5_000},
	{2_500, 5_000},
}

const (
	// usual is how many bakes a ladder may take until the last step, and sure the
	// chance that a healthy canary is there by then.
	usual = 4
	sure  = 0.98
	// longest is how many bakes the slowest ladder may take until the last step, for
	// half of all healthy canaries: 8 hours of 15 minutes each.
	longest = 32
	// hardly is the chance of a proof up to which a bake costs no time.
	hardly = 0.1
)

// Lay returns the policy with steps for a service's traffic: the smallest first
// step that leads a healthy canary to the last one within four bakes; where none
// does, the largest, with bakes as long as it takes; and where even they would take
// longer than a working day, steps that a person has to approve of, and false. A
// deadline that was not given leaves time for nearly all healthy canaries.
func Lay(t Traffic, p policy.Policy) (policy.Policy, bool) {
	soon := usual * time.Duration(p.Bake)
	for _, ladder := range ladders {
		if c := laid(ladder, t, p, soon); c.by(c.reached(), soon) >= sure {
			return c.policy, true
		}
	}
	last := ladders[len(ladders)-1]
	c := laid(last, t, p, 2*longest*time.Duration(p.Bake))
	if half := c.when(c.reached(), 0.5); half > 0 && half <= longest*time.Duration(p.Bake) {
		return c.withDeadline(), true
	}
	gated := steps(last, p)
	for i := range gated {
		gated[i].Approve = policy.ApproveInstead
	}
	return laidPolicy(p, gated), false
}

// laid is the course of a ladder, with bakes as long as it takes.
func laid(ladder []int, t Traffic, p policy.Policy, until time.Duration) course {
	short := steps(ladder, p)
	c := newCourse(t, laidPolicy(p, short), until)
	return newCourse(t, laidPolicy(p, c.lengthened(short)), until)
}

func laidPolicy(p policy.Policy, steps []policy.Step) policy.Policy {
	p = p.Laid(steps)
	p.Auto = true
	return p
}

// withDeadline returns the policy with a deadline that leaves time for nearly all
// healthy canaries, where none was given.
func (c course) withDeadline() policy.Policy {
	p := c.policy
	if p.Deadline != p.DefaultDeadline() {
		return p
	}
	unit := float64(c.unit())
	late := c.when(c.ended(), sure)
	if late == 0 {
		late = time.Duration(c.ticks) * c.length()
	}
	p.Deadline = max(p.Deadline, policy.Duration(math.Ceil(float64(late)/unit)*unit))
	return p
}

// unit is what bakes are rounded to: a third of the policy's.
func (c course) unit() time.Duration {
	interval := time.Duration(c.policy.Interval)
	return max(interval, (time.Duration(c.policy.Bake) / 3).Truncate(interval))
}

// steps returns a ladder's steps with the last one, as far as the holdback lets them.
func steps(ladder []int, p policy.Policy) []policy.Step {
	var list []policy.Step
	for _, basisPoints := range ladder {
		if basisPoints < whole-p.Holdback {
			list = append(list, policy.Step{BasisPoints: basisPoints})
		}
	}
	return append(list, policy.Step{BasisPoints: whole})
}

// lengthened returns the steps with bakes before which hardly a canary is proved,
// where that is longer than the policy's, in thirds of it.
func (c course) lengthened(steps []policy.Step) []policy.Step {
	long := append([]policy.Step(nil), steps...)
	unit := float64(c.unit())
	for i := range long {
		first := c.when(c.passed[i], hardly)
		if bake := math.Floor(float64(first-c.delay()) / unit); bake*unit > float64(c.policy.Bake) {
			long[i].Bake = policy.Duration(bake * unit)
		}
	}
	return long
}
