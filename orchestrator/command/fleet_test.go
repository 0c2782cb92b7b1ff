package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// startFleet begins a rollout of each service, by the policy quick.
func startFleet(t testing.TB, services ...string) *bench {
	b := newBench(t)
	b.policy(quick)
	for _, service := range services {
		b.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", service)
	}
	return b
}

func serviceOf(t testing.TB, name string) document.Service {
	service, err := document.ParseService(name)
	require.NoError(t, err)
	return service
}

func (b *bench) stateOf(name string) rollout.State {
	b.t.Helper()
	s, err := rollout.Decode(b.kv.values[serviceOf(b.t, name).StateKey()])
	require.NoError(b.t, err)
	return s
}

// jsonLines are the statuses that a command printed, by service.
func jsonLines(t testing.TB, text string) map[string]report.Status {
	statuses := map[string]report.Status{}
	for line := range strings.Lines(text) {
		var s report.Status
		require.NoError(t, json.Unmarshal([]byte(line), &s), line)
		statuses[s.Service] = s
	}
	return statuses
}

// TestStepAll: each service gets its own verdict, by one query for all. One that
// is broken is named and left out, and stops none of the others.
func TestStepAll(t *testing.T) {
	prepare := func() *bench {
		b := startFleet(t, "http:bad", "http:broken", "http:good", "http:over")
		b.do(0, "rollback", "http:over")
		b.clock.advance(3 * time.Minute)
		b.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", "http:young")
		b.clock.advance(2 * time.Minute)
		b.do(0, "step", "--all")
		b.kv.values[serviceOf(t, "http:broken").StateKey()] = []byte("{")
		b.source.arms = map[string]arm{"http:bad": failing}
		b.clock.advance(3 * time.Minute)
		b.source.queries = nil
		return b
	}
	b := prepare()
	r := b.do(exitRolledBack, "step", "--all")
	require.Len(t, b.source.queries, 1)
	require.Equal(t, rollout.RolledBack, b.stateOf("http:bad").Phase)
	require.Equal(t, 5000, b.stateOf("http:good").Document.BasisPoints)
	require.Equal(t, 2000, b.stateOf("http:young").Document.BasisPoints)
	golden(t, "step_all.txt", r.stdout)

	b = prepare()
	lines := jsonLines(t, b.do(exitRolledBack, "step", "--all", "--json").stdout)
	require.Len(t, lines, 4, "one has ended before")
	require.Equal(t, "rollback", lines["http:bad"].Action)
	require.Equal(t, "raise", lines["http:good"].Action)
	require.Equal(t, "hold", string(lines["http:young"].Verdict.Decision))
	require.Contains(t, lines["http:broken"].Error, "read state: ")

	b = prepare()
	writes := b.kv.writes
	require.Contains(t, b.run("step", "--all", "--dry-run").stdout, "dry run: would write\n  halt:http:bad = 2026-11-20-a\n")
	require.Equal(t, writes, b.kv.writes)
}

// TestStepAllWithoutRatings: where ratings cannot be had, those services alone are held
// that are judged by them.
func TestStepAllWithoutRatings(t *testing.T) {
	b := startFleet(t, "http:plain")
	b.policy(quick + "metrics: {feedback: {rollback: {absolute: 10}}}\n")
	b.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", "http:rated")
	b.source.noRatings = errors.New("query analytics: status 503")
	b.clock.advance(7 * time.Minute)
	lines := jsonLines(t, b.do(0, "step", "--all", "--json").stdout)
	require.Equal(t, "raise", lines["http:plain"].Action)
	require.Equal(t, "query analytics: status 503", lines["http:rated"].Verdict.Problem)
	b.source.noRatings = nil
	b.do(0, "step", "--all")
	require.Equal(t, 5000, b.stateOf("http:rated").Document.BasisPoints)
}

// TestStepAllWithOneTooLarge: a service that cannot be measured, as its answer never
// fits, holds no other.
func TestStepAllWithOneTooLarge(t *testing.T) {
	b := startFleet(t, "http:a", "http:b", "http:large", "http:z")
	b.source.flood = "http:large"
	b.clock.advance(7 * time.Minute)
	lines := jsonLines(t, b.do(0, "step", "--all", "--json").stdout)
	for _, other := range []string{"http:a", "http:b", "http:z"} {
		require.Equal(t, "raise", lines[other].Action)
	}
	require.Contains(t, lines["http:large"].Verdict.Problem, "cut off at its limit of rows")
}

// TestStepAllExitCodes: the gravest of all services'.
func TestStepAllExitCodes(t *testing.T) {
	b := newBench(t)
	require.Contains(t, b.do(0, "step", "--all").stdout, "no rollout is at work")
	require.Contains(t, b.do(exitUsage, "step", "--all", "acme/flux").stderr, "leave out the service or --all")

	b = startFleet(t, "http:a", "http:b")
	b.do(0, "step", "--all")
	b.kv.values[serviceOf(t, "http:b").StateKey()] = []byte("{")
	b.do(exitError, "step", "--all")
	b.source.canary = nothing
	b.clock.advance(time.Hour)
	b.do(5, "step", "--all")
	b.kv.away = true
	require.Contains(t, b.do(exitError, "step", "--all").stderr, "status 503")
}

// TestStepAllLosesARaceAlone: whatever call it is at, a service that someone else
// changes meanwhile is left to them, and the others are raised once.
func TestStepAllLosesARaceAlone(t *testing.T) {
	prepare := func() *bench {
		b := startFleet(t, "http:a", "http:b", "http:c")
		b.clock.advance(7 * time.Minute)
		return b
	}
	step := []string{"step", "--all"}
	n := calls(t, prepare, step)
	for _, hand := range [][]string{{"set", "--percentage", "3", "http:b"}, {"rollback", "http:b"}} {
		lost := 0
		for i := range n {
			b := prepare()
			late := b.race(step...)
			late.step(i)
			b.do(0, hand...)
			r := late.finish()
			require.Contains(t, []int{0, exitLostRace, exitRolledBack}, r.code, r.stdout+r.stderr)
			if strings.Contains(r.stdout, "http:b  left out: someone else changed the rollout meanwhile") {
				require.Equal(t, exitLostRace, r.code)
				lost++
			}
			b.run(step...)
			for _, other := range []string{"http:a", "http:c"} {
				require.Equal(t, 5000, b.stateOf(other).Document.BasisPoints, "%v at call %d", hand, i)
				raised := 0
				for _, e := range b.kv.changes(serviceOf(t, other)) {
					if e.Action == rollout.ActionRaise && e.Generation != b.stateOf(other).Last.Generation {
						raised++
					}
				}
				require.Zero(t, raised, "%v at call %d", hand, i)
			}
			s := b.stateOf("http:b")
			require.Contains(t, []rollout.Phase{rollout.Paused, rollout.RolledBack}, s.Phase, "%v at call %d", hand, i)
		}
		if hand[0] == "set" {
			require.NotZero(t, lost)
		}
	}
}

// TestRunAll: it goes on until nothing is at work, takes up what begins
// meanwhile, and says once what keeps a service out.
func TestRunAll(t *testing.T) {
	b := startFleet(t, "http:bad", "http:broken", "http:good")
	b.source.arms = map[string]arm{"http:bad": failing}
	b.kv.values[serviceOf(t, "http:broken").StateKey()] = []byte("{")
	begun := false
	b.clock.slept = func(now time.Time) {
		if !begun && now.Sub(noon) >= 9*time.Minute {
			begun = true
			b.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", "http:later")
		}
	}
	r := b.do(exitRolledBack, "run", "--all")
	require.Equal(t, rollout.RolledBack, b.stateOf("http:bad").Phase)
	for _, name := range []string{"http:good", "http:later"} {
		require.Equal(t, rollout.Promoted, b.stateOf(name).Phase)
	}
	require.Equal(t, 1, strings.Count(r.stdout, "http:broken  left out: "))
	require.Contains(t, r.stdout, "http:good  raise 20 → 50 %")
	require.Contains(t, r.stdout, "http:later  promote: all users")
	require.Contains(t, r.stdout, "12:00:00  2 running, 1 left out\n", "a heartbeat")
}

// TestRunAllTellsWhatOthersEnd: by hand, while it sleeps.
func TestRunAllTellsWhatOthersEnd(t *testing.T) {
	b := startFleet(t, "http:a", "http:b")
	ended := false
	b.clock.slept = func(now time.Time) {
		if !ended {
			ended = true
			b.do(0, "rollback", "--reason", "customers complain", "http:a")
		}
	}
	r := b.do(exitRolledBack, "run", "--all")
	require.Equal(t, 1, strings.Count(r.stdout, "http:a  rolled back at 0 %: customers complain\n"), r.stdout)
	require.Equal(t, rollout.Promoted, b.stateOf("http:b").Phase)
}

func TestRunAllOutlivesAnOutage(t *testing.T) {
	b := startFleet(t, "http:a")
	b.clock.slept = func(now time.Time) { b.kv.away = now.Sub(noon) > 2*time.Minute && now.Sub(noon) < 9*time.Minute }
	r := b.do(0, "run", "--all")
	require.Contains(t, r.stdout, "look failed, trying again: read KV: status 503")
	require.Equal(t, rollout.Promoted, b.stateOf("http:a").Phase)

	b = startFleet(t, "http:a")
	b.kv.away = true
	b.do(exitError, "run", "--all")
	require.Equal(t, noon, b.clock.now, "at once, where no look ever succeeded")
}

// TestFleetTellsGitHub of all services together.
func TestFleetTellsGitHub(t *testing.T) {
	b := startFleet(t, "http:bad", "http:good")
	dir := t.TempDir()
	b.env["GITHUB_STEP_SUMMARY"], b.env["GITHUB_OUTPUT"] = dir+"/summary", dir+"/output"
	b.source.arms = map[string]arm{"http:bad": failing}
	b.clock.advance(7 * time.Minute)
	b.do(exitRolledBack, "step", "--all")
	golden(t, "github_summary_all.md", read(t, dir+"/summary"))
	require.Equal(t, "changed=http:good\nrolled_back=http:bad\nleft_out=\n", read(t, dir+"/output"))
}

// TestReadByHalves: a value that is no text spoils the read of those beside it,
// and is found with few further calls.
func TestReadByHalves(t *testing.T) {
	b := newBench(t)
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("k:%03d", i))
		b.kv.values[keys[i]] = []byte("v")
	}
	b.kv.spoiled = "k:123"
	a := &account{store: b.kv}
	reads := b.kv.reads
	values, err := a.read(t.Context(), keys...)
	require.NoError(t, err)
	require.Len(t, values, 300)
	require.Less(t, b.kv.reads-reads, 25)

	b.kv.away = true
	reads = b.kv.reads
	_, err = a.read(t.Context(), keys...)
	require.ErrorIs(t, err, errAway)
	require.Less(t, b.kv.reads-reads, 15, "an outage is not asked about key by key")
}
