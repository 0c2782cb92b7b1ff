package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"perch/orchestrator/rollout"
)

// FleetLine says in one line what a look did to one service of many.
func (s Status) FleetLine() string {
	text := s.event()
	if s.Error != "" {
		text = "left out: " + short(s.Error)
	}
	return s.Time.UTC().Format(clock) + s.Service + "  " + text
}

// WriteFleet tables the services of a look, and what the judge says of each.
func WriteFleet(w io.Writer, list []Status) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no rollout is at work")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tROLLOUT\tPHASE\tPERCENT\tVERDICT\tNEEDS")
	for _, s := range list {
		fmt.Fprintln(t, strings.Join(s.fleetCells(), "\t"))
	}
	_ = t.Flush()
	fmt.Fprintln(w, FleetCount(list))
}

func (s Status) fleetCells() []string {
	if s.Error != "" {
		return []string{s.Service, dash(s.Rollout), dash(PhaseTitle(s.Phase)), "–", "left out", "–"}
	}
	percentage, verdict, more := s.Percentage.String(), "–", "–"
	if s.Phase == string(rollout.Promoted) {
		percentage = "–"
	}
	if s.Verdict != nil {
		verdict, more = decision(*s.Verdict), dash(needs(*s.Verdict))
	}
	return []string{s.Service, dash(s.Rollout), PhaseTitle(s.Phase), percentage, verdict, more}
}

// FleetCount counts the services by phase, in a line.
func FleetCount(list []Status) string {
	counts, left := map[string]int{}, 0
	for _, s := range list {
		if s.Error != "" {
			left++
			continue
		}
		counts[s.Phase]++
	}
	var parts []string
	for _, phase := range []rollout.Phase{rollout.Running, rollout.Waiting, rollout.Paused, rollout.Inconclusive, rollout.Promoted, rollout.RolledBack} {
		if n := counts[string(phase)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, PhaseTitle(string(phase))))
		}
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("%d left out", left))
	}
	return strings.Join(parts, ", ")
}

// FleetSummary is a Markdown page for $GITHUB_STEP_SUMMARY on many services.
func FleetSummary(list, changes []Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Rollouts: %s\n", cell(dash(FleetCount(list))))
	if len(changes) > 0 {
		b.WriteString("\n| time (UTC) | service | change | percentage | reason |\n|---|---|---|---|---|\n")
		for _, c := range changes {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Time.UTC().Format("15:04:05"), cell(c.Service), changeCells(c))
		}
	}
	if len(list) > 0 {
		b.WriteString("\n| service | rollout | phase | percentage | verdict | needs |\n|---|---|---|---|---|---|\n")
		for _, s := range list {
			cells := s.fleetCells()
			for i := range cells {
				cells[i] = cell(cells[i])
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	for _, s := range list {
		if s.Error != "" {
			fmt.Fprintf(&b, "\n%s was left out: %s\n", cell(s.Service), cell(s.Error))
		}
	}
	return b.String() + "\n"
}

// FleetOutputs are the lines for $GITHUB_OUTPUT on many services.
func FleetOutputs(list, changes []Status) string {
	var raised, back, left []string
	for _, c := range changes {
		if c.Phase == string(rollout.RolledBack) {
			back = append(back, c.Service)
		} else {
			raised = append(raised, c.Service)
		}
	}
	for _, s := range list {
		if s.Error != "" {
			left = append(left, s.Service)
		}
	}
	var b strings.Builder
	for _, o := range []struct {
		name     string
		services []string
	}{{"changed", raised}, {"rolled_back", back}, {"left_out", left}} {
		b.WriteString(output(o.name, strings.Join(o.services, " ")))
	}
	return b.String()
}
