package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

var (
	noon    = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	flux    = document.Service{Kind: document.KindModel, Name: "acme/flux"}
	oldID   = strings.Repeat("a", 64)
	newID   = strings.Repeat("b", 64)
	nextID  = strings.Repeat("c", 64)
	errAway = errors.New("read KV: status 503")
)

// fakeKV keeps the contract of Store, and fails on demand.
type fakeKV struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int
	// failAt is the number of the write, from 1, that fails with every one after
	// it; persist stores that first one nevertheless. 0 fails none.
	failAt  int
	persist bool
	away    bool   // reads fail
	notText bool   // reads of several keys fail
	spoiled string // reads of several keys with this one fail
	reads   int
	listErr error // of lists of aliases
	gate    func()
}

func (f *fakeKV) pass(ctx context.Context) error {
	if f.gate != nil {
		f.gate()
	}
	return ctx.Err()
}

func (f *fakeKV) Get(ctx context.Context, key string) ([]byte, error) {
	values, err := f.GetMany(ctx, []string{key})
	if err == nil && values[key] == nil {
		return nil, cloudflare.ErrNotFound
	}
	return values[key], err
}

func (f *fakeKV) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	if err := f.pass(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.away || f.notText && len(keys) > 1 || len(keys) > 1 && slices.Contains(keys, f.spoiled) {
		return nil, errAway
	}
	found := map[string][]byte{}
	for _, key := range keys {
		if value, ok := f.values[key]; ok {
			found[key] = value
		}
	}
	return found, nil
}

// value reads past every gate.
func (f *fakeKV) value(key string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[key]
}

func (f *fakeKV) Put(ctx context.Context, key string, value []byte) error {
	if err := f.pass(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if key == "" || len(key) > 512 {
		return errors.New("write KV: bad key")
	}
	f.writes++
	failed := f.failAt > 0 && f.writes >= f.failAt
	if !failed || f.persist && f.writes == f.failAt {
		f.values[key] = slices.Clone(value)
	}
	if failed {
		return errors.New("status 503")
	}
	return nil
}

func (f *fakeKV) PutMany(ctx context.Context, pairs []cloudflare.Pair) error {
	var unwritten *cloudflare.Unwritten
	for _, p := range pairs {
		if err := f.Put(ctx, p.Key, p.Value); err != nil {
			if unwritten == nil {
				unwritten = &cloudflare.Unwritten{Err: err}
			}
			unwritten.Keys = append(unwritten.Keys, p.Key)
		}
	}
	if unwritten == nil {
		return nil
	}
	return unwritten
}

func (f *fakeKV) Delete(ctx context.Context, key string) error {
	delete(f.values, key)
	return f.pass(ctx)
}

func (f *fakeKV) List(ctx context.Context, prefix string) ([]string, error) {
	if err := f.pass(ctx); err != nil {
		return nil, err
	}
	if f.listErr != nil && prefix == aliasPrefix {
		return nil, f.listErr
	}
	keys := []string{}
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// fakeClock moves only by sleeping.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	slept func(now time.Time) // called after each sleep
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	now := c.now
	c.mu.Unlock()
	if c.slept != nil {
		c.slept(now)
	}
	return ctx.Err()
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is an account on which commands are run.
type bench struct {
	t        testing.TB
	kv       *fakeKV
	source   *fakeSource
	clock    *fakeClock
	env      map[string]string
	terminal bool
	ctx      context.Context
}

func newBench(t testing.TB) *bench {
	kv := &fakeKV{values: map[string][]byte{}}
	return &bench{
		t: t, kv: kv, source: &fakeSource{kv: kv, canary: healthy, stable: healthy}, clock: &fakeClock{now: noon}, ctx: context.Background(),
		env: map[string]string{"CLOUDFLARE_ACCOUNT_ID": "account", "CLOUDFLARE_API_TOKEN": "token", "PERCH_NAMESPACE_ID": "namespace", "USER": "ada"},
	}
}

type result struct {
	code           int
	stdout, stderr string
}

func (b *bench) app() *app {
	return &app{env: b.env, stdin: strings.NewReader(""), terminal: b.terminal, hostname: "desk", clock: b.clock,
		connect: func(cloudflare.Config) (Store, Source) { return b.kv, b.source }}
}

func (b *bench) run(args ...string) result {
	var stdout, stderr bytes.Buffer
	a := b.app()
	a.stdout, a.stderr = &stdout, &stderr
	code := a.run(b.ctx, append([]string{"orchestrator"}, args...))
	return result{code, stdout.String(), stderr.String()}
}

// do runs a command that must end with the code.
func (b *bench) do(code int, args ...string) result {
	b.t.Helper()
	r := b.run(args...)
	require.Equal(b.t, code, r.code, "%v\n%s%s", args, r.stdout, r.stderr)
	return r
}

func (b *bench) start() *bench {
	b.t.Helper()
	b.do(0, "start", "--stable", "version=acme/flux:"+oldID, "--canary", "version=acme/flux:"+newID, "acme/flux")
	b.source.queries = nil
	return b
}

func (b *bench) state() rollout.State {
	b.t.Helper()
	s, err := rollout.Decode(b.kv.values[flux.StateKey()])
	require.NoError(b.t, err)
	return s
}

// alias reads an alias; it must be there.
func (b *bench) alias(name string) rollout.Alias {
	b.t.Helper()
	alias, readable := rollout.DecodeAlias(b.kv.values["alias:"+name])
	require.True(b.t, readable, "alias %s is %q", name, b.kv.values["alias:"+name])
	return alias
}

func (b *bench) document() *document.Document {
	b.t.Helper()
	d, err := document.Parse(b.kv.values[flux.RolloutKey()])
	require.NoError(b.t, err)
	return d
}

// requireAt checks that state and document agree on phase and percentage.
func (b *bench) requireAt(phase rollout.Phase, basisPoints int) {
	b.t.Helper()
	require.Equal(b.t, phase, b.state().Phase)
	require.Equal(b.t, basisPoints, b.state().Document.BasisPoints)
	require.Equal(b.t, basisPoints, b.document().BasisPoints)
	require.Equal(b.t, b.state().Document.Generation, b.document().Generation)
}

func (b *bench) actions() []rollout.Action {
	var entries []rollout.Entry
	require.NoError(b.t, json.Unmarshal([]byte(b.do(0, "history", "--json", "--limit", "0", "acme/flux").stdout), &entries))
	var actions []rollout.Action
	for _, e := range entries {
		actions = append(actions, e.Action)
	}
	return actions
}

func (b *bench) status(args ...string) report.Status {
	b.t.Helper()
	var s report.Status
	require.NoError(b.t, json.Unmarshal([]byte(b.do(0, append([]string{"status", "--json"}, append(args, "acme/flux")...)...).stdout), &s))
	return s
}

const bake = 16 * time.Minute // with the lag

func TestGoodCanaryIsPromotedStepByStep(t *testing.T) {
	b := newBench(t).start()
	b.requireAt(rollout.Running, 500)
	for _, basisPoints := range []int{2000, 5000, 10000} {
		b.do(0, "step", "acme/flux")
		b.clock.advance(bake - time.Second)
		b.do(0, "step", "acme/flux")
		require.Less(t, b.document().BasisPoints, basisPoints, "not before the bake time")
		b.clock.advance(time.Second)
		b.do(0, "step", "acme/flux")
		b.requireAt(rollout.Running, basisPoints)
	}
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Promoted, 0)
	require.Equal(t, newID, b.document().Targets[0].VersionID())
	b.do(0, "step", "acme/flux")
	require.Equal(t, []rollout.Action{"start", "raise", "raise", "raise", "promote"}, b.actions())
	require.Equal(t, "canary", b.alias("version:"+newID).Variant, "what ran in the rollout still counts as its canary")
	require.NotContains(t, b.kv.values, flux.HaltKey())
}

func TestBadCanaryIsRolledBack(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(3 * time.Minute)
	b.source.canary = failing
	r := b.do(4, "step", "acme/flux")
	require.Contains(t, r.stdout, "rollback 5 → 0 %: the error rate of the canary, 5.83 % in 240 rows")
	b.requireAt(rollout.RolledBack, 0)
	require.Equal(t, "2026-11-20-a", string(b.kv.values[flux.HaltKey()]))
	b.do(4, "step", "acme/flux")
	b.do(6, "set", "--percentage", "5", "acme/flux")
	b.do(0, "set", "--percentage", "0", "acme/flux")
	b.do(6, "promote", "acme/flux")
	b.do(6, "resume", "acme/flux")
	require.Equal(t, []rollout.Action{"start", "rollback"}, b.actions())
}

func TestHolds(t *testing.T) {
	cases := []struct {
		name   string
		change func(*bench)
		says   string
	}{
		{"no data", func(b *bench) { b.source.canary, b.source.stable = nothing, nothing }, "no traffic of this step has been seen"},
		{"no data set yet", func(b *bench) { b.source.err = cloudflare.ErrNoData }, "no traffic of this step has been seen"},
		{"analytics away", func(b *bench) { b.source.err = errors.New("query analytics: status 503") }, "nothing could be measured: query analytics: status 503"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t).start()
			c.change(b)
			b.clock.advance(40 * time.Minute)
			r := b.do(0, "step", "acme/flux")
			require.Contains(t, r.stdout, c.says)
			require.Equal(t, 500, b.document().BasisPoints)
			b.clock.advance(2 * time.Hour)
			b.do(5, "step", "acme/flux")
			require.Equal(t, rollout.Inconclusive, b.state().Phase)
			require.Equal(t, 500, b.document().BasisPoints)
			b.source.err, b.source.canary, b.source.stable = nil, healthy, healthy
			b.do(5, "step", "acme/flux")
			b.do(0, "resume", "acme/flux")
			b.clock.advance(bake)
			b.do(0, "step", "acme/flux")
			b.requireAt(rollout.Running, 2000)
		})
	}
}

func TestHand(t *testing.T) {
	b := newBench(t).start()
	b.do(0, "set", "--percentage", "12.5", "acme/flux")
	b.requireAt(rollout.Paused, 1250)
	require.Zero(t, b.document().UnattendedAfterMS)
	b.clock.advance(10 * time.Hour)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Paused, 1250)
	b.do(0, "resume", "acme/flux")
	b.requireAt(rollout.Running, 1250)
	b.do(0, "resume", "acme/flux")
	b.do(0, "promote", "--reason", "checked", "--actor", "bob", "acme/flux")
	b.requireAt(rollout.Promoted, 0)
	b.do(0, "promote", "acme/flux")
	b.do(0, "rollback", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
	require.Equal(t, oldID, b.document().Targets[0].VersionID(), "the former stable is restored")
	require.Equal(t, []rollout.Action{"start", "set", "resume", "promote", "rollback"}, b.actions())
}

func TestBreachActsWhilePaused(t *testing.T) {
	b := newBench(t).start()
	b.do(0, "set", "--percentage", "30", "acme/flux")
	b.source.canary = failing
	b.clock.advance(4 * time.Minute)
	b.do(4, "step", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
}

// TestActor: who acts is named as the environment has it, or else the system.
func TestActor(t *testing.T) {
	a := &app{hostname: "desk", username: "root", env: map[string]string{"USER": "ada", "GITHUB_ACTOR": "ada-on-github"}}
	require.Equal(t, "ada-on-github", a.actor())
	delete(a.env, "GITHUB_ACTOR")
	require.Equal(t, "ada@desk", a.actor())
	delete(a.env, "USER")
	require.Equal(t, "root@desk", a.actor())
	a.username = ""
	require.Equal(t, "unknown@desk", a.actor())
}

func TestStart(t *testing.T) {
	b := newBench(t).start()
	r := b.do(6, "start", "--canary", "version=acme/flux:"+nextID, "acme/flux")
	require.Equal(t, "orchestrator: rollout 2026-11-20-a is running at 5 %\nhint: orchestrator rollback or promote ends it; orchestrator status shows it\n", r.stderr)
	b.do(0, "promote", "acme/flux")
	b.do(0, "start", "--canary", "deployment=acme/flux-next", "acme/flux")
	require.Equal(t, "2026-11-20-b", b.document().Rollout)
	require.Equal(t, "2026-11-20-b", b.document().Salt)
	require.Equal(t, newID, b.document().Targets[0].VersionID(), "stable is what was promoted")
	require.Equal(t, "acme/flux-next", b.document().Targets[1].Deployment)
	require.NotNil(t, b.kv.values["alias:deployment:acme:flux-next"])
	b.do(0, "rollback", "acme/flux")
	b.do(2, "start", "--canary", "deployment=acme/other", "--rollout", "2026-11-20-a", "acme/flux")
	b.do(0, "start", "--canary", "deployment=acme/other", "--rollout", "try", "acme/flux")
	require.Equal(t, "try", b.document().Rollout)
	b.requireAt(rollout.Running, 500)
	require.Equal(t, "2026-11-20-b", string(b.kv.values[flux.HaltKey()]), "the old rollout stays halted: a late write of it must not revive it")
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 2000)
}

func TestStartKeepsThePolicy(t *testing.T) {
	b := newBench(t)
	path := t.TempDir() + "/policy.yaml"
	require.NoError(t, os.WriteFile(path, []byte("steps: [10, 100]\nbake: 5m\n"), 0o600))
	b.env["PERCH_POLICY"] = path
	b.start()
	b.requireAt(rollout.Running, 1000)
	require.NoError(t, os.WriteFile(path, []byte("steps: [1, 2, 3]\n"), 0o600))
	b.clock.advance(6 * time.Minute)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 10000)
}

func TestFreeID(t *testing.T) {
	var used []string
	for range 30 {
		used = append(used, freeID(noon, used))
	}
	require.Equal(t, []string{"2026-11-20-a", "2026-11-20-z", "2026-11-20-aa", "2026-11-20-ad"}, []string{used[0], used[25], used[26], used[29]})
}

func TestRollbackInEveryCondition(t *testing.T) {
	broken := []byte("{")
	cases := []struct {
		name   string
		change func(values map[string][]byte)
		code   int
		whole  bool // state and document can be written too
	}{
		{"all is well", func(map[string][]byte) {}, 0, true},
		{"state missing", func(v map[string][]byte) { delete(v, flux.StateKey()) }, 0, true},
		{"state unreadable", func(v map[string][]byte) { v[flux.StateKey()] = broken }, 0, true},
		{"document missing", func(v map[string][]byte) { delete(v, flux.RolloutKey()) }, 0, true},
		{"document unreadable", func(v map[string][]byte) { v[flux.RolloutKey()] = broken }, 0, true},
		{"halted already", func(v map[string][]byte) { v[flux.HaltKey()] = []byte("2026-11-20-a") }, 0, true},
		{"both unreadable", func(v map[string][]byte) { v[flux.StateKey()], v[flux.RolloutKey()] = broken, broken }, 0, false},
		{"both missing", func(v map[string][]byte) { delete(v, flux.StateKey()); delete(v, flux.RolloutKey()) }, 0, false},
		{"nothing at all", func(v map[string][]byte) { clear(v) }, 6, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t).start()
			b.source.err = errors.New("analytics must not be asked")
			c.change(b.kv.values)
			r := b.do(c.code, "rollback", "--reason", "complaints", "acme/flux")
			require.Empty(t, b.source.queries)
			if c.code != 0 {
				require.Contains(t, r.stderr, "there is nothing to roll back")
				return
			}
			require.Equal(t, "2026-11-20-a", string(b.kv.values[flux.HaltKey()]))
			if c.whole {
				b.requireAt(rollout.RolledBack, 0)
				require.Contains(t, b.actions(), rollout.ActionRollback)
			}
			b.do(0, "rollback", "acme/flux")
		})
	}
}

func TestRollbackOfADocumentWithoutCanary(t *testing.T) {
	b := newBench(t)
	d := document.Document{Service: flux, Rollout: "initial", Mode: document.ModeCanary, Salt: "initial", User: document.User{Header: "x-user-id", Cookie: "c"},
		Targets: []document.Target{{Name: "stable", Version: oldID}}}
	b.kv.values[flux.RolloutKey()] = d.Encode()
	b.do(6, "rollback", "acme/flux")
	require.NotContains(t, b.kv.values, flux.HaltKey())
	b.do(6, "set", "--percentage", "5", "acme/flux")
	b.do(6, "step", "acme/flux")
	require.Equal(t, report.PhaseUnmanaged, b.status().Phase)
	b.do(0, "start", "--canary", "version="+newID, "acme/flux")
	b.requireAt(rollout.Running, 500)
}

// TestRollbackGoesOnWhereAWriteFails: each of its writes helps by itself.
func TestRollbackGoesOnWhereAWriteFails(t *testing.T) {
	b := newBench(t).start()
	b.kv.failAt = b.kv.writes + 1
	b.do(1, "rollback", "acme/flux")
	b.kv.failAt = 0
	b.do(0, "rollback", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
	require.NotNil(t, b.kv.values[flux.HaltKey()])
}

// TestKilledAtAnyWrite fails every write of each command, stored or not; the
// next step carries on, and nothing happens twice.
func TestKilledAtAnyWrite(t *testing.T) {
	commands := []struct {
		name string
		args []string
		bad  bool
		want map[rollout.Phase]int
	}{
		{"raise", []string{"step"}, false, map[rollout.Phase]int{rollout.Running: 2000}},
		{"verdict rollback", []string{"step"}, true, map[rollout.Phase]int{rollout.RolledBack: 0}},
		{"rollback", []string{"rollback"}, false, map[rollout.Phase]int{rollout.RolledBack: 0, rollout.Running: 2000}},
		{"promote", []string{"promote"}, false, map[rollout.Phase]int{rollout.Promoted: 0, rollout.Running: 2000}},
		{"set", []string{"set", "--percentage", "1"}, false, map[rollout.Phase]int{rollout.Paused: 100, rollout.Running: 2000}},
	}
	for _, c := range commands {
		failures := 0
		for n := 1; ; n++ {
			failed := 0
			for _, persist := range []bool{false, true} {
				b := newBench(t).start()
				b.clock.advance(bake)
				if c.bad {
					b.source.canary = failing
				}
				b.kv.failAt, b.kv.persist = b.kv.writes+n, persist
				if b.run(append(c.args, "acme/flux")...).code == 1 {
					failed++
				}
				b.kv.failAt = 0
				b.run("step", "acme/flux")
				want, ok := c.want[b.state().Phase]
				require.True(t, ok, "%s killed at write %d: %s", c.name, n, b.state().Phase)
				b.requireAt(b.state().Phase, want)
				b.run("step", "acme/flux")
				b.requireAt(b.state().Phase, want)
				require.Equal(t, slices.Compact(b.actions()), b.actions(), "nothing is done twice")
			}
			if failed == 0 {
				break
			}
			failures += failed
		}
		require.GreaterOrEqual(t, failures, 6, c.name)
	}
}

func TestRollbackOfAStoreThatCannotBeRead(t *testing.T) {
	b := newBench(t).start()
	b.kv.away = true
	require.Contains(t, b.do(1, "rollback", "acme/flux").stderr, "with --rollout ID")
	require.NotContains(t, b.kv.values, flux.HaltKey())
	b.do(0, "rollback", "--rollout", "2026-11-20-a", "acme/flux")
	require.Equal(t, "2026-11-20-a", string(b.kv.values[flux.HaltKey()]))
	b.kv.away = false
	b.do(4, "step", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
}

func TestValueThatIsNoText(t *testing.T) {
	b := newBench(t).start()
	b.kv.values[flux.RolloutKey()] = []byte{0xff, 0xfe}
	b.kv.notText = true
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 500)
}
