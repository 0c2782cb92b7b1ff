package simulate

import (
	"time"

	"perch/orchestrator/judge"
)

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
		// Looks keep their pace where that is no whole number of intervals.
		if r.now.Sub(r.looked) < plan.Look {
			continue
		}
		r.looked = r.now
		switch decision := r.look(method); {
		case decision == judge.Rollback, decision == judge.Inconclusive:
			return r.outcome(decision)
		case r.passed(decision) && r.step+1 == len(plan.Steps):
			return r.outcome(judge.Promote)
		case r.passed(decision):
			r.step, r.since, r.ready = r.step+1, r.now, time.Time{}
		case !r.now.Before(r.deadline().Add(plan.Lag + plan.Look + r.length)):
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
	looked     time.Time
	since      time.Time     // when the step began
	ready      time.Time     // when the pause after the step's verdict ends; zero: no verdict
	paused     time.Duration // which moves the deadline
	step       int
	waiting    []judge.Interval // that the method has not taken in
	hit        float64
}

func (r *rollout) deadline() time.Time { return r.began.Add(r.plan.Deadline + r.paused) }

// passed reports that the step is left for the next one.
func (r *rollout) passed(decision judge.Decision) bool {
	step := r.plan.Steps[r.step]
	if step.Approved {
		decision = judge.Hold
		if r.now.Sub(r.since) >= step.Bake+r.plan.Lag {
			decision = judge.Promote
		}
	}
	if decision == judge.Promote && r.ready.IsZero() {
		r.ready = r.now.Add(step.Pause)
		r.paused += step.Pause
	}
	return !r.ready.IsZero() && !r.now.Before(r.ready)
}

// newRollout begins one with the history before it.
func newRollout(plan Plan, traffic Traffic) *rollout {
	settings := plan.Steps[0].Settings
	began := epoch.Truncate(settings.Interval)
	r := &rollout{plan: plan, traffic: traffic, length: settings.Interval, began: began, looked: began, since: began}
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

// look lets the method judge what is closed. A verdict to promote that is not
// acted on is not the last one.
func (r *rollout) look(method Method) judge.Decision {
	step := r.plan.Steps[r.step]
	closed := r.index(r.now.Add(-r.plan.Lag)) - 1
	for {
		n := 0
		for n < len(r.waiting) && r.waiting[n].Index <= closed {
			n++
		}
		decision, at := method.Judge(judge.Input{
			Now: r.now, Lag: r.plan.Lag, Settings: step.Settings, Intervals: r.waiting[:n], Through: closed,
			Step: judge.Step{BasisPoints: step.BasisPoints, Next: r.plan.next(r.step), Began: r.began, Since: r.since,
				Bake: step.Bake, Deadline: r.deadline()},
		})
		for len(r.waiting) > 0 && r.waiting[0].Index < r.index(at) {
			r.waiting = r.waiting[1:]
		}
		idle := step.Approved || !r.ready.IsZero()
		if decision != judge.Promote || !idle || r.index(at) > closed {
			return decision
		}
	}
}

func (r *rollout) outcome(d judge.Decision) Outcome {
	return Outcome{Decision: d, Minute: r.now.Sub(r.began).Minutes(), Step: r.step, Hit: r.hit}
}
