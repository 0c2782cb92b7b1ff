// Package report writes what commands found and did: for a terminal, a log, a
// GitHub workflow, or as JSON.
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
	// Action is what the command did: "none", "renew", or a history action.
	Action   string         `json:"action,omitempty"`
	From     *Percentage    `json:"from,omitempty"` // before the action
	Reason   string         `json:"reason,omitempty"`
	Verdict  *judge.Verdict `json:"verdict,omitempty"`
	Evidence *Evidence      `json:"evidence,omitempty"`
	Notes    []string       `json:"notes,omitempty"` // what was repaired, or is wrong
	DryRun   bool           `json:"dry_run,omitempty"`
	Planned  []PlannedWrite `json:"writes,omitempty"`
	Policy   *policy.Policy `json:"policy,omitempty"`
	// Plan is what a rollout that begins can be expected to show.
	Plan *plan.Plan `json:"plan,omitempty"`
	Time time.Time  `json:"time"`
}

// Percentage is rollout.Percentage.
type Percentage = rollout.Percentage

// PlannedWrite is a write of a dry run.
type PlannedWrite struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Evidence is what was measured, in JSON.
type Evidence struct {
	Recent Window `json:"recent"`
	Step   Window `json:"step"`
}

// Window is a time range with both arms.
type Window struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Canary Arm       `json:"canary"`
	Stable Arm       `json:"stable"`
}

// Arm is what one variant did in a window.
type Arm struct {
	Rows      int64   `json:"rows"`
	Requests  float64 `json:"requests"`
	PerSecond float64 `json:"requests_per_second"`
	Errors    float64 `json:"errors"`
	ErrorRate float64 `json:"error_rate"` // 0 to 1
	P50MS     float64 `json:"p50_ms"`
	P95MS     float64 `json:"p95_ms"`
	// Open predictions have not been seen to end. The times are of predictions
	// that succeeded, 0 where none said.
	Open         float64 `json:"open_predictions,omitempty"`
	SkippedRows  int64   `json:"skipped_rows,omitempty"` // that a breaker kept from the variant
	TotalP95MS   float64 `json:"prediction_total_p95_ms,omitempty"`
	PredictP95MS float64 `json:"predict_p95_ms,omitempty"`
}

// NewEvidence returns the JSON form of evidence, nil where nothing was measured.
func NewEvidence(e judge.Evidence) *Evidence {
	if e.Problem != "" {
		return nil
	}
	return &Evidence{Recent: newWindow(e.Recent), Step: newWindow(e.Step)}
}

func newWindow(w judge.Window) Window {
	arm := func(a judge.Arm) Arm {
		return Arm{Rows: a.Rows, Requests: a.Requests, PerSecond: w.Rate(a), Errors: a.Errors,
			ErrorRate: a.ErrorRate(), P50MS: a.P50MS, P95MS: a.P95MS,
			Open: a.Open, SkippedRows: a.Skipped, TotalP95MS: a.TotalP95MS, PredictP95MS: a.PredictP95MS}
	}
	return Window{From: w.From, To: w.To, Canary: arm(w.Canary), Stable: arm(w.Stable)}
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
		sentences("verdict", opinion(*s.Verdict))
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
	if s.Evidence != nil {
		s.writeArms(w)
	}
}

// share says who gets the canary.
func (s Status) share() string {
	switch {
	case s.Phase == string(rollout.Promoted):
		return "all users on " + short(s.Stable)
	case s.Steps > 0 && !rollout.Phase(s.Phase).Ended():
		return fmt.Sprintf("%s %% (step %d of %d)", s.Percentage, s.Step, s.Steps)
	}
	return s.Percentage.String() + " %"
}

// Next says what a person can do with a rollout that waits for one, or "".
func (s Status) Next() string {
	const ways = "orchestrator resume %s goes on from there, promote or rollback ends it"
	switch rollout.Phase(s.Phase) {
	case rollout.Paused:
		return fmt.Sprintf(ways, s.Service)
	case rollout.Inconclusive:
		return fmt.Sprintf("the canary keeps its %s %%: "+ways, s.Percentage, s.Service)
	}
	return ""
}

func (s Status) times(line func(string, string, ...any)) {
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
			line("unattended", "the edge dropped the canary at %s, as nobody judged it", moment(*s.UnattendedAfter))
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

// writeArms tables the step's window.
func (s Status) writeArms(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "  at %s %%\trequests\treq/s\terrors\tp50\tp95\t\n", s.measuredAt())
	for _, row := range s.Evidence.rows() {
		fmt.Fprintf(t, "  %s\t\n", strings.Join(row, "\t"))
	}
	_ = t.Flush()
}

// rows are both arms' name, requests, rate, errors, p50 and p95 in this step. The
// rate is of the recent window, or of the step while that is shorter.
func (e Evidence) rows() [][]string {
	rate := e.Recent
	if e.Step.From.After(e.Recent.From) {
		rate = e.Step
	}
	return [][]string{
		append([]string{"canary"}, armCells(e.Step.Canary, rate.Canary.PerSecond)...),
		append([]string{"stable"}, armCells(e.Step.Stable, rate.Stable.PerSecond)...),
	}
}

func armCells(a Arm, perSecond float64) []string {
	if a.Rows == 0 {
		return []string{"0", "–", "–", "–", "–"}
	}
	return []string{fmt.Sprintf("%.0f", a.Requests), fmt.Sprintf("%.1f", perSecond), judge.FormatMetric(judge.Errors, a.ErrorRate),
		judge.FormatMetric(judge.LatencyP95, a.P50MS), judge.FormatMetric(judge.LatencyP95, a.P95MS)}
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
