package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
)

// Rechecked is a stored verdict that was computed again from what is stored with it.
type Rechecked struct {
	Time         time.Time      `json:"time"`
	Rollout      string         `json:"rollout"`
	Action       string         `json:"action"`
	Stored       judge.Decision `json:"stored"`
	StoredReason string         `json:"stored_reason"`
	Decision     judge.Decision `json:"decision"`
	Reason       string         `json:"reason"`
}

// Differs reports that the verdict came out otherwise.
func (r Rechecked) Differs() bool { return r.Decision != r.Stored || r.Reason != r.StoredReason }

// WriteRechecked tables rechecked verdicts, and tells of those that differ.
func WriteRechecked(w io.Writer, list []Rechecked) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no verdicts")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tROLLOUT\tACTION\tSTORED\tRECHECKED")
	for _, r := range list {
		now := string(r.Decision)
		if !r.Differs() {
			now = "the same"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", moment(r.Time), r.Rollout, r.Action, r.Stored, now)
	}
	_ = t.Flush()
	for _, r := range list {
		if r.Differs() {
			fmt.Fprint(w, indented("stored:    ", short(r.StoredReason)))
			fmt.Fprint(w, indented("rechecked: ", short(r.Reason)))
		}
	}
}

// WriteVerdicts tells all that the verdicts of history entries rest on.
func WriteVerdicts(w io.Writer, entries []rollout.Entry) {
	for _, e := range entries {
		if e.Verdict == nil {
			continue
		}
		fmt.Fprintf(w, "\n%s  %s %s\n", moment(e.Time), e.Action, change(e.From, e.To))
		fmt.Fprint(w, indented("  ", opinion(*e.Verdict)))
		writeMetrics(w, *e.Verdict, Percentage(e.Verdict.Step.BasisPoints))
		writeDetails(w, *e.Verdict)
	}
}
