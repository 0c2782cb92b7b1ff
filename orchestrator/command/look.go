package command

import (
	"context"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func (a *app) stepCommand() *cli.Command {
	return &cli.Command{
		Name: "step", Usage: "judge once and act on it, for a schedule", ArgsUsage: "[service]", Category: "rollout",
		Description: "Repairs what a crash has left, judges the canary once, and raises it, promotes it, holds it or\n" +
			"rolls it back. Exit code 0: done or holding, 4: rolled back, 5: inconclusive.\n" +
			fleetHelp + "\nExamples:\n  orchestrator step acme/flux\n  orchestrator step --all",
		Flags: []cli.Flag{allFlag(), actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			if c.Bool("all") {
				return a.stepFleet(c)
			}
			x, err := a.act(c)
			if err != nil {
				return err
			}
			status, err := x.step(c.Context)
			if err != nil {
				return err
			}
			if note, _ := x.followLook(c.Context, status); note != "" {
				status.Notes = append(status.Notes, note)
			}
			return x.finish(status, nil)
		},
	}
}

// step repairs, judges once, and makes the change that follows.
func (x *session) step(ctx context.Context) (report.Status, error) {
	m := &member{session: x}
	x.observeAll(ctx, []*member{m})
	x.stepAll(ctx, []*member{m})
	return m.status, m.err
}

// changedStatus describes the way from one state to the next.
func (x *session) changedStatus(before, after rollout.State) report.Status {
	status := x.describe(after)
	switch {
	case after.Document.Generation == before.Document.Generation && after.Phase == before.Phase:
		status.Action = "none"
	case !after.IsChange():
		status.Action = "renew"
	default:
		from := after.Last.From
		status.Action, status.From = string(after.Last.Action), &from
	}
	return status
}

func repairNotes(r rollout.Repaired) []string {
	var notes []string
	for _, found := range r.Found {
		notes = append(notes, "repaired: "+found)
	}
	return notes
}
