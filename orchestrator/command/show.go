package command

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

func (a *app) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show a rollout and what the judge sees", ArgsUsage: "[service]", Category: "see",
		Description: "Writes nothing. With --watch it shows it again at every look, until the rollout has ended.\n\nExample:\n  orchestrator status --watch acme/flux",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Usage: "go on until the rollout has ended", DisableDefaultText: true},
			verboseFlag(),
		},
		Action: func(c *cli.Context) error {
			x, err := a.session(c)
			if err != nil {
				return err
			}
			if c.Bool("watch") {
				return x.watch(c.Context)
			}
			status, err := x.look(c.Context)
			if err != nil {
				return err
			}
			if x.settings.json {
				return a.printJSON(status)
			}
			report.WriteStatus(a.stdout, status)
			if c.Bool("verbose") {
				report.WriteDetails(a.stdout, status)
			}
			return nil
		},
	}
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Usage: "show all that the verdict rests on", DisableDefaultText: true}
}

// look describes the service, and judges it without acting.
func (x *session) look(ctx context.Context) (report.Status, error) {
	m := &member{session: x}
	x.observeAll(ctx, []*member{m})
	if m.err != nil {
		return report.Status{}, m.err
	}
	m.status = x.observedStatus(m.seen)
	if s := m.seen.State; s != nil && !s.Phase.Ended() {
		m.repaired.State = *s
		x.judgeAll(ctx, []*member{m})
		if m.err != nil {
			return m.status, m.err
		}
		m.status.Verdict, m.status.Notes = m.verdict, append(m.status.Notes, m.notes...)
	}
	return m.status, nil
}

// observedStatus describes what the store holds, with what is wrong about it.
func (x *session) observedStatus(o rollout.Observed) report.Status {
	status := report.Status{Service: x.service.String(), Phase: report.PhaseAbsent, Time: x.now()}
	switch {
	case o.State != nil:
		status = x.describe(*o.State)
		for _, found := range rollout.Repair(o, x.by()).Found {
			status.Notes = append(status.Notes, found+"; the next command that writes repairs it")
		}
	case o.Document != nil:
		status = documentStatus(o.Document, x.now())
	}
	status.Halted = status.Rollout != "" && o.Halted == status.Rollout
	if o.StateProblem != nil {
		status.Notes = append(status.Notes, o.StateProblem.Error())
	}
	if o.DocumentProblem != nil {
		status.Notes = append(status.Notes, "read rollout document: "+o.DocumentProblem.Error())
	}
	return status
}

func (x *session) watch(ctx context.Context) error {
	progress := x.progress()
	defer progress.Close()
	for {
		status, err := x.look(ctx)
		if ctx.Err() != nil {
			return outcome(exitInterrupted)
		}
		if err != nil {
			return err
		}
		pause := defaultLook
		if status.Policy != nil {
			pause = time.Duration(status.Policy.Look)
		}
		progress.Look(status, status.Time.Add(pause))
		if rollout.Phase(status.Phase).Ended() {
			return nil
		}
		if x.app.clock.Sleep(ctx, pause) != nil {
			return outcome(exitInterrupted)
		}
	}
}

func (a *app) listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the services and their rollouts", Category: "see",
		Description: "Example:\n  orchestrator list --json",
		Action: func(c *cli.Context) error {
			if err := refuseStrayArguments(c, 0); err != nil {
				return err
			}
			s, err := a.settings(c)
			if err != nil {
				return err
			}
			x, err := a.account(s)
			if err != nil {
				return err
			}
			list, err := x.list(c.Context)
			if err != nil {
				return err
			}
			if s.json {
				return a.printJSON(list)
			}
			report.WriteList(a.stdout, list)
			return nil
		},
	}
}

// list describes every service that has a document.
func (x *account) list(ctx context.Context) ([]report.Status, error) {
	keys, err := x.store.List(ctx, "rollout:")
	if err != nil {
		return nil, err
	}
	var services []document.Service
	var wanted []string
	for _, key := range keys {
		if service, ok := document.ServiceOfRolloutKey(key); ok {
			services = append(services, service)
			wanted = append(wanted, key, service.StateKey(), service.HaltKey())
		}
	}
	values, err := x.store.GetMany(ctx, wanted)
	if err != nil {
		return nil, err
	}
	list := []report.Status{}
	for _, service := range services {
		one := x.session(service)
		o := rollout.Observe(service, values)
		status := one.observedStatus(o)
		status.Notes, status.Policy, status.Edge = nil, nil, nil
		list = append(list, status)
	}
	return list, nil
}
