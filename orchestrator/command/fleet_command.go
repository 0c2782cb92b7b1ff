package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// fleetHelp is what step and run say of their flag --all.
const fleetHelp = "With --all every service whose rollout has not ended is judged, all with the same few calls of\n" +
	"Cloudflare's API. One that cannot be judged is named and left out. The exit code is the gravest:\n" +
	"4 where one was rolled back, else 5 where one is inconclusive, else 1 or 7 where one was left out.\n"

func allFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all", Usage: "judge every service whose rollout has not ended", DisableDefaultText: true}
}

// fleet is every service of the account at a command.
type fleet struct {
	*account
	members []*member         // of the last look
	changes []report.Status   // so far
	ended   []report.Status   // rollouts that someone else has ended meanwhile
	told    int               // how many of those
	known   map[string]bool   // services whose rollout had not ended at the last look
	said    map[string]string // what keeps a service out, once it was told
}

// fleet prepares a command that is about all services.
func (a *app) fleet(c *cli.Context) (*fleet, error) {
	s, err := a.settings(c)
	if err != nil {
		return nil, err
	}
	if s.service != "" && (c.Args().Present() || given(c, "service") != nil) {
		return nil, invalid("leave out the service or --all", "service %s and --all are both given", s.service)
	}
	account, err := a.account(s)
	if err != nil {
		return nil, err
	}
	if c.String("actor") != "" {
		account.actor = c.String("actor")
	}
	return &fleet{account: account, known: map[string]bool{}, said: map[string]string{}}, nil
}

// statePrefix begins the keys of all states.
const statePrefix = "state:"

// services lists those that have a state.
func (a *account) services(ctx context.Context) ([]document.Service, error) {
	keys, err := a.store.List(ctx, statePrefix)
	if err != nil {
		return nil, err
	}
	var services []document.Service
	for _, key := range keys {
		// The keys of a service differ by their prefixes alone.
		service, ok := document.ServiceOfRolloutKey("rollout:" + strings.TrimPrefix(key, statePrefix))
		if ok {
			services = append(services, service)
		}
	}
	return services, nil
}

// look judges every service whose rollout has not ended, once.
func (f *fleet) look(ctx context.Context) error {
	services, err := f.services(ctx)
	if err != nil {
		return err
	}
	members := make([]*member, len(services))
	for i, service := range services {
		members[i] = &member{session: f.session(service)}
	}
	f.observeAll(ctx, members)
	if len(members) > 0 && len(sound(members)) == 0 {
		return members[0].err
	}
	members = f.dropEnded(members)
	f.stepAll(ctx, members)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, m := range members {
		switch m.plan(&m.status); {
		case m.err != nil:
			m.status = m.leftOut()
		case m.status.Changed():
			f.changes = append(f.changes, m.status)
		}
		f.known[m.status.Service] = !rollout.Phase(m.status.Phase).Ended()
	}
	f.members = members
	return nil
}

// dropEnded leaves out the services whose rollout has ended, and keeps what is to
// be told of those that someone else has ended meanwhile.
func (f *fleet) dropEnded(members []*member) []*member {
	hasEnded := func(m *member) bool { return m.seen.State != nil && m.seen.State.Phase.Ended() }
	for _, m := range filter(members, hasEnded) {
		if name := m.service.String(); f.known[name] {
			f.ended = append(f.ended, m.observedStatus(m.seen))
			f.known[name] = false
		}
	}
	return filter(members, func(m *member) bool { return !hasEnded(m) })
}

// leftOut describes a service that could not be judged.
func (m *member) leftOut() report.Status {
	s := m.observedStatus(m.seen)
	s.Action, s.Error = "none", m.err.Error()
	return s
}

func (f *fleet) statuses() []report.Status {
	list := make([]report.Status, len(f.members))
	for i, m := range f.members {
		list[i] = m.status
	}
	return list
}

func (a *app) stepFleet(c *cli.Context) error {
	f, err := a.fleet(c)
	if err != nil {
		return err
	}
	if err := f.look(c.Context); err != nil {
		return err
	}
	f.tell()
	if note, _ := f.follow(c.Context); note != "" {
		f.note(f.app.clock.Now(), note)
	}
	if !f.settings.json {
		report.WriteFleet(a.stdout, f.statuses())
		if f.settings.dryRun {
			printPlan(a.stdout, f.planned())
		}
	}
	return f.end()
}

// planned are the writes of a dry run.
func (f *fleet) planned() []report.PlannedWrite {
	var all []report.PlannedWrite
	for _, m := range f.members {
		all = append(all, m.status.Planned...)
	}
	return all
}

// tell writes a line for each service that a look changed or left out, or as JSON
// one for each. What keeps a service out is told once.
func (f *fleet) tell() {
	for _, s := range f.ended[f.told:] {
		f.print(s)
	}
	f.told = len(f.ended)
	for _, m := range f.members {
		s := m.status
		if f.settings.json || s.Changed() || s.Error != "" && f.said[s.Service] != s.Error {
			f.print(s)
		}
		f.said[s.Service] = s.Error
	}
}

func (f *fleet) print(s report.Status) {
	if f.settings.json {
		report.JSONLines{W: f.app.stdout}.Look(s, time.Time{})
		return
	}
	fmt.Fprintln(f.app.stdout, s.FleetLine())
}

// end tells GitHub, and ends the command with the gravest code.
func (f *fleet) end() error {
	list := f.statuses()
	if err := f.app.appendGitHub(report.FleetSummary(list, f.changes), report.FleetOutputs(list, f.changes)); err != nil {
		return err
	}
	code := exitDone
	for _, s := range slices.Concat(list, f.changes, f.ended) {
		code = graver(code, phaseCode(s.Phase))
	}
	for _, m := range f.members {
		code = graver(code, errorCode(m.err))
	}
	if code == exitDone {
		return nil
	}
	return outcome(code)
}

// gravity orders the exit codes of many services, the gravest last.
var gravity = []int{exitDone, exitLostRace, exitRefused, exitUsage, exitError, exitInconclusive, exitRolledBack}

func graver(a, b int) int {
	if slices.Index(gravity, b) > slices.Index(gravity, a) {
		return b
	}
	return a
}

func errorCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &f):
		return f.code
	}
	return exitError
}

// runFleet looks until no rollout is at work any more.
func (a *app) runFleet(c *cli.Context) error {
	f, err := a.fleet(c)
	if err != nil {
		return err
	}
	if f.settings.dryRun {
		return errNoDryRun
	}
	err = f.run(c.Context)
	if err != nil && len(f.members) == 0 {
		return err
	}
	if !f.settings.json {
		report.WriteFleet(a.stdout, f.statuses())
	}
	if endErr := f.end(); err == nil {
		err = endErr
	}
	return err
}

func (f *fleet) run(ctx context.Context) error {
	var beat, failing time.Time
	for looked, astray := false, false; ; {
		err := f.look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now := f.app.clock.Now()
		switch {
		case err == nil:
			failing, looked = time.Time{}, true
			f.tell()
			if now.Sub(beat) >= fleetBeat && !f.settings.json {
				beat = now
				fmt.Fprintln(f.app.stdout, now.UTC().Format("15:04:05  ")+report.FleetCount(f.statuses()))
			}
			if !slices.ContainsFunc(f.statuses(), isAtWork) {
				return nil
			}
			note, problem := f.follow(ctx)
			if problem && !astray {
				f.note(now, note)
			}
			astray = problem
		case !looked:
			return err
		default:
			if failing.IsZero() {
				failing = now
			}
			if now.Sub(failing) > f.horizon() {
				return err
			}
			f.note(now, "look failed, trying again: "+err.Error())
		}
		if err := f.app.clock.Sleep(ctx, now.Add(f.pause()).Sub(f.app.clock.Now())); err != nil {
			return err
		}
	}
}

// follow asks about the predictions of all services at once, where what that needs
// is set. It returns what came of it, or "", and whether that is a problem.
func (f *fleet) follow(ctx context.Context) (note string, problem bool) {
	var services []document.Service
	lag := time.Duration(0)
	for _, m := range f.members {
		if s := m.status; s.Error == "" && s.Policy != nil && !rollout.Phase(s.Phase).Ended() {
			services, lag = append(services, m.service), max(lag, time.Duration(s.Policy.Lag))
		}
	}
	if len(services) == 0 || f.settings.dryRun || f.settings.workerURL == "" {
		return "", false
	}
	w, err := f.follower(services...)
	if err != nil {
		return notFollowed(err), true
	}
	if w.missing(ctx) != nil {
		return "", false
	}
	return w.look(ctx, f.pause(), lag)
}

// fleetBeat is the longest silence of a run of many services.
const fleetBeat = 5 * time.Minute

func (f *fleet) note(now time.Time, text string) {
	if f.settings.json {
		report.JSONLines{W: f.app.stdout}.Note(now, text)
		return
	}
	fmt.Fprintln(f.app.stdout, now.UTC().Format("15:04:05  ")+text)
}

// pause is the shortest that a policy asks for.
func (f *fleet) pause() time.Duration {
	pause := time.Duration(0)
	for _, m := range f.members {
		if m.status.Policy != nil && (pause == 0 || time.Duration(m.status.Policy.Look) < pause) {
			pause = time.Duration(m.status.Policy.Look)
		}
	}
	if pause == 0 {
		return defaultLook
	}
	return pause
}

// horizon is how long the edge keeps the canary of every service that was seen.
func (f *fleet) horizon() time.Duration {
	longest := time.Duration(0)
	for _, m := range f.members {
		if m.status.Policy != nil {
			longest = max(longest, m.status.Policy.Horizon())
		}
	}
	return longest
}
