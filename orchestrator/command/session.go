package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/policy"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// account is what one command works on, for one service or many.
type account struct {
	app      *app
	settings settings
	store    Store
	source   Source
	actor    string
}

// session is one command at work on one service.
type session struct {
	*account
	service  document.Service
	planned  []rollout.Write // of a dry run
	settling bool            // a lost race is being repaired already
}

// session prepares a command that is about one service.
func (a *app) session(c *cli.Context) (*session, error) {
	s, err := a.settings(c)
	if err != nil {
		return nil, err
	}
	service, err := s.requireService()
	if err != nil {
		return nil, err
	}
	return a.open(s, service)
}

// open connects to the account for one service.
func (a *app) open(s settings, service document.Service) (*session, error) {
	account, err := a.account(s)
	if err != nil {
		return nil, err
	}
	return account.session(service), nil
}

// account connects to the account.
func (a *app) account(s settings) (*account, error) {
	if err := s.requireAccount(true); err != nil {
		return nil, err
	}
	if err := s.requireDataset(); err != nil {
		return nil, err
	}
	store, source := a.connect(s.cloudflare)
	return &account{app: a, settings: s, store: store, source: source, actor: a.actor()}, nil
}

func (a *account) session(service document.Service) *session {
	return &session{account: a, service: service}
}

// requireDataset checks the name, which goes into SQL as it is.
func (s settings) requireDataset() error {
	if isDataset.MatchString(s.cloudflare.Dataset) {
		return nil
	}
	return invalid("a dataset's name is of letters, digits and _", "dataset %q is not allowed", s.cloudflare.Dataset)
}

var isDataset = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// actor names who gives the command, for the history.
func (a *app) actor() string {
	if actor := a.env["GITHUB_ACTOR"]; actor != "" {
		return actor
	}
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		if value := a.env[name]; value != "" {
			return value + "@" + a.hostname
		}
	}
	return cmp.Or(a.username, "unknown") + "@" + a.hostname
}

func actorFlag() cli.Flag {
	return &cli.StringFlag{Name: "actor", Usage: "`WHO` acts, for the history [$GITHUB_ACTOR] (default: user@host)"}
}

// now is the present moment, in the precision of what is stored.
func (a *account) now() time.Time { return a.app.clock.Now().UTC().Truncate(time.Millisecond) }

// by is the present moment's rollout.By.
func (a *account) by() rollout.By { return rollout.By{Actor: a.actor, Now: a.app.clock.Now()} }

// observe reads what the store holds of the service.
func (x *session) observe(ctx context.Context) (rollout.Observed, error) {
	m := &member{session: x}
	x.observeAll(ctx, []*member{m})
	return m.seen, m.err
}

// repair brings the store in line with its state and returns what it then
// holds. A dry run goes on with what would be there.
func (x *session) repair(ctx context.Context, o rollout.Observed) (rollout.Repaired, []byte, error) {
	m := &member{session: x, seen: o}
	x.repairAll(ctx, []*member{m})
	return m.repaired, m.base, m.err
}

// settleOne repairs what a race has left. It is for those who found one.
func (x *session) settleOne(ctx context.Context) (rollout.Repaired, error) {
	m := &member{session: x}
	x.settleAll(ctx, []*member{m})
	return m.repaired, m.err
}

// read reads keys at once. One that is no text spoils that for the others: it is
// looked for by halves, and read by itself.
func (a *account) read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	if len(keys) == 0 {
		return map[string][]byte{}, nil
	}
	values, many := a.store.GetMany(ctx, keys)
	if many == nil {
		return values, nil
	}
	if len(keys) == 1 {
		value, err := a.store.Get(ctx, keys[0])
		switch {
		case err == nil:
			return map[string][]byte{keys[0]: value}, nil
		case errors.Is(err, cloudflare.ErrNotFound):
			return map[string][]byte{}, nil
		}
		return nil, many
	}
	values, err := a.read(ctx, keys[:len(keys)/2]...)
	if err != nil {
		return nil, many
	}
	rest, err := a.read(ctx, keys[len(keys)/2:]...)
	if err != nil {
		return nil, many
	}
	maps.Copy(values, rest)
	return values, nil
}

// managed returns the observed state. Where there is none, it is derived from
// the document if that may be, and else the command is refused.
func (x *session) managed(o rollout.Observed, fromDocument bool) (rollout.State, error) {
	if o.State != nil {
		return *o.State, nil
	}
	if fromDocument {
		p, err := x.app.policy(x.settings)
		if err != nil {
			return rollout.State{}, err
		}
		now := x.now()
		base := rollout.State{Policy: p, StartedAt: now, StepSince: now, Deadline: now.Add(time.Duration(p.Deadline))}
		if s := rollout.FromDocument(o, base); s != nil {
			return *s, nil
		}
	}
	if o.StateProblem != nil {
		return rollout.State{}, &failure{code: exitError, err: fmt.Errorf("key %s: %w", x.service.StateKey(), o.StateProblem),
			hint: "orchestrator rollback works nevertheless; then orchestrator start writes a new state"}
	}
	return rollout.State{}, refused("begin one with orchestrator start", "no rollout of %s is known", x.service)
}

// policy reads the policy file in force, or returns the defaults.
func (a *app) policy(s settings) (policy.Policy, error) {
	path := s.policy
	if path == "" {
		path = defaultPolicy
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && s.policy == "" {
		return policy.Default(), nil
	}
	if err != nil {
		return policy.Policy{}, invalid("--policy and PERCH_POLICY name a YAML file", "read policy: %w", err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		return p, invalid("orchestrator validate "+path+" checks it", "read policy %s: %w", path, err)
	}
	return p, nil
}

// describe returns the status of a state.
func (x *session) describe(s rollout.State) report.Status {
	status := documentStatus(s.Document.Document, x.now())
	stepSince, startedAt, deadline := s.StepSince, s.StartedAt, s.Deadline
	status.Phase, status.Step, status.Steps = string(s.Phase), s.Step(), len(s.Policy.Steps)
	status.StartedAt, status.StepSince = &startedAt, &stepSince
	if s.Phase == rollout.Running {
		ends := bakeEnds(s)
		status.BakeEnds, status.Deadline = &ends, &deadline
	}
	if s.Phase == rollout.Waiting {
		status.WaitsFor, status.NeedsApproval = s.Outstanding(x.app.clock.Now()), s.NeedsApproval()
	}
	status.Policy, status.Reason = &s.Policy, s.Last.Reason
	return status
}

// bakeEnds is when the step can be promoted at the earliest: when the last of its
// whole intervals that the bake takes can be seen.
func bakeEnds(s rollout.State) time.Time {
	interval := time.Duration(s.Policy.Interval)
	up := func(d time.Duration) time.Duration { return (d + interval - 1) / interval * interval }
	begins := time.Unix(0, int64(up(time.Duration(s.StepSince.UnixNano())))).UTC()
	return begins.Add(up(time.Duration(s.Policy.StepAt(s.Document.BasisPoints).Bake)) + time.Duration(s.Policy.Lag))
}

// documentStatus describes a document alone.
func documentStatus(d *document.Document, now time.Time) report.Status {
	s := report.Status{
		Service: d.Service.String(), Rollout: d.Rollout, Phase: report.PhaseUnmanaged, Percentage: report.Percentage(d.BasisPoints),
		Generation: d.Generation, Time: now, Edge: report.NewEdge(d),
	}
	if i := d.Target(document.Stable); i >= 0 {
		s.Stable = d.Targets[i].String()
	}
	if i := d.Target(document.Canary); i >= 0 {
		s.Canary = d.Targets[i].String()
	}
	if d.UnattendedAfterMS != 0 {
		at := time.UnixMilli(d.UnattendedAfterMS).UTC()
		s.UnattendedAfter = &at
	}
	return s
}
