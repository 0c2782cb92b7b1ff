// Package report writes what commands found and did: for a terminal, a log, a
// GitHub workflow, or as JSON.
package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/orchestrator/rollout"
)

// Phases that a service without a state of the orchestrator has.
const (
	PhaseAbsent    = "absent"    // no document either: everything passes through
	PhaseUnmanaged = "unmanaged" // a document, but no rollout was started
)

// Status is a service's rollout and, where a command acted or judged, what came
// of it. Its JSON is what --json prints.
type Status struct {
	Service    string             `json:"service"`
	Rollout    string             `json:"rollout,omitempty"`
	Phase      string             `json:"phase"`
	Percentage rollout.Percentage `json:"percentage"`
	Generation int64              `json:"generation"`
	Step       int                `json:"step"`  // number of the present step, 0 to Steps
	Steps      int                `json:"steps"` // of the policy
	Stable     string             `json:"stable,omitempty"`
	Canary     string             `json:"canary,omitempty"`
	Edge       *Edge              `json:"edge,omitempty"`
	Halted     bool               `json:"halted,omitempty"`
	StartedAt  *time.Time         `json:"started_at,omitempty"`
	StepSince  *time.Time         `json:"step_since,omitempty"`
	// BakeEnds is when the step can be promoted at the earliest, lag included.
	BakeEnds        *time.Time `json:"bake_ends,omitempty"`
	Deadline        *time.Time `json:"deadline,omitempty"`
	UnattendedAfter *time.Time `json:"unattended_after,omitempty"`
	// WaitsFor says what a rollout in phase waiting waits for.
	WaitsFor      string `json:"waits_for,omitempty"`
	NeedsApproval bool   `json:"needs_approval,omitempty"`
	// Action is what the command did: "none", "renew", or a history action.
	Action  string         `json:"action,omitempty"`
	From    *Percentage    `json:"from,omitempty"` // before the action
	Reason  string         `json:"reason,omitempty"`
	Verdict *judge.Verdict `json:"verdict,omitempty"`
	Notes   []string       `json:"notes,omitempty"` // what was repaired, or is wrong
	Error   string         `json:"error,omitempty"` // why the service was left out
	DryRun  bool           `json:"dry_run,omitempty"`
	Planned []PlannedWrite `json:"writes,omitempty"`
	Policy  *policy.Policy `json:"policy,omitempty"`
	Time    time.Time      `json:"time"`
	// Plan is what a rollout that begins can be expected to show.
	Plan *plan.Plan `json:"plan,omitempty"`
}

// Percentage is rollout.Percentage.
type Percentage = rollout.Percentage

// PlannedWrite is a write of a dry run.
type PlannedWrite struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// WriteStatus writes a status for people, as seen at its time.
func WriteStatus(w io.Writer, s Status) {
	headline := s.Service
	if s.Rollout != "" {
		headline += "  rollout " + s.Rollout
	}
	fmt.Fprintln(w, headline+"  "+PhaseTitle(s.Phase))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	sentences := func(name, text string) {
		for _, part := range wrap(short(text), columns-len("  percentage  ")) {
			line(name, "%s", part)
			name = ""
		}
	}
	if s.Rollout != "" {
		line("percentage", "%s", s.share())
	}
	for _, target := range []struct{ name, value string }{{"stable", s.Stable}, {"canary", s.Canary}} {
		if target.value != "" {
			line(target.name, "%s", target.value)
		}
	}
	if s.Edge != nil {
		for _, text := range s.Edge.lines {
			sentences("edge", text)
		}
	}
	s.times(line)
	switch {
	case s.Verdict != nil:
		text := opinion(*s.Verdict)
		if s.dropped() {
			text = "of the time before the edge dropped the canary: " + text
		}
		sentences("verdict", text)
		for _, line := range verdictLines(*s.Verdict) {
			sentences(line[0], line[1])
		}
	case s.Reason != "" && !s.Changed():
		sentences("reason", s.Reason)
	}
	if next := s.Next(); next != "" {
		sentences("next", next)
	}
	for _, note := range s.Notes {
		sentences("note", note)
	}
	_ = t.Flush()
	if s.Verdict != nil {
		writeMetrics(w, *s.Verdict, s.measuredAt())
	}
}

// WriteDetails tells people all that the verdict rests on.
func WriteDetails(w io.Writer, s Status) {
	if s.Verdict != nil {
		writeDetails(w, *s.Verdict)
	}
}

// share says who gets the canary.
func (s Status) share() string {
	switch {
	case s.Phase == string(rollout.Promoted):
		return "all users on " + short(s.Stable)
	case s.dropped():
		return fmt.Sprintf("0 %% (%s %% set; the edge dropped the canary at %s)", s.Percentage, moment(*s.UnattendedAfter))
	case s.Steps > 0 && !rollout.Phase(s.Phase).Ended():
		return fmt.Sprintf("%s %% (step %d of %d)", s.Percentage, s.Step, s.Steps)
	}
	return s.Percentage.String() + " %"
}

// dropped reports that the edge serves the canary to nobody, as nobody judged it.
func (s Status) dropped() bool {
	return s.UnattendedAfter != nil && !s.UnattendedAfter.After(s.Time) && s.Percentage > 0 && !rollout.Phase(s.Phase).Ended()
}

// Next says what a person can do with a rollout that waits for one, or "".
func (s Status) Next() string {
	const ways = "orchestrator resume %s goes on from there, promote or rollback ends it"
	if phase := rollout.Phase(s.Phase); s.dropped() && phase != rollout.Inconclusive {
		return "the next look that measures brings the canary back, and the bake starts anew"
	}
	switch rollout.Phase(s.Phase) {
	case rollout.Paused:
		return fmt.Sprintf(ways, s.Service)
	case rollout.Inconclusive:
		if s.dropped() {
			return fmt.Sprintf(ways, s.Service)
		}
		return fmt.Sprintf("the canary keeps its %s %%: "+ways, s.Percentage, s.Service)
	case rollout.Waiting:
		if s.NeedsApproval {
			return fmt.Sprintf("orchestrator approve %s lets it go on, promote or rollback ends it", s.Service)
		}
		return "it goes on by itself; orchestrator promote or rollback ends it"
	}
	return ""
}

func (s Status) times(line func(string, string, ...any)) {
	if s.WaitsFor != "" {
		line("waits for", "%s", s.WaitsFor)
	}
	if s.BakeEnds != nil && s.Phase == string(rollout.Running) {
		if left := s.BakeEnds.Sub(s.Time); left > 0 {
			line("bake", "another %s, until %s", judge.FormatDuration(left), moment(*s.BakeEnds))
		} else {
			line("bake", "over since %s", moment(*s.BakeEnds))
		}
		line("deadline", "%s", moment(*s.Deadline))
	}
	if s.UnattendedAfter != nil {
		if s.UnattendedAfter.After(s.Time) {
			line("unattended", "the edge drops the canary at %s unless it is judged before", moment(*s.UnattendedAfter))
		} else {
			line("unattended", "nobody judged the canary in time")
		}
	}
}

// measuredAt is the percentage that the evidence is of.
func (s Status) measuredAt() Percentage {
	if s.Changed() && s.From != nil {
		return *s.From
	}
	return s.Percentage
}

// PhaseTitle writes a phase in words.
func PhaseTitle(phase string) string {
	if phase == string(rollout.RolledBack) {
		return "rolled back"
	}
	return phase
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

const clock = "15:04:05  "

// Line says in one line what a look or a command did.
func (s Status) Line() string { return s.Time.UTC().Format(clock) + s.event() }

// WriteLine writes Line for people, wrapped.
func WriteLine(w io.Writer, s Status) {
	fmt.Fprint(w, indented(s.Time.UTC().Format(clock), s.event()))
}

func (s Status) event() string {
	var text string
	switch promoted := s.Phase == string(rollout.Promoted); {
	case s.Changed() && promoted:
		text = "promote: all users"
	case promoted:
		text = "promoted, " + s.share()
	case s.From != nil && *s.From != s.Percentage:
		text = fmt.Sprintf("%s %s → %s %%", s.Action, *s.From, s.Percentage)
	case s.Changed():
		text = fmt.Sprintf("%s at %s %%", s.Action, s.Percentage)
	default:
		text = fmt.Sprintf("%s at %s %%", PhaseTitle(s.Phase), s.Percentage)
		if s.Verdict != nil {
			text += ", " + decision(*s.Verdict)
		}
	}
	if s.Reason != "" {
		text += ": " + short(s.Reason)
	}
	return text
}
