package command

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func (a *app) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "judge at every look until the rollout ends", ArgsUsage: "[service]", Category: "rollout",
		Description: "Ends when the rollout is promoted or paused (exit code 0), rolled back (4) or inconclusive (5).\n" +
			"Interrupted, it leaves the rollout as it is: run it again to go on.\n" +
			fleetHelp + "It goes on as long as one of them is at work.\n\nExamples:\n  orchestrator run acme/flux\n  orchestrator run --all",
		Flags: []cli.Flag{allFlag(), actorFlag()},
		Action: func(c *cli.Context) error {
			if c.Bool("all") {
				return a.runFleet(c)
			}
			x, err := a.act(c)
			if err != nil {
				return err
			}
			if x.settings.dryRun {
				return errNoDryRun
			}
			return x.run(c.Context)
		},
	}
}

var errNoDryRun = invalid("orchestrator step --dry-run shows what one look would do", "run has no dry run")

// run looks until the rollout ends, and tells GitHub how far it came.
func (x *session) run(ctx context.Context) error {
	l := &loop{session: x, progress: x.progress()}
	err := l.run(ctx)
	l.progress.Close()
	if l.looked {
		if tellErr := x.app.tellGitHub(l.last, l.changes); err == nil {
			err = tellErr
		}
	}
	if err != nil {
		return err
	}
	return phaseOutcome(l.last)
}

func (x *session) progress() report.Progress {
	switch {
	case x.settings.json:
		return report.JSONLines{W: x.app.stdout}
	case x.app.terminal && x.app.env["TERM"] != "dumb":
		return &report.Live{W: x.app.stdout}
	}
	return &report.Plain{W: x.app.stdout}
}

// loop is a run at work.
type loop struct {
	*session
	progress report.Progress
	looked   bool
	last     report.Status
	changes  []report.Status
	failing  time.Time // since when every look has failed, or zero
	astray   bool      // the last look could not follow predictions, which was said
}

// defaultLook is the pause after a look that failed before any succeeded.
const defaultLook = time.Minute

func (l *loop) run(ctx context.Context) error {
	for {
		status, err := l.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now := l.app.clock.Now()
		if err != nil {
			if err = l.failed(now, err); err != nil {
				return err
			}
		} else {
			l.failing, l.looked, l.last = time.Time{}, true, status
			if status.Changed() {
				l.changes = append(l.changes, status)
			}
			l.progress.Look(status, now.Add(l.look()))
			if !isAtWork(status) {
				if next := status.Next(); next != "" && !l.settings.json {
					l.progress.Note(now, next)
				}
				return nil
			}
			l.follow(ctx, status)
		}
		if err := l.pause(ctx, now.Add(l.look())); err != nil {
			return err
		}
	}
}

// isAtWork reports that a run goes on: that time or a verdict moves the rollout.
func isAtWork(s report.Status) bool {
	return s.Phase == string(rollout.Running) || s.Phase == string(rollout.Waiting)
}

// follow asks about predictions, and says once what keeps it from that.
func (l *loop) follow(ctx context.Context, status report.Status) {
	note, problem := l.followLook(ctx, status)
	if problem && !l.astray {
		l.progress.Note(l.app.clock.Now(), note)
	}
	l.astray = problem
}

func (l *loop) look() time.Duration {
	if l.last.Policy == nil {
		return defaultLook
	}
	return time.Duration(l.last.Policy.Look)
}

// failed decides whether to go on after a look that failed: a lost race is over
// at the next look, and so is a fault of the network. A run that has never
// looked, or not for as long as the edge keeps the canary, gives up.
func (l *loop) failed(now time.Time, err error) error {
	var f *failure
	lostRace := errors.As(err, &f) && f.code == exitLostRace
	if !l.looked && !lostRace || f != nil && slices.Contains([]int{exitUsage, exitRefused}, f.code) {
		return err
	}
	if l.failing.IsZero() {
		l.failing = now
	}
	if l.last.Policy != nil && now.Sub(l.failing) > l.last.Policy.Horizon() {
		return err
	}
	l.progress.Note(now, "look failed, trying again: "+err.Error())
	return nil
}

// pause waits, and keeps the display of a terminal moving.
func (l *loop) pause(ctx context.Context, until time.Time) error {
	for {
		now := l.app.clock.Now()
		left := until.Sub(now)
		if left <= 0 {
			return ctx.Err()
		}
		if err := l.app.clock.Sleep(ctx, min(left, time.Second)); err != nil {
			return err
		}
		l.progress.Tick(l.app.clock.Now())
	}
}
