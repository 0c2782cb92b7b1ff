package simulate

import (
	"time"

	"perch/orchestrator/judge"
)

// Fixed is the method to compare with: plain limits at every look, and a number
// of failed checks that rolls back. Flagger's scheduler and Argo Rollouts'
// failureLimit count so.
const Fixed judge.Method = "fixed"

// failedChecks roll back, over the whole rollout.
const failedChecks = 5

// fixed is Fixed at work on one rollout.
type fixed struct {
	failed int
	since  time.Time        // of the step that recent is of
	recent []judge.Interval // of the step, at most Reference long
	judged int64            // number of the last interval
}

// Judge implements Method. Each interval is a check: it fails where the canary's
// errors are above the absolute limit or its p95 above the relative one. What has
// no such limit is not checked.
func (f *fixed) Judge(in judge.Input) (judge.Decision, time.Time) {
	length := in.Settings.Interval
	for _, interval := range in.Intervals {
		begin := time.Unix(0, interval.Index*int64(length))
		end := begin.Add(length)
		if interval.Index <= f.judged || begin.Before(in.Step.Began) {
			continue
		}
		f.judged = interval.Index
		if f.check(interval, in.Settings.Limits) {
			return judge.Rollback, end
		}
		if begin.Before(in.Step.Since) {
			continue
		}
		f.keep(interval, in)
		if end.Sub(in.Step.Since) >= in.Step.Bake && f.within(in.Settings.Limits) {
			return judge.Promote, end
		}
		if !in.Step.Deadline.IsZero() && !end.Before(in.Step.Deadline) {
			return judge.Inconclusive, end
		}
	}
	return judge.Hold, time.Unix(0, (in.Through+1)*int64(length))
}

// check counts a failed check and reports that it was the last allowed one.
func (f *fixed) check(i judge.Interval, limits judge.Limits) bool {
	errors, latency := limits[judge.Errors].Rollback, limits[judge.LatencyP95].Rollback
	tooMany := errors.Absolute > 0 && rate(i.Canary) > errors.Absolute
	if tooMany || slowerThan(i.Canary, i.Stable, latency.Relative) {
		f.failed++
	}
	return f.failed >= failedChecks
}

func (f *fixed) keep(i judge.Interval, in judge.Input) {
	if !f.since.Equal(in.Step.Since) {
		f.since, f.recent = in.Step.Since, nil
	}
	f.recent = append(f.recent, i)
	if most := int(in.Settings.Reference / in.Settings.Interval); len(f.recent) > most {
		f.recent = f.recent[len(f.recent)-most:]
	}
}

// within reports that the window is within the promote limits.
func (f *fixed) within(limits judge.Limits) bool {
	var canary, stable judge.Counts
	for _, i := range f.recent {
		add(&canary, i.Canary)
		add(&stable, i.Stable)
	}
	errors, latency := limits[judge.Errors].Promote, limits[judge.LatencyP95].Promote
	return canary.Weight > 0 && rate(canary) <= max(errors.Absolute, errors.Relative*rate(stable)) && !slowerThan(canary, stable, latency.Relative)
}

func add(sum *judge.Counts, c judge.Counts) {
	sum.Weight += c.Weight
	sum.Errors += c.Errors
	sum.Times[judge.FirstByte] = sum.Times[judge.FirstByte].Add(c.Times[judge.FirstByte])
}

func rate(c judge.Counts) float64 {
	if c.Weight == 0 {
		return 0
	}
	return c.Errors / c.Weight
}

// slowerThan compares with stable where it has traffic, and there is a limit.
func slowerThan(canary, stable judge.Counts, ratio float64) bool {
	return ratio > 0 && p95(stable) > 0 && p95(canary) > ratio*p95(stable)
}

func p95(c judge.Counts) float64 { return c.Times[judge.FirstByte].Quantile(0.95) }
