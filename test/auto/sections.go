package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"perch/orchestrator/judge"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/orchestrator/simulate"
	"perch/orchestrator/simulate/figures"
	"perch/shared/document"
)

// ladders tables the steps that are laid.
func ladders(b *strings.Builder) error {
	b.WriteString("| requests a minute | steps | at the last step, half | 95 of 100 | deadline | first step finds in its bake | + 2 points at it |\n|---:|---|---:|---:|---:|---|---:|\n")
	for _, rate := range []float64{5, 10, 15, 20, 30, 50, 100, 200, 300, 500, 1_000, 3_000, 10_000, 100_000} {
		p, _ := plan.Lay(steady(rate), policy.Default())
		e := plan.For(steady(rate), p)
		first := e.Steps[0]
		finds := fmt.Sprintf("+ %.1f points, times × %.1f", 100*first.LeastErrors, first.LeastSlower)
		if first.LeastSlower == 0 {
			finds = fmt.Sprintf("+ %.1f points", 100*first.LeastErrors)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", figures.Count(rate), stepsOf(p), after(e.Reached.Half), after(e.Reached.Most),
			after(e.Deadline), finds, after(first.Found[1].After))
	}
	return nil
}

// steady is traffic as the rollouts have it on average.
func steady(rate float64) plan.Traffic {
	t := observed(simulate.Scenario{Rate: 100_000, Errors: usualErrors}.Traffic(fixedSource()))
	t.PerMinute, t.Errors = rate, usualErrors
	return t
}

func stepsOf(p policy.Policy) string {
	steps := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		steps[i] = document.FormatPercentage(s.BasisPoints)
		if s.Bake > 0 {
			steps[i] += " (" + s.Bake.String() + ")"
		}
	}
	text := strings.Join(steps, " → ") + " %"
	if p.Steps[0].Approve == policy.ApproveInstead {
		text += ", by a person"
	}
	return text
}

func after(s judge.Seconds) string {
	if s == 0 {
		return "–"
	}
	return judge.FormatDuration(s.Duration())
}

// cell is a number of requests a minute and a canary.
type cell struct {
	rate   float64
	name   string
	canary canary
	runs   int
	// holds are the least shares, in percent, that must be at the last step within 60
	// and 120 minutes, and rolled back; and the largest that may be promoted. 0 is no
	// demand, of promoted where the canary is healthy.
	in60, in120, rolledBack, promoted float64
}

var cells = []cell{
	{rate: 300, name: "healthy", runs: 1_000, in60: 98},
	{rate: 300, name: "+ 1 point", canary: canary{points: 1}, runs: 1_000, promoted: 0.5},
	{rate: 300, name: "+ 2 points", canary: canary{points: 2}, runs: 500, promoted: 0.5},
	{rate: 100, name: "healthy", runs: 1_000, in60: 65, in120: 95},
	{rate: 100, name: "+ 1 point", canary: canary{points: 1}, runs: 1_000, promoted: 0.5},
	{rate: 100, name: "+ 2 points", canary: canary{points: 2}, runs: 1_000, rolledBack: 95, promoted: 0.5},
	{rate: 30, name: "healthy", runs: 500},
	{rate: 30, name: "+ 1 point", canary: canary{points: 1}, runs: 500, promoted: 0.5},
	{rate: 1_000, name: "healthy", runs: 500},
	{rate: 1_000, name: "+ 1 point", canary: canary{points: 1}, runs: 500, promoted: 0.5},
}

// rollouts tables what came of rollouts.
func (l *lab) rollouts(b *strings.Builder) error {
	b.WriteString("| requests a minute | canary | rollouts | first steps laid | at the last step in 60 minutes | in 120 | ever | rolled back | inconclusive |\n|---:|---|---:|---|---:|---:|---:|---:|---:|\n")
	for _, c := range cells {
		rollouts, err := l.many(c.rate, c.canary, false, c.runs)
		if err != nil {
			return err
		}
		n := len(rollouts)
		in60, in120 := count(rollouts, judge.Promote, minutes(60)), count(rollouts, judge.Promote, minutes(120))
		promoted, rolledBack := count(rollouts, judge.Promote, always), count(rollouts, judge.Rollback, always)
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %s | %s | %s | %s |\n", figures.Count(c.rate), c.name, n, firstSteps(rollouts),
			percent(in60, n), percent(in120, n), percent(promoted, n), percent(rolledBack, n), percent(n-promoted-rolledBack, n))
		l.hold(c, n, in60, in120, promoted, rolledBack)
	}
	return nil
}

func (l *lab) hold(c cell, n, in60, in120, promoted, rolledBack int) {
	share := func(k int) float64 { return 100 * float64(k) / float64(n) }
	for _, demand := range []struct {
		what        string
		came, least float64
	}{{"at the last step in 60 minutes", share(in60), c.in60}, {"at the last step in 120 minutes", share(in120), c.in120}, {"rolled back", share(rolledBack), c.rolledBack}} {
		l.must(demand.came >= demand.least, "%s at %g a minute: %.1f %% %s, at least %g must be", c.name, c.rate, demand.came, demand.what, demand.least)
	}
	l.must(c.promoted == 0 || share(promoted) <= c.promoted, "%s at %g a minute: %.2f %% promoted, at most %g may be", c.name, c.rate, share(promoted), c.promoted)
}

// firstSteps are the first steps that were laid, with how often.
func firstSteps(rollouts []auto) string {
	laid := map[int]int{}
	for _, r := range rollouts {
		laid[r.policy.Steps[0].BasisPoints]++
	}
	var texts []string
	for _, basisPoints := range slices.Sorted(maps.Keys(laid)) {
		texts = append(texts, fmt.Sprintf("%s %% in %s", document.FormatPercentage(basisPoints), percent(laid[basisPoints], len(rollouts))))
	}
	return strings.Join(texts, ", ")
}

func percent(k, n int) string { return figures.Percent(simulate.ShareOf(k, n).Value) + " %" }

// promise is something that plans say, and how often it came so.
type promise struct {
	said   string
	share  float64 // in percent, that was said
	slack  float64 // by how many fewer it may come so
	canary canary
	came   func([]auto) int
}

var promises = []promise{
	{"half of healthy canaries are at the last step by then", 50, 10, canary{},
		func(r []auto) int {
			return count(r, judge.Promote, func(p plan.Plan) judge.Seconds { return p.Reached.Half })
		}},
	{"95 of 100 healthy canaries are at the last step by then", 95, 5, canary{},
		func(r []auto) int {
			return count(r, judge.Promote, func(p plan.Plan) judge.Seconds { return p.Reached.Most })
		}},
	{"+ 2 points are found at the first step by then", 80, 10, canary{points: 2}, func(r []auto) int { return count(r, judge.Rollback, foundBy(1)) }},
	{"+ 5 points are found at the first step by then", 80, 10, canary{points: 5}, func(r []auto) int { return count(r, judge.Rollback, foundBy(2)) }},
	{"the least errors that it finds in its bake", 80, 15, canary{by: func(p plan.Plan) canary { return canary{points: 100 * p.Steps[0].LeastErrors} }}, inFirstBake},
	{"the least delay that it finds in its bake", 80, 15, canary{by: func(p plan.Plan) canary { return canary{slower: max(1, p.Steps[0].LeastSlower)} }}, inFirstBake},
}

func foundBy(i int) func(plan.Plan) judge.Seconds {
	return func(p plan.Plan) judge.Seconds { return p.Steps[0].Found[i].After }
}

// slowest is what passes between the end of a bake and what is done about it.
const slowest = 180

func inFirstBake(r []auto) int {
	return count(r, judge.Rollback, func(p plan.Plan) judge.Seconds { return p.Steps[0].Bake + slowest })
}

// rates at which plans are held to what they say.
var rates = []float64{30, 100, 300, 1_000}

// promises tables how often it came as plans said.
func (l *lab) promises(b *strings.Builder) error {
	fmt.Fprintf(b, "| a plan says | of 100 |")
	for _, rate := range rates {
		fmt.Fprintf(b, " at %s a minute |", figures.Count(rate))
	}
	b.WriteString("\n|---|---:|" + strings.Repeat("---:|", len(rates)) + "\n")
	for _, p := range promises {
		fmt.Fprintf(b, "| %s | %g |", p.said, p.share)
		for _, rate := range rates {
			rollouts, err := l.many(rate, p.canary, true, 150)
			if err != nil {
				return err
			}
			came := 100 * float64(p.came(rollouts)) / float64(len(rollouts))
			fmt.Fprintf(b, " %.0f |", came)
			l.must(came >= p.share-p.slack, "%s, say plans at %g a minute of %g in 100: it came so in %.1f", p.said, rate, p.share, came)
		}
		b.WriteString("\n")
	}
	return nil
}
