package policy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
)

const full = `
method: thresholds
steps: [1, 12.5, {percentage: 50, bake: 30m, approve: true, pause: 1h, metrics: {latency_p95: {rollback: {relative: 2}}, errors: {ceiling: 20}}}]
interval: 30s
look: 30s
bake: 20m
window: 4m
reference: 12m
history: 2h
cold_start: 90s
spread: 1m
lag: 45s
expire: 3m
min_requests: 250
failures: 5
unattended_after: 90m
deadline: 3h
on_inconclusive: rollback
metrics:
  errors: {rollback: {absolute: 2, relative: 2}, promote: {absolute: 0.25, relative: 1.1}, ceiling: 10}
  latency_p95: {rollback: {absolute: 200ms, relative: 1.6}, promote: {absolute: 150ms}, floor: 100ms, ceiling: 3s}
  latency_p50: {observe: true}
  cost_p50: {observe: false}
  total_p50: off
  feedback: {rollback: {absolute: 20}}
`

func seconds(n int) Duration { return Duration(time.Duration(n) * time.Second) }

func TestParse(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	want := Policy{
		Method: judge.Thresholds, Interval: seconds(30), Look: seconds(30), Bake: seconds(1200), Window: seconds(240), Reference: seconds(720),
		History: seconds(7200), ColdStart: seconds(90), Spread: seconds(60), Lag: seconds(45), Expire: seconds(180), MinRequests: 250, Failures: 5,
		UnattendedAfter: seconds(5400), Deadline: seconds(10800), OnInconclusive: InconclusiveRollback, Limits: judge.DefaultLimits(),
	}
	want.Limits[judge.Errors] = judge.Bounds{Rollback: judge.Limit{Absolute: 0.02, Relative: 2}, Promote: judge.Limit{Absolute: 0.0025, Relative: 1.1}, Ceiling: 0.1}
	want.Limits[judge.LatencyP95] = judge.Bounds{Rollback: judge.Limit{Absolute: 200, Relative: 1.6}, Promote: judge.Limit{Absolute: 150, Relative: 1.2}, Floor: 100, Ceiling: 3000}
	want.Limits[judge.LatencyP50] = judge.Bounds{Rollback: judge.Limit{Relative: 1.5}, Promote: judge.Limit{Relative: 1.2}, Observe: true}
	want.Limits[judge.CostP50] = judge.Bounds{Rollback: judge.Limit{Relative: 1.5}, Promote: judge.Limit{Relative: 1.2}}
	want.Limits[judge.Feedback] = judge.Bounds{Rollback: judge.Limit{Absolute: 0.2, Relative: 1.5}, Promote: judge.Limit{Absolute: 0.05, Relative: 1.2}}
	delete(want.Limits, judge.TotalP50)
	latency, errors := want.Limits[judge.LatencyP95], want.Limits[judge.Errors]
	latency.Rollback.Relative, errors.Ceiling = 2, 0.2
	want.Steps = []Step{{BasisPoints: 100}, {BasisPoints: 1250}, {BasisPoints: 5000, Bake: seconds(1800), Pause: seconds(3600), Approve: ApproveAlso,
		Limits: judge.Limits{judge.LatencyP95: latency, judge.Errors: errors}}}
	require.Equal(t, want, p)
}

func TestDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing but a comment\n", "metrics:\n", "{}", "steps: [5, 20, 50, {percentage: 100, approve: false}]"} {
		p, err := Parse([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, Default(), p, text)
	}
	p := Default()
	require.Empty(t, p.Validate())
	require.Equal(t, judge.Evidence, p.Method)
	require.Equal(t, Duration(2*time.Hour), p.Deadline)
	require.NotContains(t, p.Limits, judge.Feedback, "few clients rate answers")
	require.Len(t, p.Limits, len(judge.Metrics)-1)
	require.True(t, p.Limits[judge.CostP95].Observe)
}

func TestDeadline(t *testing.T) {
	cases := []struct {
		name, text string
		want       time.Duration
	}{
		{"twice the bakes", "bake: 10m", 80 * time.Minute},
		{"a step's own bake counts", "steps: [5, {percentage: 100, bake: 1h}]", 150 * time.Minute},
		{"lag and interval count where they outweigh the bake", "bake: 30s\nlook: 10s\ninterval: 10s\nwindow: 30s\ncold_start: 0s\nspread: 0s", 4 * (30 + 2*70) * time.Second},
		{"a pause does not count, as the deadline stands still", "steps: [5, {percentage: 100, pause: 24h}]", time.Hour},
		{"given", "deadline: 80m", 80 * time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(c.text))
			require.NoError(t, err)
			require.Equal(t, c.want, time.Duration(p.Deadline))
		})
	}
}

// scaled is a policy of seconds instead of minutes.
const scaled = "interval: 1s\nlook: 200ms\nbake: 3s\nwindow: 3s\nreference: 3s\nhistory: 1m\ncold_start: 0s\nspread: 0s\nlag: 0s\nunattended_after: 6s"

func TestScaledDurations(t *testing.T) {
	p, err := Parse([]byte(scaled))
	require.NoError(t, err)
	require.Equal(t, 6*time.Second, p.Horizon())
	p.Look = seconds(5)
	require.Equal(t, 15*time.Second, p.Horizon(), "three looks at least")
}

func TestSettings(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	plain, own := p.Settings(1250), p.Settings(5000)
	require.Equal(t, judge.Settings{
		Method: judge.Thresholds, Interval: 30 * time.Second, Recent: 4 * time.Minute, Reference: 12 * time.Minute, History: 2 * time.Hour,
		ColdStart: 90 * time.Second, Spread: time.Minute, Horizon: 3 * time.Hour, Alpha: 0.05, Limits: p.Limits, MinRequests: 250, Failures: 5,
	}, plain)
	require.InDelta(t, 1.6, plain.Limits[judge.LatencyP95].Rollback.Relative, 0)
	require.InDelta(t, 2, own.Limits[judge.LatencyP95].Rollback.Relative, 0)
	require.InDelta(t, 100, own.Limits[judge.LatencyP95].Floor, 0, "what the step leaves out is the policy's")
	own.Limits[judge.Errors] = judge.Bounds{}
	require.InDelta(t, 0.2, p.Settings(5000).Limits[judge.Errors].Ceiling, 1e-12, "the policy is left as it was")
}

func TestStepInWords(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	require.Equal(t, "12.5", p.Steps[1].String())
	require.Equal(t, "50 (bake 30m, pause 1h, approval, limits of its own)", p.Steps[2].String())
	require.Equal(t, "5 (approval instead of a verdict)", Step{BasisPoints: 500, Approve: ApproveInstead}.String())
}

func TestHoldback(t *testing.T) {
	p, err := Parse([]byte("holdback: 2.5"))
	require.NoError(t, err)
	require.Equal(t, []Step{{BasisPoints: 500}, {BasisPoints: 2000}, {BasisPoints: 5000}, {BasisPoints: 9750}}, p.Steps)
	p, err = Parse([]byte("holdback: 2.5\nsteps: [5, 50]"))
	require.NoError(t, err)
	require.Equal(t, 5000, p.Steps[1].BasisPoints, "steps that end below 100 stay as they are")
}

func TestAuto(t *testing.T) {
	p, err := Parse([]byte("steps: auto\nholdback: 1"))
	require.NoError(t, err)
	require.True(t, p.Auto)
	require.Len(t, p.Steps, 4, "the default ones until others are laid")
	laid := p.Laid([]Step{{BasisPoints: 1000, Bake: seconds(3600), Approve: ApproveInstead}, {BasisPoints: 10_000}})
	require.Equal(t, []Step{{BasisPoints: 1000, Bake: seconds(3600), Approve: ApproveInstead}, {BasisPoints: 9900}}, laid.Steps)
	require.Equal(t, seconds(9000), laid.Deadline)
	require.Empty(t, laid.Validate())
	require.Equal(t, 9900, p.Steps[3].BasisPoints, "the policy is left as it was")

	p, err = Parse([]byte("steps: auto\ndeadline: 1h"))
	require.NoError(t, err, "the deadline is of the steps that will be laid")
	laid = p.Laid([]Step{{BasisPoints: 1000, Bake: seconds(10_000)}, {BasisPoints: 10_000}})
	require.Equal(t, seconds(3600), laid.Deadline, "what was given stays")
	require.Equal(t, "deadline", laid.Validate()[0].Path)
}

func TestProblems(t *testing.T) {
	requireProblems(t, []problemCase{
		{"unknown field", "look: 1m\nbakee: 3m", "line 2: bakee: is not known here; the fields are method, steps, interval, look"},
		{"unknown nested field", "metrics:\n  errors:\n    promote:\n      relativ: 2", "line 4: metrics.errors.promote.relativ: is not known here; the fields are absolute, relative"},
		{"unknown metric", "metrics:\n  latency_p99: {}", "line 2: metrics.latency_p99: is not known here; the fields are errors, client_errors, feedback, latency_p50, latency_p95, total_p50, total_p95, first_token_p50, first_token_p95, cost_p50, cost_p95"},
		{"twice", "look: 1m\nlook: 2m", "line 2: look: is there twice"},
		{"not a duration", "\nbake: 15", `line 2: bake: "15" is not allowed: give a duration such as 15m`},
		{"negative duration", "lag: -1s", `line 1: lag: "-1s" is not allowed`},
		{"percentage above 100", "steps: [5, 250]", `line 1: steps[1]: percentage "250" is not allowed: give 0 to 100 with at most two decimals`},
		{"three decimals", "steps: [0.125]", "with at most two decimals"},
		{"falling steps", "steps:\n- 20\n- 5", "line 3: steps[1]: 5 after 20: the steps must rise"},
		{"equal steps", "steps: [20, {percentage: 20}]", "line 1: steps[1]: 20 after 20: the steps must rise"},
		{"step of 0", "steps: [0, 5]", "line 1: steps[0]: a step of 0 % tests nothing: begin above 0"},
		{"no steps", "steps: []", "give auto or a list of percentages"},
		{"steps not a list", "steps: 5", "give auto or a list of percentages"},
		{"step without a percentage", "steps:\n- 5\n- {bake: 5m}", "line 3: steps[1]: has no percentage: write {percentage: 5, …}"},
		{"step of a list", "steps: [[5]]", "line 1: steps[0]: write fields and their values here"},
		{"unknown field of a step", "steps: [{percentage: 5, percent: 6}]", "steps[0].percent: is not known here; the fields are percentage, bake, approve, pause, metrics"},
		{"approval", "steps: [{percentage: 5, approve: maybe}]", `steps[0].approve: "maybe" is not allowed: give true, instead or false`},
		{"step off", "steps: [{percentage: 5, metrics: {errors: off}}]", "line 1: steps[0].metrics.errors: cannot be off in a step: give observe: true"},
		{"step's bake too short", "steps:\n- 5\n- percentage: 100\n  bake: 3m", "line 4: steps[1].bake: 3m is too short for window, 5m"},
		{"step's limits", "steps:\n- 5\n- percentage: 100\n  metrics:\n    errors: {promote: {absolute: 2}}", "line 5: steps[1].metrics.errors.promote.absolute: 2 % is above rollback's 1 %"},
		{"step's limits below the policy's", "steps: [{percentage: 5, metrics: {errors: {rollback: {absolute: 1}}}}]\nmetrics: {errors: {rollback: {absolute: 3}, promote: {absolute: 2}}}", "line 1: steps[0].metrics.errors.promote.absolute: 2 % is above rollback's 1 %"},
		{"interval of half a second", "interval: 1500ms", "line 1: interval: 1.5s is not allowed: give whole seconds"},
		{"interval of nothing", "interval: 0s", "line 1: interval: 0s is not allowed: give whole seconds"},
		{"window of half an interval", "window: 30s", "line 1: window: 30s is not a multiple of interval, 1m"},
		{"reference of no whole intervals", "reference: 90s", "line 1: reference: 1m30s is not a multiple of interval, 1m"},
		{"interval longer than a window", "interval: 10m", "window: 5m is not a multiple of interval, 10m"},
		{"more history than can be kept", "history: 2000h", "line 1: history: 2000h is more than 5000 intervals: give less, or a longer interval"},
		{"expire", "expire: 100ms", "line 1: expire: 100ms is not allowed: give whole seconds"},
		{"look too often", "look: 50ms", "line 1: look: give 100ms or more"},
		{"look longer than bake", "look: 20m", "line 1: look: 20m is too long for bake, 15m: look at least once a step"},
		{"window longer than bake", "bake: 3m", "window: 5m is too long for bake, 3m"},
		{"cold start as long as the bake", "cold_start: 15m", "line 1: cold_start: 15m is too long for bake, 15m: times would never be judged"},
		{"spread", "spread: 20m", "line 1: spread: 20m is too long for bake, 15m"},
		{"failures", "method: thresholds\nfailures: 16", "line 2: failures: 16 of interval, 1m, take longer than bake, 15m"},
		{"deadline too soon", "deadline: 10m", "line 1: deadline: 10m is too soon: the steps alone take 1h8m, with lag and interval"},
		{"holdback of a margin", "holdback: 50", "line 1: holdback: 50 % leaves nothing of the last step: give less than 50"},
		{"holdback of all", "holdback: 100", "line 1: holdback: 100 % leaves nothing of the last step"},
		{"step in the holdback", "holdback: 10\nsteps: [5, 95]", "line 2: steps[1]: 95 is more than the holdback of 10 leaves"},
		{"no evidence", "min_requests: 0", `line 1: min_requests: "0" is not allowed`},
		{"no failures", "failures: 0", `line 1: failures: "0" is not allowed: give a whole number from 1 to 1000`},
		{"promote looser than rollback", "metrics: {errors: {promote: {absolute: 2}}}", "line 1: metrics.errors.promote.absolute: 2 % is above rollback's 1 %"},
		{"relative looser", "metrics:\n  latency_p95: {promote: {relative: 1.7}}", "line 2: metrics.latency_p95.promote.relative: 1.7 is above rollback's 1.5"},
		{"time looser", "metrics: {total_p95: {promote: {absolute: 2s}, rollback: {absolute: 1s}}}", "metrics.total_p95.promote.absolute: 2000 ms is above rollback's 1000 ms"},
		{"no limit", "metrics: {latency_p95: {rollback: {relative: 0}, promote: {relative: 0}}}", "metrics.latency_p95.rollback: give absolute or relative, or write latency_p95: off"},
		{"floor above the ceiling", "metrics: {latency_p95: {floor: 3s, ceiling: 2s}}", "line 1: metrics.latency_p95.floor: 3000 ms is not below the ceiling, 2000 ms"},
		{"ceiling below the limit", "metrics: {errors: {ceiling: 1}}", "line 1: metrics.errors.ceiling: 1 % is not above rollback's absolute limit, 1 %"},
		{"errors off", "metrics: {errors: off}", "line 1: metrics.errors: cannot be off: a promotion rests on it"},
		{"errors observed", "metrics: {errors: {observe: true}}", "line 1: metrics.errors.observe: errors cannot be observed alone: a promotion rests on them"},
		{"errors observed in a step", "steps: [{percentage: 5, metrics: {errors: {observe: true}}}, 50]", "line 1: steps[0].metrics.errors.observe: errors cannot be observed alone"},
		{"nothing to go by at 100 %", "metrics: {errors: {promote: {absolute: 0}}}", "line 1: metrics.errors: at 100 % there is no stable traffic to compare with"},
		{"a ceiling alone at 100 %", "metrics: {errors: {promote: {absolute: 0}, ceiling: 10}}", "line 1: metrics.errors: at 100 % there is no stable traffic to compare with"},
		{"relative below 1", "metrics: {errors: {promote: {relative: 0.5}}}", "give a number from 1 to 1000"},
		{"not a number", "metrics: {errors: {promote: {absolute: much}}}", `"much" is not allowed: give a number from 0 to 100`},
		{"nan", "metrics: {errors: {promote: {absolute: NaN}}}", "give a number from 0 to 100"},
		{"rate as a time", "metrics: {errors: {ceiling: 3s}}", `metrics.errors.ceiling: "3s" is not allowed: give a number`},
		{"time as a rate", "metrics: {cost_p95: {ceiling: 3}}", `metrics.cost_p95.ceiling: "3" is not allowed: give a duration`},
		{"observe", "metrics: {cost_p95: {observe: yes}}", `metrics.cost_p95.observe: "yes" is not allowed: give true or false`},
		{"other method", "method: guess", `line 1: method: "guess" is not allowed: give evidence or thresholds`},
		{"other choice", "on_inconclusive: ship", "give hold or rollback"},
		{"not a mapping", "- 5\n- 20", "line 1: policy: write fields and their values here"},
		{"bad YAML", "look: [1", "line 1"},
		{"metrics not a mapping", "metrics: 5", "line 1: metrics: write fields"},
		{"limits as they were", "rollback: {errors: {absolute: 2, relative: 2}, latency_p95: {relative: 1.6}}",
			"line 1: rollback: limits stand with their metric: write metrics: {errors: {rollback: {absolute: 2, relative: 2}}, latency_p95: {rollback: {relative: 1.6}}}"},
		{"a limit without its kind", "rollback: {errors: 1}", "write metrics: {errors: {rollback: {absolute: 1}}}"},
		{"a metric switched on", "metrics: {feedback: on}", "line 1: metrics.feedback: write fields and their values here, such as {rollback: {relative: 2}}"},
		{"a list of metrics", "metrics: [errors]", "line 1: metrics: write fields and their values here, such as {errors: {rollback: {absolute: 1}}}"},
		{"all fields", "bakee: 3m", "min_requests, failures, metrics, edge"},
		{"empty limits as they were", "look: 1m\npromote:", "line 2: promote: limits stand with their metric: write metrics: {errors: {promote: {absolute: 1, relative: 1.5}}}"},
	})
}

// problemCase is a policy that is refused, and a part of what is said of it.
type problemCase struct{ name, text, problem string }

func requireProblems(t *testing.T, cases []problemCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			var invalid *Invalid
			require.ErrorAs(t, err, &invalid)
			require.ErrorContains(t, err, c.problem)
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse([]byte("look: x\nbake: y\nlag: z"))
	var invalid *Invalid
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Problems, 3)
}

func TestAliases(t *testing.T) {
	p, err := Parse([]byte("metrics: {latency_p95: &slow {rollback: {relative: 1.4}}, total_p95: *slow}\nsteps: [5, &last {percentage: 50}]"))
	require.NoError(t, err)
	require.InDelta(t, 1.4, p.Limits[judge.TotalP95].Rollback.Relative, 1e-12)
	require.Equal(t, 5000, p.Steps[1].BasisPoints)
}

func TestFrozenInJSON(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(text), `"look":"30s"`)
	require.Contains(t, string(text), `"steps":[{"basis_points":100},{"basis_points":1250},{"basis_points":5000,"bake":"30m0s","pause":"1h0m0s","approve":"also","limits":{"errors":{`)
	var back Policy
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, p, back)
}

func TestSteps(t *testing.T) {
	p, err := Parse([]byte("steps: [5, {percentage: 20, bake: 30m}, 50, 100]"))
	require.NoError(t, err)
	cases := []struct {
		at, number, next, step int
		bake                   Duration
	}{
		{0, 0, 500, 0, seconds(900)}, {300, 0, 500, 0, seconds(900)}, {500, 1, 2000, 500, seconds(900)}, {2000, 2, 5000, 2000, seconds(1800)},
		{3000, 2, 5000, 2000, seconds(1800)}, {5000, 3, 10000, 5000, seconds(900)}, {10000, 4, 0, 10000, seconds(900)},
	}
	for _, c := range cases {
		next, ok := p.NextStep(c.at)
		require.Equal(t, c.next, next)
		require.Equal(t, c.next != 0, ok)
		require.Equal(t, c.number, p.StepNumber(c.at))
		require.Equal(t, Step{BasisPoints: c.step, Bake: c.bake}, p.StepAt(c.at))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add(scaled)
	f.Add("steps: [5, 20]\nlook: &a 1m\nbake: *a")
	f.Add("steps: auto\nholdback: 3\nmetrics: {feedback: {}, cost_p95: off}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err != nil {
			return
		}
		require.NotEmpty(t, p.Steps)
		require.Positive(t, p.Horizon())
		if !p.Auto {
			require.Empty(t, p.Validate())
		}
		requireRoundTrip(t, p)
	})
}
