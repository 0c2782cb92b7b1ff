package command

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
)

// hour is analytics that know what stable of acme/flux served in the hour before
// noon: as much each minute.
type hour struct {
	*fakeSource
	perMinute int
	errors    []int // minutes with one error
	users     int
	most      int   // requests of the user who made most; 0 as many as the others
	crowdErr  error // of the second question
}

func (h hour) Query(ctx context.Context, sql string) ([]cloudflare.Row, error) {
	switch {
	case h.err != nil:
		return nil, h.err
	case strings.Contains(sql, "AS in_rollout"):
		return asked(sql, h.minutes()), nil
	case strings.Contains(sql, "AS most"):
		return h.crowd(), h.crowdErr
	}
	return h.fakeSource.Query(ctx, sql)
}

// asked are the rows of the minutes that a statement is about.
func asked(sql string, rows []cloudflare.Row) []cloudflare.Row {
	span := askedSpan.FindStringSubmatch(sql)
	return filter(rows, func(row cloudflare.Row) bool {
		slot, _ := row.Float("slot")
		from, _ := strconv.ParseFloat(span[1], 64)
		to, _ := strconv.ParseFloat(span[2], 64)
		return slot*60 >= from && slot*60 < to
	})
}

func (h hour) crowd() []cloudflare.Row {
	requests := 60 * h.perMinute
	most := max(h.most, requests/max(1, h.users))
	return []cloudflare.Row{{"users": number(float64(h.users)), "requests": number(float64(requests)), "most": number(float64(most))}}
}

// minutes are the rows of 60 minutes: times from 400 ms to 1.6 s, one in ten
// thrice as long.
func (h hour) minutes() (rows []cloudflare.Row) {
	end := noon.Add(-time.Minute).Unix() / 60
	for slot := end - 60; slot < end; slot++ {
		bins := map[int]int{}
		for i := range h.perMinute {
			ms := 400 * math.Pow(4, (float64(i)+0.5)/float64(h.perMinute))
			if i%10 == 9 {
				ms *= 3
			}
			bins[histogram.Bucket(ms)]++
		}
		for bin, n := range bins {
			rows = append(rows, minuteRow(slot, "ok", bin, n))
		}
	}
	for _, minute := range h.errors {
		rows = append(rows, minuteRow(end-60+int64(minute), "error", -1, 1))
	}
	return rows
}

func minuteRow(slot int64, class string, bin, n int) cloudflare.Row {
	count := number(float64(n))
	return cloudflare.Row{"service": "model:acme/flux", "variant": "stable", "in_rollout": "", "slot": number(float64(slot)), "class": class,
		"time_bin": number(float64(bin)), "predict_bin": number(-1), "token_bin": number(-1), "told_user": "", "n": count, "w": count, "w2": count}
}

// startBy starts a rollout with these analytics.
func (b *bench) startBy(source Source, code int, args ...string) result {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	a := b.app()
	a.stdout, a.stderr = &stdout, &stderr
	a.connect = func(cloudflare.Config) (Store, Source) { return b.kv, source }
	args = append([]string{"orchestrator", "start", "--stable", "version=acme/flux:" + oldID, "--canary", "version=acme/flux:" + newID}, args...)
	r := result{a.run(b.ctx, append(args, "acme/flux")), stdout.String(), stderr.String()}
	require.Equal(b.t, code, r.code, "%s%s", r.stdout, r.stderr)
	return r
}

// planOf is the part of start's output that tells of the plan.
func planOf(output string) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(output, dryRunTitle+"\n"), "model:acme/flux  rollout")
	return text
}

var planCases = []struct {
	name   string
	source func(*fakeSource) Source
	args   []string
}{
	{"plenty", func(f *fakeSource) Source {
		return hour{fakeSource: f, perMinute: 3000, errors: []int{1, 2, 3, 4, 30, 31, 32, 33, 50}, users: 4000}
	}, nil},
	{"little", func(f *fakeSource) Source {
		return hour{fakeSource: f, perMinute: 100, errors: []int{1, 2, 20, 33, 50, 51}, users: 400}
	}, nil},
	{"little_auto", func(f *fakeSource) Source {
		return hour{fakeSource: f, perMinute: 100, errors: []int{1, 2, 20, 33, 50, 51}, users: 400}
	}, []string{"--steps", "auto"}},
	{"own_steps", func(f *fakeSource) Source {
		return hour{fakeSource: f, perMinute: 300, errors: []int{1, 20, 33, 50}, users: 400}
	}, []string{"--steps", "10, 50,100"}},
	{"tiny", func(f *fakeSource) Source { return hour{fakeSource: f, perMinute: 4, users: 9} }, nil},
	{"tiny_auto", func(f *fakeSource) Source { return hour{fakeSource: f, perMinute: 4, users: 9} }, []string{"--steps", "auto"}},
	{"one_user", func(f *fakeSource) Source {
		return hour{fakeSource: f, perMinute: 500, errors: []int{1, 20, 33, 50}, users: 300, most: 12_000}
	}, nil},
	{"no_traffic", func(f *fakeSource) Source { return hour{fakeSource: f} }, nil},
	{"no_traffic_auto", func(f *fakeSource) Source { return hour{fakeSource: f} }, []string{"--steps", "auto"}},
	{"no_data", func(f *fakeSource) Source { f.err = cloudflare.ErrNoData; return f }, nil},
	{"no_analytics", func(f *fakeSource) Source { f.err = errAway; return f }, nil},
}

// TestPlan: what start says beforehand.
func TestPlan(t *testing.T) {
	for _, c := range planCases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			r := b.startBy(c.source(b.source), 0, append(c.args, "--dry-run")...)
			golden(t, "plan_"+c.name+".txt", planOf(r.stdout))
			require.Empty(t, b.kv.values, "a dry run writes nothing")
		})
	}
}

// young are analytics of a service whose first requests came in one minute.
type young struct {
	*fakeSource
	slot int64
}

func (y young) Query(ctx context.Context, sql string) ([]cloudflare.Row, error) {
	if strings.Contains(sql, "AS in_rollout") {
		return asked(sql, []cloudflare.Row{minuteRow(y.slot, "ok", 70, 30)}), nil
	}
	return nil, nil
}

// TestPlanOfYoung: a service that has just begun is not one without traffic.
func TestPlanOfYoung(t *testing.T) {
	for ago := range int64(3) {
		b := newBench(t)
		source := young{b.source, noon.Unix()/60 - ago}
		at := noon.Add(time.Duration(3-ago) * time.Minute).Format("15:04 UTC")
		plan := strings.Join(strings.Fields(planOf(b.startBy(source, 0, "--dry-run").stdout)), " ")
		require.Contains(t, plan, "stable has served for less than a whole interval of 1m: try again at "+at)
		refusal := b.startBy(source, 6, "--steps", "auto").stderr
		require.Contains(t, refusal, "steps cannot be laid without the traffic: stable has served for less than a whole interval")
		require.Empty(t, b.kv.values)
	}
}

// TestPlanInJSON: the same in figures.
func TestPlanInJSON(t *testing.T) {
	b := newBench(t)
	r := b.startBy(planCases[2].source(b.source), 0, "--steps", "auto", "--json")
	var status struct {
		Plan   plan.Plan     `json:"plan"`
		Policy policy.Policy `json:"policy"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &status))
	require.InDelta(t, 100, status.Plan.Traffic.PerMinute, 1)
	require.EqualValues(t, 400, status.Plan.Traffic.Users)
	require.True(t, status.Plan.Auto)
	require.Len(t, status.Plan.Steps, len(status.Policy.Steps))
	require.Equal(t, status.Policy, b.state().Policy, "the laid steps are frozen into the state")
	require.Equal(t, status.Policy.Steps[0].BasisPoints, b.state().Document.BasisPoints, "and the first of them begins")
	require.Greater(t, status.Policy.Steps[0].BasisPoints, 500)
}

// TestStepsRefused: what cannot be laid or does not hold together.
func TestStepsRefused(t *testing.T) {
	broken := func(f *fakeSource) Source { return hour{fakeSource: f, perMinute: 10, users: 3, crowdErr: errAway} }
	away := func(f *fakeSource) Source { f.err = errAway; return f }
	whole := func(f *fakeSource) Source { return f }
	cases := []struct {
		name, steps string
		source      func(*fakeSource) Source
		code        int
		says        string
	}{
		{"no analytics", "auto", away, exitRefused, "steps cannot be laid without the traffic"},
		{"half the analytics", "auto", broken, exitRefused, "hint: give them: start --steps 5,20,50,100"},
		{"falling", "50,20", whole, exitUsage, "steps[1]: 20 after 50: the steps must rise"},
		{"no percentage", "5,much", whole, exitUsage, `--steps "5,much"`},
		{"empty", "", whole, exitUsage, "give auto, or rising percentages such as 5,20,50,100"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			r := b.startBy(c.source(b.source), c.code, "--steps", c.steps)
			require.Contains(t, r.stderr, c.says)
			require.Empty(t, b.kv.values)
		})
	}
}

// TestPlanSQL: the statement that asks for users.
func TestPlanSQL(t *testing.T) { golden(t, "crowd.sql", crowdSQL("requests", flux, 1000, 4600)+"\n") }
