// Package report writes what commands found and did: for a terminal, a log, a
// GitHub workflow, or as JSON.
package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
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
	Time     time.Time      `json:"time"`
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
			ErrorRate: a.ErrorRate(), P50MS: a.P50MS, P95MS: a.P95MS}
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
	if s.Rollout != "" {
		if s.Steps > 0 {
			line("percentage", "%s %% (step %d of %d)", s.Percentage, s.Step, s.Steps)
		} else {
			line("percentage", "%s %%", s.Percentage)
		}
	}
	for _, target := range []struct{ name, value string }{{"stable", s.Stable}, {"canary", s.Canary}} {
		if target.value != "" {
			line(target.name, "%s", target.value)
		}
	}
	s.times(line)
	switch {
	case s.Verdict != nil:
		line("verdict", "%s: %s", s.Verdict.Decision, s.Verdict.Reason)
	case s.Reason != "" && !s.Changed():
		line("reason", "%s", s.Reason)
	}
	for _, note := range s.Notes {
		line("note", "%s", note)
	}
	_ = t.Flush()
	if s.Evidence != nil {
		s.writeArms(w)
	}
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

// writeArms tables the step's window; the rates are of the recent one.
func (s Status) writeArms(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "  \trequests\treq/s\terrors\tp50\tp95\t\n")
	for _, arm := range []struct {
		name         string
		step, recent Arm
	}{{"canary", s.Evidence.Step.Canary, s.Evidence.Recent.Canary}, {"stable", s.Evidence.Step.Stable, s.Evidence.Recent.Stable}} {
		fmt.Fprintf(t, "  %s\t%s\t\n", arm.name, joinTabs(armCells(arm.step, arm.recent)))
	}
	_ = t.Flush()
}

// armCells are requests, rate, errors, p50 and p95.
func armCells(step, recent Arm) []string {
	if step.Rows == 0 {
		return []string{"0", fmt.Sprintf("%.1f", recent.PerSecond), "–", "–", "–"}
	}
	return []string{fmt.Sprintf("%.0f", step.Requests), fmt.Sprintf("%.1f", recent.PerSecond),
		judge.FormatMetric(judge.Errors, step.ErrorRate), judge.FormatMetric(judge.LatencyP95, step.P50MS),
		judge.FormatMetric(judge.LatencyP95, step.P95MS)}
}

func joinTabs(cells []string) string {
	text := ""
	for i, cell := range cells {
		if i > 0 {
			text += "\t"
		}
		text += cell
	}
	return text
}

// PhaseTitle writes a phase in words.
func PhaseTitle(phase string) string {
	if phase == string(rollout.RolledBack) {
		return "rolled back"
	}
	return phase
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Line says in one line what a look or a command did.
func (s Status) Line() string {
	text := s.Time.UTC().Format("15:04:05") + "  "
	switch {
	case s.From != nil && *s.From != s.Percentage && s.Phase != string(rollout.Promoted):
		text += fmt.Sprintf("%s %s → %s %%", s.Action, *s.From, s.Percentage)
	case s.Action != "" && s.Action != "none" && s.Action != "renew":
		text += fmt.Sprintf("%s at %s %%", s.Action, s.Percentage)
		if s.Phase == string(rollout.Promoted) {
			text = s.Time.UTC().Format("15:04:05") + "  promote: all users"
		}
	default:
		text += fmt.Sprintf("%s at %s %%", PhaseTitle(s.Phase), s.Percentage)
		if s.Verdict != nil {
			text += ", " + string(s.Verdict.Decision)
		}
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}
