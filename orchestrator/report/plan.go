package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/shared/document"
)

// WritePlan writes for people what a rollout that begins now can be expected to
// show.
func WritePlan(w io.Writer, p plan.Plan, now time.Time) {
	fmt.Fprint(w, indented("plan  ", planTraffic(p)))
	if p.Traffic.PerMinute > 0 {
		writePlanSteps(w, p)
	}
	for _, line := range planLines(p, now) {
		fmt.Fprint(w, indented("      ", line))
	}
	for _, warning := range p.Warnings {
		fmt.Fprint(w, indented("warning: ", warning))
	}
}

func writePlanSteps(w io.Writer, p plan.Plan) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	titles := append([]string{"step", "canary", "bake", "finds in it"}, increaseTitles(p)...)
	fmt.Fprintf(t, "  %s\tgoes on\t\n", strings.Join(titles, "\t"))
	for _, s := range p.Steps {
		fmt.Fprintf(t, "  %s\t\n", strings.Join(planCells(s), "\t"))
	}
	_ = t.Flush()
}

// planTraffic says what the plan rests on.
func planTraffic(p plan.Plan) string {
	t := p.Traffic
	switch {
	case p.Problem != "":
		return "what the steps detect is not known: " + p.Problem
	case t.PerMinute == 0:
		return "stable served nothing in " + lately(t.Span) + ": what the steps detect is not known"
	}
	text := fmt.Sprintf("by what stable served in %s: %s requests a minute, %s errors", lately(t.Span), figures(t.PerMinute), judge.FormatMetric(judge.Errors, t.Errors))
	if t.P95MS > 0 {
		text += fmt.Sprintf(", p50 %s, p95 %s", judge.FormatMetric(judge.LatencyP50, t.P50MS), judge.FormatMetric(judge.LatencyP95, t.P95MS))
	}
	return text
}

// lately names the time up to now.
func lately(s judge.Seconds) string {
	if s == 3600 {
		return "the last hour"
	}
	return "the last " + span(s)
}

func increaseTitles(p plan.Plan) []string {
	var titles []string
	if len(p.Steps) > 0 {
		for _, f := range p.Steps[0].Found {
			titles = append(titles, points("%g", 100*f.Increase)+" in")
		}
	}
	return titles
}

// points writes an increase of the error rate.
func points(format string, x float64) string {
	text := fmt.Sprintf(format, x)
	if text == "1" {
		return "+1 pt"
	}
	return "+" + text + " pts"
}

func planCells(s plan.Step) []string {
	cells := []string{document.FormatPercentage(s.BasisPoints) + " %", figures(s.PerMinute) + "/min", span(s.Bake), finds(s)}
	for _, f := range s.Found {
		cells = append(cells, spanOr(f.After, "–"))
	}
	return append(cells, goesOn(s))
}

// finds says what is found within the bake.
func finds(s plan.Step) string {
	var parts []string
	if s.LeastErrors > 0 {
		parts = append(parts, points("%.1f", 100*s.LeastErrors))
	}
	if s.LeastSlower > 0 {
		parts = append(parts, fmt.Sprintf("times ×%.1f", s.LeastSlower))
	}
	if parts == nil {
		return "–"
	}
	return strings.Join(parts, ", ")
}

// goesOn says when a healthy canary passes the step.
func goesOn(s plan.Step) string {
	switch {
	case s.Approve == policy.ApproveInstead:
		return "by a person"
	case s.Passed.Half == 0:
		return "–"
	}
	text := span(s.Passed.Half)
	if s.Passed.Most > s.Passed.Half {
		text += " to " + span(s.Passed.Most)
	} else if s.Passed.Most == 0 {
		text += " or later"
	}
	if s.Approve == policy.ApproveAlso {
		text += ", approved"
	}
	return text
}

// planLines say how the whole plan goes.
func planLines(p plan.Plan, now time.Time) []string {
	const gated = "orchestrator approve goes on from each step; what is clearly broken is rolled back"
	switch {
	case p.Traffic.PerMinute == 0 && isGated(p):
		return []string{gated}
	case p.Traffic.PerMinute == 0:
		return nil
	}
	lines := []string{"finds, +1 pt in …: so it is in 80 of 100 rollouts; goes on: a healthy canary, in 50 and in 95 of 100"}
	at := func(s judge.Seconds) string {
		return now.Add(time.Duration(float64(s) * float64(time.Second))).UTC().Format("15:04 UTC")
	}
	deadline := "the deadline is " + at(p.Deadline)
	switch {
	case isGated(p) && p.Auto:
		lines = append(lines, "so few requests prove nothing in time: "+gated)
	case isGated(p):
		lines = append(lines, fmt.Sprintf("%s until orchestrator approve; %s", waits(p), deadline))
	case p.Reached.Half == 0:
		lines = append(lines, fmt.Sprintf("%.0f of 100 healthy canaries get to the last step in time: %s", 100*p.Promoted, deadline))
	case p.Ended.Half == 0:
		lines = append(lines, fmt.Sprintf("at the last step by %s, but not through it in time: %s", at(p.Reached.Half), deadline))
	default:
		lines = append(lines, fmt.Sprintf("at the last step by %s, all over by %s%s; %s", at(p.Reached.Half), at(p.Ended.Half), late(p, at), deadline))
	}
	if len(p.Proposal) > 0 {
		lines = append(lines, proposal(p))
	}
	return lines
}

func isGated(p plan.Plan) bool {
	for _, s := range p.Steps {
		if s.Approve == policy.ApproveInstead {
			return true
		}
	}
	return false
}

// waits names the steps that a person alone ends.
func waits(p plan.Plan) string {
	var names []string
	for _, s := range p.Steps {
		if s.Approve == policy.ApproveInstead {
			names = append(names, document.FormatPercentage(s.BasisPoints)+" %")
		}
	}
	if len(names) == 1 {
		return names[0] + " waits for a person"
	}
	return strings.Join(names, ", ") + " wait for a person"
}

// late says when it is over at the latest, as far as that can be said.
func late(p plan.Plan, at func(judge.Seconds) string) string {
	switch {
	case p.Ended.Most > p.Ended.Half:
		return fmt.Sprintf(", in 95 of 100 by %s", at(p.Ended.Most))
	case p.Ended.Most == 0:
		return " in half of all rollouts, though not in time in all others"
	}
	return ""
}

// proposal offers the steps that suit the traffic.
func proposal(p plan.Plan) string {
	first := p.Steps[0]
	why := fmt.Sprintf("%s %% is too little to decide within %s", document.FormatPercentage(first.BasisPoints), span(first.Bake))
	steps := make([]string, len(p.Proposal))
	for i, s := range p.Proposal {
		steps[i] = document.FormatPercentage(s.BasisPoints) + " %"
		if s.Bake > 0 {
			steps[i] += " for " + s.Bake.String()
		}
	}
	text := fmt.Sprintf("%s: start --steps auto lays %s", why, strings.Join(steps, " → "))
	if p.Proposal[0].Approve == policy.ApproveInstead {
		text += ", each left when a person approves"
	}
	return text
}

func span(s judge.Seconds) string {
	return policy.Duration(time.Duration(float64(s) * float64(time.Second)).Round(time.Second)).String()
}

func spanOr(s judge.Seconds, none string) string {
	if s == 0 {
		return none
	}
	return span(s)
}

// figures writes a rate with as many digits as matter.
func figures(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2g", x)
}
