package simulate

import (
	"time"

	"perch/orchestrator/judge"
)

// Change is a percentage that a recorded rollout was set to.
type Change struct {
	At          time.Time
	BasisPoints int // 0 ends the rollout
}

// Event is a verdict that a plan would have come to on a recorded rollout.
type Event struct {
	At          time.Time // of the look
	BasisPoints int
	Verdict     judge.Verdict
}

// Replay judges a recorded rollout as a plan would have: with the percentages
// that it had, whatever the plan's would have been. It returns the first verdict
// other than hold at each of them, and ends with one that ends a rollout. Changes
// rise and begin with the rollout's start; intervals rise, and may begin with the
// history before that.
func Replay(plan Plan, method judge.Method, changes []Change, intervals []judge.Interval, through int64) []Event {
	r := &replay{plan: plan, method: method, began: changes[0].At}
	length := plan.Steps[0].Settings.Interval
	for i, change := range changes {
		if change.BasisPoints == 0 {
			break
		}
		end := time.Unix(0, (through+1)*int64(length)).Add(plan.Lag)
		if i+1 < len(changes) && changes[i+1].At.Before(end) {
			end = changes[i+1].At
		}
		if r.step(change, intervals, end) {
			break
		}
	}
	return r.events
}

type replay struct {
	plan   Plan
	method judge.Method
	began  time.Time
	memory judge.Memory
	events []Event
}

// step judges one percentage until an end, and reports that the rollout is over.
func (r *replay) step(change Change, intervals []judge.Interval, end time.Time) bool {
	step, next := r.plan.at(change.BasisPoints)
	length := step.Settings.Interval
	said := false
	for now := change.At.Truncate(length).Add(length); !now.After(end); now = now.Add(length) {
		settings := step.Settings
		settings.Method = r.method
		closed := now.Add(-r.plan.Lag).UnixNano()/int64(length) - 1
		var verdict judge.Verdict
		verdict, r.memory = judge.Judge(judge.Input{
			Now: now, Lag: r.plan.Lag, Settings: settings, Intervals: upTo(intervals, closed), Through: closed, Memory: r.memory,
			Step: judge.Step{BasisPoints: change.BasisPoints, Next: next, Began: r.began, Since: change.At,
				Bake: step.Bake, Deadline: r.began.Add(r.plan.Deadline)},
		})
		over := verdict.Decision == judge.Rollback || verdict.Decision == judge.Inconclusive
		if over || verdict.Decision == judge.Promote && !said {
			r.events, said = append(r.events, Event{now, change.BasisPoints, verdict}), true
		}
		if over {
			return true
		}
	}
	return false
}

// upTo returns the intervals up to a number.
func upTo(intervals []judge.Interval, last int64) []judge.Interval {
	n := len(intervals)
	for n > 0 && intervals[n-1].Index > last {
		n--
	}
	return intervals[:n]
}

// at returns the step that judges a percentage, the highest that is not above it
// or else the first, and the share that a promotion leads to.
func (p Plan) at(basisPoints int) (Step, int) {
	i := 0
	for i+1 < len(p.Steps) && p.Steps[i+1].BasisPoints <= basisPoints {
		i++
	}
	return p.Steps[i], p.next(i)
}

// Contiguous returns the intervals from one number to another, without a gap:
// what is missing had no traffic.
func Contiguous(intervals []judge.Interval, from, to int64) []judge.Interval {
	filled := make([]judge.Interval, 0, max(0, to-from+1))
	for _, interval := range intervals {
		for next := from + int64(len(filled)); next < interval.Index && next <= to; next++ {
			filled = append(filled, judge.Interval{Index: next})
		}
		if interval.Index >= from && interval.Index <= to {
			filled = append(filled, interval)
		}
	}
	for next := from + int64(len(filled)); next <= to; next++ {
		filled = append(filled, judge.Interval{Index: next})
	}
	return filled
}
