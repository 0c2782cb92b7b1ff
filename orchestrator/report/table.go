package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"perch/orchestrator/rollout"
)

// WriteList tables the rollouts of all services.
func WriteList(w io.Writer, list []Status) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no services")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tROLLOUT\tPHASE\tPERCENT\tSTABLE\tCANARY")
	for _, s := range list {
		percentage := s.Percentage.String()
		if s.Phase == string(rollout.Promoted) {
			percentage = "–"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Service, dash(s.Rollout), PhaseTitle(s.Phase), percentage, dash(short(s.Stable)), dash(short(s.Canary)))
	}
	_ = t.Flush()
}

// reasonColumns is the width of a reason in a table on a terminal.
const reasonColumns = 50

// WriteHistory tables history entries in the order given: each in one line,
// unless it is for a terminal.
func WriteHistory(w io.Writer, entries []rollout.Entry, terminal bool) {
	if len(entries) == 0 {
		fmt.Fprintln(w, "no history")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tROLLOUT\tACTION\tPERCENT\tBY\tREASON")
	for _, e := range entries {
		reason := []string{short(e.Reason)}
		if terminal {
			reason = wrap(reason[0], reasonColumns)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", moment(e.Time), e.Rollout, e.Action, change(e.From, e.To), e.Actor, reason[0])
		for _, more := range reason[1:] {
			fmt.Fprintf(t, "\t\t\t\t\t%s\n", more)
		}
	}
	_ = t.Flush()
}

func change(from, to Percentage) string {
	if from == to {
		return to.String()
	}
	return fmt.Sprintf("%s → %s", from, to)
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
