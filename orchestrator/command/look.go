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
	m := x.stepAll(ctx, []*session{x})[0]
	return m.status, m.err
}

// judgeAndApply judges each service and makes the changes that follow.
func (a *account) judgeAndApply(ctx context.Context, members []*member) {
	changes := map[*member]*change{}
	var list []*change
	for _, m := range members {
		s := m.repaired.State
		if s.Phase.Ended() {
			m.status = m.describe(s)
			m.status.Action = "none"
			continue
		}
		verdict, evidence, err := m.judged(ctx, s)
		if err != nil {
			m.err = err
			continue
		}
		next, changed := s.Judged(verdict, a.by())
		m.status = m.changedStatus(s, next)
		m.status.Verdict, m.status.Evidence = &verdict, report.NewEvidence(evidence)
		if !m.status.Changed() {
			m.status.Reason = verdict.Reason
		}
		if changed {
			changes[m] = &change{session: m.session, base: m.base, next: next, writes: next.Writes()}
			list = append(list, changes[m])
		}
	}
	a.applyAll(ctx, list)
	for _, m := range members {
		m.status.Notes = append(repairNotes(m.repaired), m.status.Notes...)
		if c := changes[m]; c != nil {
			m.err = c.err
		}
	}
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
