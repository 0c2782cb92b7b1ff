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
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Service, dash(s.Rollout), PhaseTitle(s.Phase), s.Percentage, dash(short(s.Stable)), dash(short(s.Canary)))
	}
	_ = t.Flush()
}

// WriteHistory tables history entries in the order given.
func WriteHistory(w io.Writer, entries []rollout.Entry) {
	if len(entries) == 0 {
		fmt.Fprintln(w, "no history")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tROLLOUT\tACTION\tPERCENT\tBY\tREASON")
	for _, e := range entries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", moment(e.Time), e.Rollout, e.Action, change(e.From, e.To), e.Actor, e.Reason)
	}
	_ = t.Flush()
}

func change(from, to Percentage) string {
	if from == to {
		return to.String()
	}
	return fmt.Sprintf("%s → %s", from, to)
}

// short cuts a 64-digit version id to its beginning.
func short(text string) string {
	const digits, shown = 64, 12
	if len(text) > digits && text[len(text)-digits-1] == ':' || len(text) > digits && text[len(text)-digits-1] == ' ' {
		return text[:len(text)-digits+shown] + "…"
	}
	return text
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}
