package command

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

// act prepares a command that changes a rollout.
func (a *app) act(c *cli.Context) (*session, error) {
	x, err := a.session(c)
	if err == nil && c.String("actor") != "" {
		x.actor = c.String("actor")
	}
	return x, err
}

// finish prints what a command did, tells GitHub, and ends it with the code of
// the phase that a judgement has led to.
func (x *session) finish(status report.Status, changes []report.Status) error {
	if changes == nil && status.Changed() {
		changes = []report.Status{status}
	}
	if err := x.print(status); err != nil {
		return err
	}
	if err := x.app.tellGitHub(status, changes); err != nil {
		return err
	}
	return phaseOutcome(status)
}

// phaseOutcome ends a command with the exit code of a judged rollout.
func phaseOutcome(status report.Status) error {
	if code := phaseCode(status.Phase); code != exitDone {
		return outcome(code)
	}
	return nil
}

func phaseCode(phase string) int {
	switch rollout.Phase(phase) {
	case rollout.RolledBack:
		return exitRolledBack
	case rollout.Inconclusive:
		return exitInconclusive
	}
	return exitDone
}

func (x *session) print(status report.Status) error {
	x.plan(&status)
	if x.settings.json {
		return x.app.printJSON(status)
	}
	if x.settings.dryRun && status.Plan == nil {
		fmt.Fprintln(x.app.stdout, dryRunTitle)
	}
	report.WriteStatus(x.app.stdout, status)
	if status.Changed() && !(x.settings.dryRun && status.Plan != nil) {
		report.WriteLine(x.app.stdout, status)
	}
	if x.settings.dryRun {
		printPlan(x.app.stdout, status.Planned)
	}
	return nil
}

// plan adds the writes of a dry run to a status.
func (x *session) plan(status *report.Status) {
	if !x.settings.dryRun {
		return
	}
	status.DryRun = true
	for _, w := range x.planned {
		status.Planned = append(status.Planned, report.PlannedWrite{Key: w.Key, Value: string(w.Value)})
	}
}

// dryRunTitle begins what a dry run prints.
const dryRunTitle = "dry run: nothing is written; this is what there would be"

// mostPrinted is the length up to which a dry run prints a value whole; --json has
// all of it.
const mostPrinted = 600

func printPlan(w io.Writer, planned []report.PlannedWrite) {
	if len(planned) == 0 {
		fmt.Fprintln(w, "dry run: nothing would be written")
		return
	}
	fmt.Fprintln(w, "dry run: would write")
	for _, p := range planned {
		if p.Value == "" {
			fmt.Fprintf(w, "  nothing any more under %s\n", p.Key)
			continue
		}
		if len(p.Value) > mostPrinted {
			fmt.Fprintf(w, "  %s (%d bytes; --json shows them)\n", p.Key, len(p.Value))
			continue
		}
		fmt.Fprintf(w, "  %s = %s\n", p.Key, p.Value)
	}
}

// tellGitHub appends to the files that a workflow names.
func (a *app) tellGitHub(status report.Status, changes []report.Status) error {
	return a.appendGitHub(report.Summary(status, changes), report.Outputs(status))
}

func (a *app) appendGitHub(summary, outputs string) error {
	for _, file := range []struct{ name, text string }{{"GITHUB_STEP_SUMMARY", summary}, {"GITHUB_OUTPUT", outputs}} {
		if path := a.env[file.name]; path != "" {
			if err := appendFile(path, file.text); err != nil {
				return fmt.Errorf("write %s: %w", file.name, err)
			}
		}
	}
	return nil
}

func appendFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err = file.WriteString(text); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
