package command

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

func (a *app) setCommand() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "set the percentage by hand; automation pauses", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "A breach of the limits still rolls back while paused, as long as step or run judges.\n\nExample:\n" +
			"  orchestrator set --percentage 12.5 acme/flux",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "percentage", Usage: "`N`, 0 to 100 with at most two decimals"},
			reasonFlag(), actorFlag(), dryRunFlag(),
		},
		Action: func(c *cli.Context) error {
			basisPoints, err := percentageFlag(c)
			if err != nil {
				return err
			}
			return a.change(c, func(s rollout.State, by rollout.By) (rollout.State, error) {
				return s.Set(basisPoints, c.String("reason"), by)
			})
		},
	}
}

// percentageFlag reads set's flag, in basis points.
func percentageFlag(c *cli.Context) (int, error) {
	if !c.IsSet("percentage") {
		return 0, noPercentage(c)
	}
	if err := refuseStrayArguments(c, 1); err != nil {
		return 0, err
	}
	basisPoints, err := document.ParsePercentage(c.String("percentage"))
	if err != nil {
		return 0, invalid("for instance --percentage 12.5", "%w", err)
	}
	return basisPoints, nil
}

// noPercentage is the error of a set without its flag. Where a number stands
// among the arguments, the hint is the command as it was meant.
func noPercentage(c *cli.Context) error {
	percentage, service := "", "acme/flux"
	for _, argument := range c.Args().Slice() {
		if _, err := document.ParsePercentage(argument); err == nil {
			percentage = argument
		} else if _, err := document.ParseService(argument); err == nil {
			service = argument
		}
	}
	if percentage == "" {
		if err := refuseStrayArguments(c, 1); err != nil {
			return err
		}
		percentage = "0"
	}
	return invalid("for instance orchestrator set --percentage "+percentage+" "+service, "no percentage is given")
}

func (a *app) promoteCommand() *cli.Command {
	return &cli.Command{
		Name: "promote", Usage: "make the canary the stable target, at once", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "Example:\n  orchestrator promote --reason 'checked by hand' acme/flux",
		Flags:       []cli.Flag{reasonFlag(), actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			return a.change(c, func(s rollout.State, by rollout.By) (rollout.State, error) {
				return s.Promote(c.String("reason"), by)
			})
		},
	}
}

func (a *app) resumeCommand() *cli.Command {
	return &cli.Command{
		Name: "resume", Usage: "go on with a paused or inconclusive rollout", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "The bake of the present percentage and the deadline start anew.\n\nExample:\n  orchestrator resume acme/flux",
		Flags:       []cli.Flag{actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			return a.change(c, func(s rollout.State, by rollout.By) (rollout.State, error) { return s.Resume(by) })
		},
	}
}

func reasonFlag() cli.Flag { return &cli.StringFlag{Name: "reason", Usage: "`TEXT` for the history"} }

// change makes a change that a person asked for.
func (a *app) change(c *cli.Context, change func(rollout.State, rollout.By) (rollout.State, error)) error {
	x, err := a.act(c)
	if err != nil {
		return err
	}
	ctx := c.Context
	o, err := x.observe(ctx)
	if err != nil {
		return err
	}
	s, err := x.managed(o, true)
	if err != nil {
		return err
	}
	status, err := x.changeFrom(ctx, o, s, change)
	if errors.Is(err, errHalted) {
		_, _ = x.settleOne(ctx) // the next command does it as well
		return refused("begin a new rollout with orchestrator start", "rollout %s was rolled back meanwhile", s.ID())
	}
	if err != nil {
		return err
	}
	if err := x.print(status); err != nil {
		return err
	}
	return a.tellGitHub(status, []report.Status{status})
}

func (x *session) changeFrom(ctx context.Context, o rollout.Observed, s rollout.State, change func(rollout.State, rollout.By) (rollout.State, error)) (report.Status, error) {
	base, notes := o.StateText, []string(nil)
	if o.State != nil {
		r, repaired, err := x.repair(ctx, o)
		if err != nil {
			return report.Status{}, err
		}
		s, base, notes = r.State, repaired, repairNotes(r)
	}
	next, err := change(s, x.by())
	var stop *rollout.Refused
	if errors.As(err, &stop) {
		return report.Status{}, refused(stop.Hint, "%w", err)
	}
	if err != nil {
		return report.Status{}, err
	}
	if next.Document.Generation != s.Document.Generation {
		if err := next.Document.Validate(); err != nil {
			return report.Status{}, refused("orchestrator status shows the targets", "write rollout document %s: %w", x.service, err)
		}
		if err := x.apply(ctx, base, next, next.Writes()); err != nil {
			return report.Status{}, err
		}
	}
	status := x.changedStatus(s, next)
	status.Notes = notes
	return status, nil
}

func (a *app) rollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "send everyone to stable, at once and for good", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "Halts the rollout first, which no command that is at work can undo, then writes 0 %. After a\n" +
			"promotion the former stable target is restored. Waits for nobody and asks no analytics.\n\nExample:\n" +
			"  orchestrator rollback --reason 'customers complain' acme/flux",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "rollout", Usage: "`ID` of the rollout to halt where nothing can be read"},
			reasonFlag(), actorFlag(), dryRunFlag(),
		},
		Action: func(c *cli.Context) error {
			x, err := a.act(c)
			if err != nil {
				return err
			}
			reason := c.String("reason")
			if reason == "" {
				reason = "rolled back by hand"
			}
			status, err := x.rollback(c.Context, reason, c.String("rollout"))
			if err != nil {
				return err
			}
			if err := x.print(status); err != nil {
				return err
			}
			return a.tellGitHub(status, []report.Status{status})
		},
	}
}

// rollback halts what can be known of the service's rollout, and writes 0 where
// there is a state or a document to do it with. Of a store that cannot be read
// id, unless "", is halted.
func (x *session) rollback(ctx context.Context, reason, id string) (report.Status, error) {
	o, err := x.observe(ctx)
	if err != nil && id != "" {
		return x.haltOnly(ctx, id)
	}
	if err != nil {
		return report.Status{}, &failure{code: exitError, err: err, hint: "with --rollout ID the rollout is halted without reading; the answers' x-perch-rollout header names it"}
	}
	s := x.rollbackState(o)
	if s == nil {
		if id, err = x.unreadableRollout(ctx, o); err != nil {
			return report.Status{}, err
		}
		return x.haltOnly(ctx, id)
	}
	next := *s // written again even if it is rolled back already: cheap, and sure
	if s.Phase != rollout.RolledBack {
		next = s.Rollback(reason, x.by())
		next.Document.Generation = max(next.Document.Generation, o.Generation()+1)
		next.Last.Generation = next.Document.Generation
	}
	if err := x.apply(ctx, o.StateText, next, next.Writes()); err != nil {
		return report.Status{}, err
	}
	return x.changedStatus(*s, next), nil
}

// rollbackState returns the state to roll back, derived from the document where
// there is no readable one of the rollout that users see.
func (x *session) rollbackState(o rollout.Observed) *rollout.State {
	seen := o.Document != nil && o.Document.BasisPoints > 0
	if o.State != nil && (!seen || o.Document.Rollout == o.State.ID()) {
		return o.State
	}
	o.Halted = "" // a rollback made in part is made again
	if s, err := x.managed(rollout.Observed{Document: o.Document}, true); err == nil {
		return &s
	}
	return o.State
}

// haltOnly halts a rollout of which neither state nor document can be read.
func (x *session) haltOnly(ctx context.Context, id string) (report.Status, error) {
	if id == "" {
		return report.Status{}, refused("orchestrator list shows the services", "no rollout of %s is known: there is nothing to roll back", x.service)
	}
	halt := rollout.Write{Kind: rollout.WriteHalt, Key: x.service.HaltKey(), Value: []byte(id)}
	if x.settings.dryRun {
		x.planned = append(x.planned, halt)
	} else if err := x.store.Put(ctx, halt.Key, halt.Value); err != nil {
		return report.Status{}, err
	}
	return report.Status{
		Service: x.service.String(), Rollout: id, Phase: string(rollout.RolledBack), Halted: true, Time: x.now(),
		Action: string(rollout.ActionRollback), Reason: "halted; the percentage could not be written, as neither state nor document is readable",
		Notes: []string{"write a new document with orchestrator start --stable …"},
	}, nil
}

// unreadableRollout returns the id of the rollout to halt, as the document or
// else the history knows it; "" where all can be read and there is none.
func (x *session) unreadableRollout(ctx context.Context, o rollout.Observed) (string, error) {
	switch {
	case o.Document != nil && o.StateProblem == nil:
		return "", nil
	case o.Document != nil:
		return o.Document.Rollout, nil
	}
	entries, err := x.history(ctx)
	if err != nil || len(entries) == 0 {
		return "", err
	}
	return entries[len(entries)-1].Rollout, nil
}
