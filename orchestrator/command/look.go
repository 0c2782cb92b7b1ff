package command

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func (a *app) stepCommand() *cli.Command {
	return &cli.Command{
		Name: "step", Usage: "judge once and act on it, for a schedule", ArgsUsage: "[service]", Category: "rollout",
		Description: "Repairs what a crash has left, judges the canary once, and raises it, promotes it, holds it or\n" +
			"rolls it back. Exit code 0: done or holding, 4: rolled back, 5: inconclusive.\n\nExample:\n  orchestrator step acme/flux",
		Flags: []cli.Flag{actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
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
	x.settling = false
	o, err := x.observe(ctx)
	if err != nil {
		return report.Status{}, err
	}
	if _, err := x.managed(o, false); err != nil {
		return report.Status{}, err
	}
	r, base, err := x.repair(ctx, o)
	if errors.Is(err, errHalted) {
		return x.yieldToRollback(ctx)
	}
	if err != nil {
		return report.Status{}, err
	}
	status, err := x.judgeAndApply(ctx, base, r.State)
	if errors.Is(err, errHalted) {
		return x.yieldToRollback(ctx)
	}
	status.Notes = append(repairNotes(r), status.Notes...)
	return status, err
}

func (x *session) judgeAndApply(ctx context.Context, base []byte, s rollout.State) (report.Status, error) {
	if s.Phase.Ended() {
		status := x.status(s)
		status.Action = "none"
		return status, nil
	}
	verdict, evidence, err := x.judged(ctx, s)
	if err != nil {
		return report.Status{}, err
	}
	next, changed := s.Judged(verdict, x.by())
	if changed {
		if err := x.apply(ctx, base, next, next.Writes()); err != nil {
			return report.Status{}, err
		}
	}
	status := x.changedStatus(s, next)
	status.Verdict, status.Evidence = &verdict, report.NewEvidence(evidence)
	if !status.Changed() {
		status.Reason = verdict.Reason
	}
	return status, nil
}

// changedStatus describes the way from one state to the next.
func (x *session) changedStatus(before, after rollout.State) report.Status {
	status := x.status(after)
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

// yieldToRollback describes a rollout that someone rolled back while this
// command was at work, having written 0 wherever that was overtaken.
func (x *session) yieldToRollback(ctx context.Context) (report.Status, error) {
	r, err := x.settle(ctx)
	if err != nil {
		return report.Status{}, err
	}
	status := x.status(r.State)
	status.Action = "none"
	status.Notes = append(repairNotes(r), "the rollout was rolled back meanwhile")
	return status, nil
}

func repairNotes(r rollout.Repaired) []string {
	var notes []string
	for _, found := range r.Found {
		notes = append(notes, "repaired: "+found)
	}
	return notes
}
