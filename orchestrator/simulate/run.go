package simulate

import (
	"time"

	"perch/orchestrator/judge/next"
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
	Settings    judge.Settings // their Interval is the same at each step
}

// next is the share that a promotion of a step leads to.
func (p Plan) next(step int) int {
	if step+1 < len(p.Steps) {
		return p.Steps[step+1].BasisPoints
	}
	return 10_000
}

// Method decides on one rollout: of the same kind as judge.Judge, it keeps its
// memory to itself. It returns the decision and the end of the last interval that
// it took in.
type Method interface {
	Judge(judge.Input) (judge.Decision, time.Time)
}

// MethodOf returns a method for one rollout: Fixed, or one of the judge's.
func MethodOf(name judge.Method) Method {
	if name == Fixed {
		return &fixed{}
	}
	return &remembering{method: name}
}

// remembering is the judge with its memory.
type remembering struct {
	method judge.Method
	memory judge.Memory
}

// Judge implements Method.
func (r *remembering) Judge(in judge.Input) (judge.Decision, time.Time) {
	in.Settings.Method, in.Memory = r.method, r.memory
	verdict, memory := judge.Judge(in)
	r.memory = memory
	return verdict.Decision, verdict.At
}

// Outcome is how one rollout ended.
type Outcome struct {
	Decision judge.Decision // Promote, Rollback or Inconclusive
	Minute   float64        // of the decision, since the rollout began
	Step     int            // at which it fell, from 0
	Hit      float64        // requests that the canary is to blame for until then
}

// epoch is when simulated rollouts begin: any time that intervals begin at.
var epoch = time.Unix(1_800_000_000, 0).UTC()

// Run makes one rollout.
func Run(plan Plan, method Method, traffic Traffic) Outcome {
	r := newRollout(plan, traffic)
	for {
		r.pass()
		if r.now.Sub(r.began)%plan.Look != 0 {
			continue
		}
		switch decision := r.look(method); {
		case decision == judge.Promote && r.step+1 < len(plan.Steps):
			r.step++
			r.since = r.now
		case decision != judge.Hold:
			return r.outcome(decision)
		case r.now.Sub(r.began) > plan.Deadline+plan.Lag+plan.Look:
			return r.outcome(judge.Inconclusive) // by a method that knows no deadline
		}
	}
}

// rollout is one in progress.
type rollout struct {
	plan       Plan
	traffic    Traffic
	length     time.Duration // of an interval
	began, now time.Time
	since      time.Time // when the step began
	step       int
	waiting    []judge.Interval // that the method has not taken in
	hit        float64
}

// newRollout begins one with the history before it.
func newRollout(plan Plan, traffic Traffic) *rollout {
	settings := plan.Steps[0].Settings
	began := epoch.Truncate(settings.Interval)
	r := &rollout{plan: plan, traffic: traffic, length: settings.Interval, began: began, since: began}
	for r.now = began.Add(-settings.History.Truncate(settings.Interval)); r.now.Before(began); {
		r.pass()
	}
	return r
}

// pass lets an interval pass.
func (r *rollout) pass() {
	m := Moment{Minute: r.now.Sub(r.began).Minutes(), InStep: r.now.Sub(r.since).Minutes(), Length: r.length.Minutes()}
	if !r.now.Before(r.began) {
		m.BasisPoints = r.plan.Steps[r.step].BasisPoints
	}
	s := r.traffic.Next(m)
	r.waiting = append(r.waiting, judge.Interval{Index: r.index(r.now), UserShare: s.UserShare, Canary: s.Canary, Stable: s.Stable})
	r.hit += s.Hit
	r.now = r.now.Add(r.length)
}

func (r *rollout) index(at time.Time) int64 { return at.UnixNano() / int64(r.length) }

// look lets the method judge what is closed.
func (r *rollout) look(method Method) judge.Decision {
	closed := r.index(r.now.Add(-r.plan.Lag)) - 1
	n := 0
	for n < len(r.waiting) && r.waiting[n].Index <= closed {
		n++
	}
	step := r.plan.Steps[r.step]
	decision, at := method.Judge(judge.Input{
		Now: r.now, Lag: r.plan.Lag, Settings: step.Settings, Intervals: r.waiting[:n], Through: closed,
		Step: judge.Step{BasisPoints: step.BasisPoints, Next: r.plan.next(r.step), Began: r.began, Since: r.since,
			Bake: step.Bake, Deadline: r.began.Add(r.plan.Deadline)},
	})
	for len(r.waiting) > 0 && r.waiting[0].Index < r.index(at) {
		r.waiting = r.waiting[1:]
	}
	return decision
}

func (r *rollout) outcome(d judge.Decision) Outcome {
	return Outcome{Decision: d, Minute: r.now.Sub(r.began).Minutes(), Step: r.step, Hit: r.hit}
}
