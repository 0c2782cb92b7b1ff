package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// Problem is a field of a policy that contradicts another.
type Problem struct {
	Path string // such as steps[2].bake
	Text string
}

func (p Problem) String() string { return p.Path + ": " + p.Text }

// mostIntervals bounds what the judge has to keep.
const mostIntervals = 5_000

// problems collects what is wrong.
type problems []Problem

func (l *problems) require(holds bool, path, format string, args ...any) {
	if !holds {
		*l = append(*l, Problem{path, fmt.Sprintf(format, args...)})
	}
}

// Validate returns what contradicts each other, in the order of the fields; it
// is for steps that were laid, too.
func (p Policy) Validate() []Problem {
	var l problems
	p.checkSteps(&l)
	p.checkTimes(&l)
	l.checkLimits("metrics", p.Limits)
	for i, step := range p.Steps {
		l.checkLimits(stepPath(i)+".metrics", step.Limits)
	}
	p.checkProof(&l)
	return l
}

func (p Policy) checkSteps(l *problems) {
	l.require(len(p.Steps) > 0, "steps", "give one at least")
	for i, step := range p.Steps {
		path, before := stepPath(i), 0
		if i > 0 {
			before = p.Steps[i-1].BasisPoints
		}
		held := p.Holdback > 0 && i == len(p.Steps)-1 && step.BasisPoints == allTraffic-p.Holdback
		switch {
		case held:
			l.require(step.BasisPoints > before, "holdback", "%s %% leaves nothing of the last step: give less than %s", document.FormatPercentage(p.Holdback), document.FormatPercentage(allTraffic-before))
		case step.BasisPoints == 0:
			l.require(false, path, "a step of 0 %% tests nothing: begin above 0")
		default:
			l.require(step.BasisPoints > before, path, "%s after %s: the steps must rise", document.FormatPercentage(step.BasisPoints), document.FormatPercentage(before))
			l.require(step.BasisPoints <= allTraffic-p.Holdback, path, "%s is more than the holdback of %s leaves", document.FormatPercentage(step.BasisPoints), document.FormatPercentage(p.Holdback))
		}
	}
}

func (p Policy) checkTimes(l *problems) {
	second := Duration(time.Second)
	whole := p.Interval >= second && p.Interval%second == 0
	l.require(whole, "interval", "%s is not allowed: give whole seconds", time.Duration(p.Interval))
	l.require(p.Look >= Duration(100*time.Millisecond), "look", "give 100ms or more")
	l.require(p.Bake > 0, "bake", "give more than 0")
	p.checkBakes(l)
	for _, w := range []struct {
		name string
		span Duration
	}{{"window", p.Window}, {"reference", p.Reference}, {"history", p.History}} {
		if !whole {
			break
		}
		l.require(w.span >= p.Interval && w.span%p.Interval == 0, w.name, "%s is not a multiple of interval, %s", w.span, p.Interval)
		l.require(w.span/p.Interval <= mostIntervals, w.name, "%s is more than %d intervals: give less, or a longer interval", w.span, mostIntervals)
	}
	l.require(p.Expire >= second && p.Expire%second == 0, "expire", "%s is not allowed: give whole seconds", time.Duration(p.Expire))
	l.require(p.UnattendedAfter > 0, "unattended_after", "give more than 0")
	l.require(p.Deadline >= p.leastDeadline(), "deadline", "%s is too soon: the steps alone take %s, with lag and interval", p.Deadline, p.leastDeadline())
}

// checkBakes requires the time at each step to hold what happens in it.
func (p Policy) checkBakes(l *problems) {
	for _, part := range []struct {
		name, why string
		least     Duration
	}{
		{"look", "look at least once a step", p.Look},
		{"window", "a window holds no more than a step", p.Window},
		{"cold_start", "times would never be judged", p.ColdStart + 1},
		{"spread", "a percentage would be judged before it is everywhere", p.Spread + 1},
	} {
		span := part.least / Duration(time.Millisecond) * Duration(time.Millisecond)
		l.require(part.least <= p.Bake, part.name, "%s is too long for bake, %s: %s", span, p.Bake, part.why)
		for i, step := range p.Steps {
			l.require(step.Bake == 0 || part.least <= step.Bake, stepPath(i)+".bake", "%s is too short for %s, %s: %s", step.Bake, part.name, span, part.why)
		}
	}
	if p.Method == judge.Thresholds {
		run := Duration(p.Failures) * p.Interval
		l.require(run <= p.Bake, "failures", "%d of interval, %s, take longer than bake, %s: nothing would roll back in time", p.Failures, p.Interval, p.Bake)
	}
}

// checkLimits requires that what is promoted is not what is rolled back.
func (l *problems) checkLimits(path string, limits judge.Limits) {
	for _, m := range judge.Metrics {
		b, judged := limits[m]
		if !judged {
			continue
		}
		at := path + "." + string(m)
		const hint = "what is promoted must not be what is rolled back"
		l.require(b.Rollback != judge.Limit{}, at+".rollback", "give absolute or relative, or write %s: off", m)
		l.require(b.Promote != judge.Limit{}, at+".promote", "give absolute or relative, or write %s: off", m)
		l.require(b.Promote.Absolute <= b.Rollback.Absolute, at+".promote.absolute", "%s is above rollback's %s: %s", judge.FormatMetric(m, b.Promote.Absolute), judge.FormatMetric(m, b.Rollback.Absolute), hint)
		l.require(b.Promote.Relative <= b.Rollback.Relative, at+".promote.relative", "%g is above rollback's %g: %s", b.Promote.Relative, b.Rollback.Relative, hint)
		if b.Ceiling > 0 {
			l.require(b.Floor < b.Ceiling, at+".floor", "%s is not below the ceiling, %s", judge.FormatMetric(m, b.Floor), judge.FormatMetric(m, b.Ceiling))
			l.require(b.Rollback.Absolute < b.Ceiling, at+".ceiling", "%s is not above rollback's absolute limit, %s, which would never act", judge.FormatMetric(m, b.Ceiling), judge.FormatMetric(m, b.Rollback.Absolute))
		}
	}
}

// checkProof requires what every promotion rests on: errors that act, at 100 %
// too, where there is no stable traffic to compare with.
func (p Policy) checkProof(l *problems) {
	_, judged := p.Limits[judge.Errors]
	l.require(judged, "metrics.errors", "cannot be off: a promotion rests on it")
	for i, step := range p.Steps {
		errors := p.limits(step)[judge.Errors]
		path := "metrics.errors"
		if _, own := step.Limits[judge.Errors]; own {
			path = stepPath(i) + "." + path
		}
		l.require(!errors.Observe, path+".observe", "errors cannot be observed alone: a promotion rests on them")
		l.require(!judged || step.BasisPoints < allTraffic || errors.Promote.Absolute > 0, path, "at 100 %% there is no stable traffic to compare with: give absolute limits or a holdback")
	}
}

// conflict notes a problem of a field, at its line or that of what holds it.
func (r *reader) conflict(problem Problem) {
	text := problem.String()
	for path := problem.Path; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if line := r.lines[path]; line > 0 {
			text = fmt.Sprintf("line %d: %s", line, text)
			break
		}
	}
	if !slices.Contains(r.problems, text) {
		r.problems = append(r.problems, text)
	}
}
