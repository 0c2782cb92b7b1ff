package command

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func TestRunPromotes(t *testing.T) {
	b := newBench(t).start()
	r := b.do(0, "run", "acme/flux")
	b.requireAt(rollout.Promoted, 0)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Regexp(t, `^12:00:00  running at 5 %, hold: the step bakes for another 15m`, lines[0])
	require.Regexp(t, `^12:05:00  running at 5 %, hold`, lines[1], "a heartbeat each five minutes")
	require.Contains(t, r.stdout, "\n12:16:00  raise 5 → 20 %: after the bake time")
	require.Contains(t, r.stdout, "\n12:32:00  raise 20 → 50 %")
	require.Contains(t, r.stdout, "\n12:48:00  raise 50 → 100 %")
	require.Regexp(t, `^13:04:00  promote: all users`, lines[len(lines)-1])
	require.Equal(t, []rollout.Action{"start", "raise", "raise", "raise", "promote"}, b.actions())
	require.Less(t, b.kv.writes, 64+30, "KV writes are counted: a look that changes nothing writes the judge's memory alone")
}

// TestRunRollsBackWithinThreeLooks: no single minute decides, and each is seen
// when it has closed.
func TestRunRollsBackWithinThreeLooks(t *testing.T) {
	b := newBench(t).start()
	b.clock.slept = func(now time.Time) {
		if now.Sub(noon) >= 20*time.Minute {
			b.source.canary = failing
		}
	}
	b.do(4, "run", "acme/flux")
	b.requireAt(rollout.RolledBack, 0)
	require.LessOrEqual(t, b.clock.now.Sub(noon), 22*time.Minute)
}

func TestRunEndsInconclusive(t *testing.T) {
	b := newBench(t).start()
	b.source.canary = nothing
	r := b.do(5, "run", "acme/flux")
	require.Regexp(t, `inconclusive at 5 %: the deadline 2026-11-20 14:00:00 UTC has passed: .*about \d+ more canary requests are needed`, r.stdout)
	require.Greater(t, b.document().UnattendedAfterMS, b.clock.now.UnixMilli(), "each judgement has renewed the dead man's switch")
}

func TestRunEndsWhenAHandTakesOver(t *testing.T) {
	b := newBench(t).start()
	taken := false
	b.clock.slept = func(now time.Time) {
		if !taken && now.Sub(noon) >= 3*time.Minute {
			taken = true
			b.do(0, "set", "--percentage", "7", "acme/flux")
		}
	}
	r := b.do(0, "run", "acme/flux")
	require.Contains(t, r.stdout, "paused at 7 %")
	require.Contains(t, r.stdout, "orchestrator resume model:acme/flux goes on from there")
	b.requireAt(rollout.Paused, 700)
}

func TestRunOutlivesAnOutage(t *testing.T) {
	b := newBench(t).start()
	b.clock.slept = func(now time.Time) {
		away := now.Sub(noon) > 2*time.Minute && now.Sub(noon) < 10*time.Minute
		b.kv.away = away
	}
	r := b.do(0, "run", "acme/flux")
	require.Contains(t, r.stdout, "look failed, trying again: read KV: status 503")
	b.requireAt(rollout.Promoted, 0)
}

func TestRunGivesUp(t *testing.T) {
	b := newBench(t).start()
	b.kv.away = true
	b.do(1, "run", "acme/flux")
	require.Equal(t, noon, b.clock.now, "at once, where no look ever succeeded")

	b.kv.away = false
	b.clock.slept = func(now time.Time) { b.kv.away = now.Sub(noon) > 2*time.Minute }
	b.do(1, "run", "acme/flux")
	require.InDelta(t, 63, b.clock.now.Sub(noon).Minutes(), 2, "when the edge has dropped the canary")
}

func TestRunIsInterrupted(t *testing.T) {
	b := newBench(t).start()
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx = ctx
	b.clock.slept = func(now time.Time) {
		if now.Sub(noon) >= 4*time.Minute {
			cancel()
		}
	}
	r := b.do(130, "run", "acme/flux")
	require.Contains(t, r.stderr, "orchestrator: interrupted\nhint: ")
	b.requireAt(rollout.Running, 500)
}

func TestRunTellsGitHub(t *testing.T) {
	b := newBench(t).start()
	dir := t.TempDir()
	b.env["GITHUB_STEP_SUMMARY"], b.env["GITHUB_OUTPUT"] = filepath.Join(dir, "summary"), filepath.Join(dir, "output")
	b.env["GITHUB_ACTOR"] = "ada-on-github"
	require.NoError(t, os.WriteFile(b.env["GITHUB_OUTPUT"], []byte("before=1\n"), 0o600))
	b.clock.slept = func(now time.Time) {
		if now.Sub(noon) >= 18*time.Minute {
			b.source.canary = failing
		}
	}
	b.do(4, "run", "acme/flux")
	golden(t, "github_summary.md", read(t, b.env["GITHUB_STEP_SUMMARY"]))
	golden(t, "github_output.txt", read(t, b.env["GITHUB_OUTPUT"]))
	require.Equal(t, "ada-on-github", b.state().Last.Actor)
}

func TestRunJSONLines(t *testing.T) {
	b := newBench(t).start()
	r := b.do(0, "--json", "run", "acme/flux")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Len(t, lines, 65)
	for _, line := range lines {
		var s report.Status
		require.NoError(t, json.Unmarshal([]byte(line), &s))
	}
}

func TestRunOnATerminal(t *testing.T) {
	b := newBench(t).start()
	b.terminal = true
	r := b.do(0, "run", "acme/flux")
	require.Contains(t, r.stdout, "step 2 of 4, 20 %, bakes for another 10m, next look in 1m")
	require.Contains(t, r.stdout, "\x1b[J12:16:00  raise 5 → 20 %")
	require.Regexp(t, `errors +0.0\d+ % +1680 `, r.stdout)
	b.env["TERM"] = "dumb"
	b.do(0, "rollback", "acme/flux")
	b.do(0, "start", "--canary", "deployment=acme/next", "acme/flux")
	require.NotContains(t, b.do(0, "run", "acme/flux").stdout, "\x1b")
}

func TestWatch(t *testing.T) {
	b := newBench(t).start()
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx = ctx
	looks := 0
	b.clock.slept = func(time.Time) {
		if looks++; looks == 3 {
			cancel()
		}
	}
	writes := b.kv.writes
	r := b.do(130, "status", "--watch", "--json", "acme/flux")
	require.Len(t, strings.Split(strings.TrimSpace(r.stdout), "\n"), 3)
	require.Empty(t, r.stderr)
	require.Equal(t, writes, b.kv.writes)
}

// TestWatchEnds: with the rollout, whose reason is shown.
func TestWatchEnds(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		b := newBench(t).start()
		b.terminal = terminal
		ended := false
		b.clock.slept = func(time.Time) {
			if !ended {
				ended = true
				b.do(0, "rollback", "--reason", "customers complain", "acme/flux")
			}
		}
		r := b.do(0, "status", "--watch", "acme/flux")
		require.Contains(t, r.stdout, "rolled back")
		require.Contains(t, r.stdout, "customers complain\n")
	}
}

func TestSwitchIsRenewed(t *testing.T) {
	b := newBench(t).start()
	first := b.document().UnattendedAfterMS
	b.clock.advance(10 * time.Minute)
	b.do(0, "step", "acme/flux")
	require.Equal(t, first, b.document().UnattendedAfterMS, "more than half is left")
	b.source.canary = nothing
	since := b.state().StepSince
	b.clock.advance(25 * time.Minute)
	b.do(0, "step", "acme/flux")
	require.Equal(t, b.clock.now.Add(time.Hour).UnixMilli(), b.document().UnattendedAfterMS)
	require.Equal(t, since, b.state().StepSince)

	b.clock.advance(61 * time.Minute)
	b.source.canary = healthy
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 500)
	require.Equal(t, rollout.ActionRevive, b.state().Last.Action)
}

func TestInterruptedStep(t *testing.T) {
	b := newBench(t).start()
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx = ctx
	cancel()
	require.True(t, errors.Is(ctx.Err(), context.Canceled))
	b.do(130, "step", "acme/flux")
}
