package policy

import (
	"fmt"
	"time"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// check notes what contradicts each other.
func (r *reader) check(p Policy) {
	for i, step := range p.Steps {
		switch {
		case step == 0:
			r.conflict("steps", "a step of 0 % tests nothing: begin above 0")
		case i > 0 && step <= p.Steps[i-1]:
			r.conflict("steps", fmt.Sprintf("%s after %s: the steps must rise", document.FormatPercentage(step), document.FormatPercentage(p.Steps[i-1])))
		}
	}
	r.require(p.Look >= Duration(100*time.Millisecond), "look", "give 100ms or more")
	r.require(p.Look <= p.Bake, "look", fmt.Sprintf("%s is longer than bake, %s: look at least once a step", p.Look, p.Bake))
	r.require(p.Bake > 0, "bake", "give more than 0")
	r.require(p.Window > 0 && p.Window <= p.Bake, "window", fmt.Sprintf("%s is not allowed: give more than 0, and at most bake, %s", p.Window, p.Bake))
	r.require(p.UnattendedAfter > 0, "unattended_after", "give more than 0")
	least := (p.Bake + p.Lag) * Duration(len(p.Steps))
	r.require(p.Deadline >= least, "deadline", fmt.Sprintf("%s is too soon: the steps alone bake for %s, lag included", p.Deadline, least))
	r.tighter("errors", judge.Errors, p.Promote.Errors, p.Rollback.Errors)
	r.tighter("latency_p95", judge.LatencyP95, p.Promote.LatencyP95, p.Rollback.LatencyP95)
}

// tighter requires a promote limit to lie within the rollback limit.
func (r *reader) tighter(name, metric string, promote, rollback judge.Limit) {
	const hint = ": what is promoted must not be what is rolled back"
	r.require(promote.Absolute <= rollback.Absolute, "promote."+name+".absolute",
		fmt.Sprintf("%s is above rollback's %s%s", judge.FormatMetric(metric, promote.Absolute), judge.FormatMetric(metric, rollback.Absolute), hint))
	r.require(promote.Relative <= rollback.Relative, "promote."+name+".relative",
		fmt.Sprintf("%g is above rollback's %g%s", promote.Relative, rollback.Relative, hint))
}

func (r *reader) require(holds bool, path, problem string) {
	if !holds {
		r.conflict(path, problem)
	}
}

// conflict notes a problem of a field, at its line where it is given.
func (r *reader) conflict(path, problem string) {
	text := path + ": " + problem
	if line := r.lines[path]; line > 0 {
		text = fmt.Sprintf("line %d: %s", line, text)
	}
	r.problems = append(r.problems, text)
}
