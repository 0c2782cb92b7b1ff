package command

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/policy"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func (a *app) configureCommand() *cli.Command {
	return &cli.Command{
		Name: "configure", Usage: "write the policy file's edge settings into the document", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "A start writes them too. This does it at once, and changes neither percentage nor bake of a\n" +
			"rollout that runs. Only the file's section edge counts.\n\nExample:\n  orchestrator configure --dry-run acme/flux",
		Flags: []cli.Flag{actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			x, err := a.act(c)
			if err != nil {
				return err
			}
			p, err := a.policy(x.settings)
			if err != nil {
				return err
			}
			if p.Edge.IsEmpty() {
				return invalid("for instance edge: {timeout_ms: 5000} in perch.yaml, or name the file by --policy", "the policy file has no section edge")
			}
			status, err := x.configure(c.Context, p.Edge)
			if errors.Is(err, errHalted) {
				return refused("run the command again", "the rollout was rolled back meanwhile")
			}
			if err != nil {
				return err
			}
			return x.print(status)
		},
	}
}

func (x *session) configure(ctx context.Context, edge policy.Edge) (report.Status, error) {
	o, err := x.observe(ctx)
	if err != nil {
		return report.Status{}, err
	}
	if o.State == nil || o.State.Phase.Ended() {
		return x.configureDocument(ctx, o, edge)
	}
	return x.changeFrom(ctx, o, *o.State, func(s rollout.State, by rollout.By) (rollout.State, error) {
		s, err := s.Configure(edge, by)
		return s, configureError(err)
	})
}

// configureDocument changes a document that no rollout is at work on.
func (x *session) configureDocument(ctx context.Context, o rollout.Observed, edge policy.Edge) (report.Status, error) {
	if o.Document == nil {
		return report.Status{}, refused("orchestrator init or start writes the first one", "%w", noDocument(x.service, o))
	}
	d, err := edge.Apply(o.Document)
	if err != nil {
		return report.Status{}, configureError(err)
	}
	next := *d
	next.Generation = o.Generation() + 1
	w := rollout.Write{Kind: rollout.WriteDocument, Key: x.service.RolloutKey(), Value: next.Encode()}
	if x.settings.dryRun {
		x.planned = append(x.planned, w)
	} else if err := x.store.Put(ctx, w.Key, w.Value); err != nil {
		return report.Status{}, err
	}
	status := documentStatus(&next, x.now())
	if o.State != nil {
		status.Phase = string(o.State.Phase)
	}
	status.Reason = "the document has its edge settings: " + strings.Join(edge.Fields(), ", ")
	return status, nil
}

func configureError(err error) error {
	if err == nil {
		return nil
	}
	return invalid("orchestrator validate checks the policy file", "configure edge: %w", err)
}
