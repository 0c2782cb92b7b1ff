package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
	"perch/orchestrator/simulate"
)

func TestSimulate(t *testing.T) {
	b := newBench(t)
	r := b.do(0, "simulate", "--rate", "1000", "--worse", "5", "--runs", "20", "--method", "evidence", "--method", "fixed")
	require.Regexp(t, `healthy +1,000 +evidence +0 .*\n +healthy +1,000 +fixed .*\n +worse +1,000 +evidence +100 .*\n +worse +1,000 +fixed +100 `, r.stdout)
	require.Contains(t, r.stdout, "20 rollouts a row, seed 1.")
	require.Regexp(t, `(?m)^20 of 80 rollouts: healthy at 1,000 a minute by evidence: rolled back 0 %`, r.stderr)
	require.Equal(t, r.stdout, b.do(0, "simulate", "--rate", "1000", "--worse", "5", "--runs", "20", "--method", "evidence", "--method", "fixed").stdout, "the same seed")
	require.NotEqual(t, r.stdout, b.do(0, "simulate", "--rate", "1000", "--worse", "5", "--runs", "20", "--seed", "2", "--method", "evidence", "--method", "fixed").stdout)
	require.Empty(t, b.source.queries)
	require.Zero(t, b.kv.writes)
}

// TestSimulatePolicy: the policy in force is what is tried.
func TestSimulatePolicy(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "perch.yaml")
	require.NoError(t, os.WriteFile(file, []byte("metrics:\n  errors: {rollback: {absolute: 90, relative: 1.5}, promote: {absolute: 80, relative: 1.2}}\n"), 0o644))
	args := []string{"simulate", "--rate", "1000", "--worse", "20", "--runs", "20", "--json"}
	rolledBack := func(args []string) int {
		var result simulated
		require.NoError(t, json.Unmarshal([]byte(b.do(0, args...).stdout), &result))
		require.Equal(t, "worse", result.Rows[1].Scenario)
		require.True(t, result.Rows[1].Bad)
		require.EqualValues(t, "evidence", result.Rows[1].Method)
		return result.Rows[1].RolledBack
	}
	require.Equal(t, 20, rolledBack(args))
	require.Equal(t, 0, rolledBack(append(args, "--policy", file)), "the policy allows for 80 %")
}

func TestSimulateChart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.svg")
	newBench(t).do(0, "simulate", "--scenario", "latencyx2@1000", "--published", "--runs", "5", "--method", "fixed", "--chart", file)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "latency×2")
}

func TestSimulateList(t *testing.T) {
	out := newBench(t).do(0, "simulate", "--scenario", "list").stdout
	require.Contains(t, out, "table (13)\n  healthy@1000\n")
	require.Contains(t, out, "matrix (160)\n  errors-0.1+1@10\n")
}

func TestSimulateRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"no runs", []string{"--runs", "0"}, "--runs 0 is not allowed"},
		{"no traffic", []string{"--rate", "0"}, "--rate 0 is not allowed"},
		{"more than all", []string{"--errors", "101"}, "--errors 101 is not allowed"},
		{"unknown method", []string{"--method", "luck"}, `--method "luck" is not known`},
		{"unknown scenario", []string{"--scenario", "luck"}, `--scenario "luck" is not known`},
		{"a scenario made worse", []string{"--scenario", "healthy", "--worse", "1"}, "--worse and --scenario healthy are both given"},
		{"failing users without users", []string{"--failing-users", "1"}, "--failing-users 1 is not allowed"},
		{"sampling", []string{"--sampling", "10"}, `--sampling "10" is not allowed`},
		{"more sampling than traffic", []string{"--sampling", "60:1:10", "--sampling", "50:1:2"}, `--sampling "50:1:2" is not allowed`},
		{"a service without a replay", []string{"acme/flux"}, `unexpected argument "acme/flux"`},
		{"a time without a replay", []string{"--from", "2026-11-20T11:00:00Z"}, "--from says nothing without --replay"},
		{"a replay of made-up traffic", []string{"--replay", "--rate", "10", "acme/flux"}, "--rate and --replay are both given"},
		{"no time", []string{"--replay", "--from", "yesterday", "acme/flux"}, `--from "yesterday" is not allowed`},
		{"no span", []string{"--replay", "--from", "2026-11-20T11:00:00Z", "--to", "2026-11-20T10:00:00Z", "acme/flux"}, "cannot be replayed"},
		{"a replay of no service", []string{"--replay"}, "no service is given"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newBench(t).do(2, append([]string{"simulate"}, test.args...)...)
			require.Contains(t, r.stderr, test.stderr)
			require.Regexp(t, `^orchestrator: [^\n]+\nhint: [^\n]+\n$`, r.stderr)
			require.Empty(t, r.stdout)
		})
	}
}

func TestSamplingOf(t *testing.T) {
	for text, want := range map[string][]simulate.Sampling{
		"1:10":     {{Share: 1, Weight: 10}},
		"50:1:10":  {{Share: 0.5, Weight: 10}, {Share: 0.5, Weight: 1}},
		"100:1:2":  {{Share: 1, Weight: 2}},
		"12.5:1:4": {{Share: 0.125, Weight: 4}, {Share: 0.875, Weight: 1}},
	} {
		got, err := samplingOf([]string{text})
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
}

// recordedSource answers with what was measured of a service in some intervals of
// a minute.
type recordedSource struct {
	t         *testing.T
	service   string
	rollout   string
	intervals []judge.Interval
	asked     int
}

var askedTime = regexp.MustCompile(`timestamp >= toDateTime\((\d+)\) AND timestamp < toDateTime\((\d+)\)`)

// lookBack is how long before an interval a statement looks for predictions' requests.
const lookBack = 600

func (s *recordedSource) Query(_ context.Context, sql string) ([]cloudflare.Row, error) {
	s.asked++
	match := askedTime.FindStringSubmatch(sql)
	require.NotNil(s.t, match, sql)
	from, _ := strconv.ParseInt(match[1], 10, 64)
	to, _ := strconv.ParseInt(match[2], 10, 64)
	var rows []cloudflare.Row
	for _, i := range s.intervals {
		if i.Index*60 >= from+lookBack && i.Index*60 < to {
			rows = append(append(rows, s.rows(i.Index, "stable", i.Stable)...), s.rows(i.Index, "canary", i.Canary)...)
		}
	}
	return rows, nil
}

// rows tell of each user who is known in a row of one request.
func (s *recordedSource) rows(slot int64, variant string, c judge.Counts) (rows []cloudflare.Row) {
	add := func(class string, bin int, n float64, users []uint32) {
		for i := range min(len(users), int(n)) + 1 {
			user, part := "", n-float64(len(users))
			if i < len(users) {
				user, part = fmt.Sprintf("%08x", users[i]), 1
			}
			if part > 0 {
				rows = append(rows, cloudflare.Row{"service": s.service, "variant": variant, "in_rollout": s.rollout, "slot": number(float64(slot)), "class": class,
					"time_bin": number(float64(bin)), "predict_bin": number(-1), "token_bin": number(-1), "told_user": user, "n": number(part), "w": number(part), "w2": number(part)})
			}
		}
	}
	add("error", -1, c.Errors, c.FailingUsers)
	users := slices.DeleteFunc(slices.Clone(c.Users), func(print uint32) bool { return slices.Contains(c.FailingUsers, print) })
	for i, n := range c.Times[judge.FirstByte].Counts {
		told := users[:min(len(users), int(n))]
		users = users[len(told):]
		add("ok", c.Times[judge.FirstByte].First+i, n, told)
	}
	return rows
}

// recordedBench is an account with the recording of a rollout that began two hours
// ago and went to 50 % after half an hour, where its canary was 10 points worse.
func recordedBench(t *testing.T) (*bench, *recordedSource) {
	b := newBench(t)
	began := noon.Add(-2 * time.Hour)
	for i, e := range []rollout.Entry{
		{Time: began.Add(-50 * time.Hour), Action: rollout.ActionStart, Rollout: "older", To: 2_000},
		{Time: began, Action: rollout.ActionStart, Rollout: "recorded", To: 2_000},
		{Time: began.Add(30 * time.Minute), Action: rollout.ActionRaise, Rollout: "recorded", From: 2_000, To: 5_000},
		{Time: began.Add(60 * time.Minute), Action: rollout.ActionRollback, Rollout: "recorded", From: 5_000},
	} {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		b.kv.values[fmt.Sprintf("%s%02d", flux.HistoryPrefix(), i)] = text
	}
	source := &recordedSource{t: t, service: flux.String(), rollout: "recorded"}
	good := simulate.Scenario{Rate: 800, Errors: 0.001, Users: &simulate.Users{Calls: 4, Stay: 10, Share: 1}}
	bad := good
	bad.Worse = 0.1
	traffic := map[bool]simulate.Traffic{false: good.Traffic(rand.NewPCG(1, 1)), true: bad.Traffic(rand.NewPCG(1, 1))}
	for minute := -90; minute < 115; minute++ {
		m := simulate.Moment{Minute: float64(minute), InStep: 9, Length: 1}
		switch {
		case minute >= 30 && minute < 60:
			m.BasisPoints = 5_000
		case minute >= 0 && minute < 30:
			m.BasisPoints = 2_000
		}
		s := traffic[minute >= 30].Next(m)
		source.intervals = append(source.intervals, judge.Interval{Index: began.Unix()/60 + int64(minute), Canary: s.Canary, Stable: s.Stable})
	}
	return b, source
}

func TestReplay(t *testing.T) {
	b, source := recordedBench(t)
	run := func(code int, args ...string) result {
		var stdout, stderr bytes.Buffer
		a := b.app()
		a.stdout, a.stderr = &stdout, &stderr
		a.connect = func(cloudflare.Config) (Store, Source) { return b.kv, source }
		require.Equal(t, code, a.run(b.ctx, append([]string{"orchestrator", "simulate", "--replay", "--runs", "10"}, args...)), stderr.String())
		return result{code, stdout.String(), stderr.String()}
	}
	var got replayed
	require.NoError(t, json.Unmarshal([]byte(run(0, "--json", "--from", "2026-11-20T09:30:00Z", "--to", "2026-11-20T11:50:00Z", "acme/flux").stdout), &got))
	require.Equal(t, "recorded", got.Rollout)
	require.Len(t, got.Events, 2)
	require.Equal(t, judge.Promote, got.Events[0].Decision)
	require.EqualValues(t, 2_000, got.Events[0].Percentage)
	require.Equal(t, judge.Rollback, got.Events[1].Decision)
	require.EqualValues(t, 5_000, got.Events[1].Percentage)
	require.WithinDuration(t, noon.Add(-88*time.Minute), got.Events[1].At, 3*time.Minute)
	require.Equal(t, "healthy", got.Rows[0].Scenario)
	require.Zero(t, got.Rows[0].RolledBack)
	require.InDelta(t, 700, got.Rows[0].Rate, 120, "stable's traffic")
	require.Equal(t, "errors+5", got.Rows[2].Scenario)
	require.Equal(t, 10, got.Rows[2].RolledBack)
	require.Greater(t, source.asked, 2, "an hour at once")

	out := run(0, "--from", "2026-11-20T09:30:00Z", "--to", "2026-11-20T11:50:00Z", "acme/flux").stdout
	require.Regexp(t, `(?m)^  2026-11-20T10:3\d:00Z  rollback at 50 %: the error rate of the canary`, out)
	out = run(0, "--from", "2026-11-20T11:01:00Z", "acme/flux").stdout
	require.Contains(t, out, "no rollout began in this time")
	require.Contains(t, run(6, "--from", "2026-11-18T11:00:00Z", "--to", "2026-11-18T12:00:00Z", "acme/flux").stderr, "had no traffic")
}
