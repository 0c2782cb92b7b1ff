package command

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
)

// startWith starts a rollout under a policy, in YAML.
func (b *bench) startWith(policy string) *bench {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "policy.yaml")
	require.NoError(b.t, os.WriteFile(path, []byte(policy), 0o600))
	b.env["PERCH_POLICY"] = path
	return b.start()
}

// TestApprove: a step that people approve of waits for one, and then goes on.
func TestApprove(t *testing.T) {
	b := newBench(t).startWith("steps: [{percentage: 5, approve: true}, {percentage: 50, approve: instead}, 100]")
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Waiting, 500)
	b.clock.advance(time.Minute)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Waiting, 500)
	r := b.do(6, "resume", "acme/flux")
	require.Contains(t, r.stderr, "is not paused: it waits for an approval\nhint: orchestrator approve lets it go on")

	require.Contains(t, b.do(0, "approve", "--dry-run", "acme/flux").stdout, "dry run: would write\n  ")
	b.requireAt(rollout.Waiting, 500)
	r = b.do(0, "approve", "--reason", "samples look right", "--actor", "bob", "acme/flux")
	require.Contains(t, r.stdout, "approve at 5 %: samples look right")
	require.Equal(t, "bob", b.state().Approved.Actor)
	b.requireAt(rollout.Running, 500)
	require.Contains(t, b.do(0, "approve", "--dry-run", "acme/flux").stdout, "dry run: nothing would be written", "it is approved already")
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 5000)
	require.Contains(t, b.state().Last.Reason, "approved by bob; ")

	b.source.canary = nothing
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Waiting, 5000)
	b.do(0, "approve", "acme/flux")
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 10_000)
	r = b.do(6, "approve", "acme/flux")
	require.Contains(t, r.stderr, "waits for no approval at 100 %\nhint: approve: true at a step of the policy asks for one")
	require.Equal(t, []rollout.Action{"start", "wait", "approve", "raise", "wait", "approve", "raise"}, b.actions())
}

// TestApproveThenBreach: an approval is no leave to be bad.
func TestApproveThenBreach(t *testing.T) {
	b := newBench(t).startWith("steps: [{percentage: 5, approve: instead}, 100]")
	b.do(0, "approve", "acme/flux")
	b.source.canary = failing
	b.clock.advance(bake)
	b.do(4, "step", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
	require.Contains(t, b.do(6, "approve", "acme/flux").stderr, "has ended: rolled back\nhint: begin a new rollout with orchestrator start")
}

// TestPause: automation stops where it is, and a breach acts nevertheless.
func TestPause(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(time.Minute)
	require.Contains(t, b.do(0, "pause", "--dry-run", "acme/flux").stdout, "dry run: would write\n  ")
	b.requireAt(rollout.Running, 500)
	r := b.do(0, "pause", "--reason", "the weekend", "--json", "acme/flux")
	require.Contains(t, r.stdout, `"action": "pause"`)
	b.requireAt(rollout.Paused, 500)
	require.Zero(t, b.document().UnattendedAfterMS)
	b.clock.advance(60 * time.Hour)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Paused, 500)
	b.do(0, "pause", "acme/flux")
	require.Contains(t, b.do(6, "approve", "acme/flux").stderr, "is paused: an approval would not make it go on\nhint: orchestrator resume")
	b.do(0, "resume", "acme/flux")
	b.requireAt(rollout.Running, 500)
	require.Equal(t, []rollout.Action{"start", "pause", "resume"}, b.actions())

	b.do(0, "pause", "acme/flux")
	b.source.canary = failing
	b.clock.advance(4 * time.Minute)
	b.do(4, "step", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
	require.Contains(t, b.do(6, "pause", "acme/flux").stderr, "has ended: rolled back\nhint: begin a new rollout")
}

// TestOutageDropsTheCanary: a look that analytics do not answer renews nothing,
// so the edge drops the canary in time.
func TestOutageDropsTheCanary(t *testing.T) {
	b := newBench(t).start()
	until := b.document().UnattendedAfterMS
	b.source.err = errors.New("analytics are away")
	for range 7 {
		b.clock.advance(10 * time.Minute)
		b.do(0, "step", "acme/flux")
	}
	require.Equal(t, until, b.document().UnattendedAfterMS)
	require.True(t, b.state().Lapsed(b.clock.Now()))
	shown := b.do(0, "status", "acme/flux").stdout
	require.Contains(t, shown, "percentage  0 % (5 % set; the edge dropped the canary at 2026-11-20 13:00:00 UTC)\n")
	require.Contains(t, shown, "next        the next look that measures brings the canary back, and the bake starts anew\n")
	b.source.err = nil
	b.do(0, "step", "acme/flux")
	require.Equal(t, rollout.ActionRevive, b.state().Last.Action)
}
