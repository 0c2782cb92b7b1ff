package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/policy"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

func (a *app) startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Usage: "begin a rollout at the policy's first step", ArgsUsage: "[service]", Category: "rollout",
		Description: "A TARGET is version=owner/name:id, deployment=owner/name, model=owner/name or url=https://….\n" +
			"With url+credentials=https://… the target gets the clients' Authorization and cookies.\n" +
			"It says beforehand, by what stable served lately, what the steps can detect and when they should end.\n" +
			"With --steps auto the steps are laid by that; --dry-run writes nothing.\n" +
			"What the policy file's section edge says is written into the document: targets, rules, user, overrides,\n" +
			"time limits, fallback, outcomes, access. What it leaves out stays as it is in the present document.\n\nExample:\n" +
			"  orchestrator start --canary version=acme/flux:5c7d… acme/flux",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "canary", Usage: "the new `TARGET`"},
			&cli.StringFlag{Name: "stable", Usage: "the `TARGET` that serves now (default: the document's)"},
			&cli.StringFlag{Name: "steps", Usage: "`PERCENTAGES` such as 5,20,50,100, or auto: by the traffic (default: the policy's)"},
			&cli.StringFlag{Name: "rollout", Usage: "`ID` of the rollout, never used before (default: the date and a letter)"},
			actorFlag(), dryRunFlag(),
		},
		Action: func(c *cli.Context) error {
			n, err := newRollout(c)
			if err != nil {
				return err
			}
			steps, err := stepsFlag(c)
			if err != nil {
				return err
			}
			x, err := a.act(c)
			if err != nil {
				return err
			}
			status, err := x.start(c.Context, n, steps)
			if err != nil {
				return err
			}
			if x.settings.dryRun && !x.settings.json {
				fmt.Fprintln(a.stdout, dryRunTitle)
			}
			if status.Plan != nil && !x.settings.json {
				report.WritePlan(a.stdout, *status.Plan, status.Time)
			}
			if err := x.print(status); err != nil {
				return err
			}
			return a.tellGitHub(status, []report.Status{status})
		},
	}
}

func (x *session) start(ctx context.Context, n rollout.New, steps ladder) (report.Status, error) {
	p, err := x.app.policy(x.settings)
	if err != nil {
		return report.Status{}, err
	}
	n.Service = x.service
	if n.Policy, err = steps.of(p); err != nil {
		return report.Status{}, err
	}
	o, err := x.observe(ctx)
	if err != nil {
		return report.Status{}, err
	}
	if err := refuseRunning(o); err != nil {
		return report.Status{}, err
	}
	base := o.StateText
	if o.State != nil {
		r, repaired, err := x.repair(ctx, o)
		if err != nil {
			return report.Status{}, err
		}
		base, o.Document = repaired, documentAfter(o, r)
		n.After = r.State.Document.Generation
	}
	if err := x.complete(ctx, &n, o); err != nil {
		return report.Status{}, err
	}
	expected, err := x.preview(ctx, &n)
	if err != nil {
		return report.Status{}, err
	}
	var notes []string
	if n.ForeignAliases, notes, err = x.foreignAliases(ctx, n.Stable, n.Canary); err != nil {
		return report.Status{}, err
	}
	s, err := rollout.Start(n, x.by())
	if err != nil {
		return report.Status{}, invalid("the targets are checked as they will stand in the document", "start rollout of %s: %w", x.service, err)
	}
	if err := x.apply(ctx, base, s, s.Writes()); err != nil {
		return report.Status{}, err
	}
	if err := x.dropStaleAliases(ctx, s); err != nil {
		notes = append(notes, "aliases of earlier rollouts were not removed: "+err.Error())
	}
	status := x.describe(s)
	from := s.Last.From
	status.Action, status.From, status.Notes, status.Plan = string(s.Last.Action), &from, notes, &expected
	return status, nil
}

// newRollout reads start's own flags, before anything is asked of the account.
func newRollout(c *cli.Context) (n rollout.New, err error) {
	if err := refuseStrayArguments(c, 1); err != nil {
		return n, err
	}
	n.Rollout = c.String("rollout")
	if c.String("canary") == "" {
		return n, invalid("for instance --canary version=acme/flux:<id>", "no canary is given")
	}
	if n.Canary, err = parseTarget("canary", c.String("canary")); err != nil {
		return n, err
	}
	if c.IsSet("stable") {
		if n.Stable, err = parseTarget("stable", c.String("stable")); err != nil {
			return n, err
		}
	}
	if n.Rollout != "" && !document.IsSegment(n.Rollout) {
		return n, invalid("use letters, digits, '.', '_' and '-', at most 100", "rollout id %q is not allowed", n.Rollout)
	}
	return n, nil
}

// ladder are the steps that --steps gives: none, a list, or auto.
type ladder struct {
	auto bool
	list []policy.Step
}

func stepsFlag(c *cli.Context) (l ladder, err error) {
	text := c.String("steps")
	if l.auto = text == "auto"; l.auto || !c.IsSet("steps") {
		return l, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		basisPoints, err := document.ParsePercentage(strings.TrimSpace(item))
		if err != nil {
			return l, invalid("give auto, or rising percentages such as 5,20,50,100", "--steps %q: %w", text, err)
		}
		l.list = append(l.list, policy.Step{BasisPoints: basisPoints})
	}
	return l, nil
}

// of returns the policy with these steps.
func (l ladder) of(p policy.Policy) (policy.Policy, error) {
	switch {
	case l.auto:
		p.Auto = true
	case l.list != nil:
		p = p.Laid(l.list)
		p.Auto = false
		return p, checkSteps(p)
	}
	return p, nil
}

func refuseRunning(o rollout.Observed) error {
	const hint = "orchestrator rollback or promote ends it; orchestrator status shows it"
	switch {
	case o.State != nil && !o.State.Phase.Ended() && !o.IsHalted():
		return refused(hint, "rollout %s is %s at %s %%", o.State.ID(), o.State.Phase, document.FormatPercentage(o.State.Document.BasisPoints))
	case o.State == nil && o.Document != nil && o.Document.BasisPoints > 0 && o.Halted != o.Document.Rollout:
		return refused(hint, "rollout %s is at %s %%", o.Document.Rollout, document.FormatPercentage(o.Document.BasisPoints))
	}
	return nil
}

// documentAfter is the document that stands after a repair.
func documentAfter(o rollout.Observed, r rollout.Repaired) *document.Document {
	for _, w := range r.Writes {
		if w.Kind == rollout.WriteDocument {
			return r.State.Document.Document
		}
	}
	return o.Document
}

// complete fills in what the flags left open from what the store holds.
func (x *session) complete(ctx context.Context, n *rollout.New, o rollout.Observed) error {
	n.Base, n.After = o.Document, max(n.After, o.Generation())
	if n.Stable.Equal(document.Target{}) {
		if o.Document == nil {
			return invalid("give --stable, the target that serves now", "%w", noDocument(x.service, o))
		}
		n.Stable = o.Document.Targets[o.Document.Target(document.Stable)]
	}
	if n.Stable.Equal(n.Canary) {
		return invalid("give another --canary", "stable and canary are both %s", n.Canary)
	}
	return x.completeID(ctx, n, o)
}

func noDocument(service document.Service, o rollout.Observed) error {
	if o.DocumentProblem != nil {
		return fmt.Errorf("read rollout document %s: %w", service, o.DocumentProblem)
	}
	return errors.New("service " + service.String() + " has no document yet")
}

// completeID chooses an id that was never used, or checks the one that was given.
func (x *session) completeID(ctx context.Context, n *rollout.New, o rollout.Observed) error {
	keys, err := x.store.List(ctx, x.service.HistoryPrefix())
	if err != nil {
		return err
	}
	used := []string{o.Halted}
	for _, key := range keys {
		id, _, _ := strings.Cut(strings.TrimPrefix(key, x.service.HistoryPrefix()), ":")
		used = append(used, id)
	}
	if o.State != nil {
		used = append(used, o.State.ID())
	}
	if o.Document != nil {
		used = append(used, o.Document.Rollout)
	}
	if n.Rollout == "" {
		n.Rollout = freeID(x.app.clock.Now(), used)
	}
	if slices.Contains(used, n.Rollout) {
		return invalid("leave --rollout out to have one chosen", "rollout id %s was used before", n.Rollout)
	}
	return nil
}

// freeID returns the first of the day's ids, date and letter, that is not used.
func freeID(now time.Time, used []string) string {
	for i := 0; ; i++ {
		letters := ""
		for n := i; n >= 0; n = n/26 - 1 {
			letters = string(rune('a'+n%26)) + letters
		}
		if id := now.UTC().Format("2006-01-02-") + letters; !slices.Contains(used, id) {
			return id
		}
	}
}
