package policy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const full = `
method: thresholds
steps: [1, 12.5, 50]
look: 30s
bake: 20m
window: 4m
lag: 45s
min_requests: 250
unattended_after: 90m
deadline: 3h
on_inconclusive: rollback
rollback: {errors: {absolute: 2, relative: 2}, latency_p95: {absolute: 200ms, relative: 1.6}}
promote:
  errors: {absolute: 0.25, relative: 1.1}
  latency_p95: {absolute: 150ms, relative: 1.3}
`

func TestParse(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	require.Equal(t, []int{100, 1250, 5000}, p.Steps)
	require.Equal(t, Duration(30*time.Second), p.Look)
	require.Equal(t, Duration(45*time.Second), p.Lag)
	require.Equal(t, Duration(3*time.Hour), p.Deadline)
	require.Equal(t, InconclusiveRollback, p.OnInconclusive)
	require.EqualValues(t, 250, p.MinRequests)
	require.InDelta(t, 0.02, p.Rollback.Errors.Absolute, 1e-12)
	require.InDelta(t, 200, p.Rollback.LatencyP95.Absolute, 1e-12)
	require.InDelta(t, 0.0025, p.Promote.Errors.Absolute, 1e-12)
	require.InDelta(t, 1.3, p.Promote.LatencyP95.Relative, 1e-12)
}

func TestDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing but a comment\n", "rollback:\n", "{}"} {
		p, err := Parse([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, Default(), p, text)
	}
	require.Equal(t, Duration(2*time.Hour), Default().Deadline)
	p, err := Parse([]byte("bake: 10m\nrollback: {errors: {absolute: 3}}"))
	require.NoError(t, err)
	require.Equal(t, Duration(80*time.Minute), p.Deadline, "the default deadline follows the bake time")
	short, err := Parse([]byte("bake: 30s\nlook: 10s\nwindow: 30s"))
	require.NoError(t, err)
	require.Equal(t, Duration(10*time.Minute), short.Deadline, "the lag counts where it outweighs the bake time")
	require.InDelta(t, 1.5, p.Rollback.Errors.Relative, 1e-12, "the other part keeps its default")
}

func TestScaledDurations(t *testing.T) {
	p, err := Parse([]byte("look: 200ms\nbake: 900ms\nwindow: 900ms\nlag: 0s\nunattended_after: 6s"))
	require.NoError(t, err)
	require.Equal(t, 6*time.Second, p.Horizon())
	p.Look = Duration(5 * time.Second)
	require.Equal(t, 15*time.Second, p.Horizon(), "three looks at least")
}

func TestProblems(t *testing.T) {
	requireProblems(t, []problemCase{
		{"unknown field", "look: 1m\nbakee: 3m", "line 2: bakee: is not known here; the fields are method, steps, look"},
		{"unknown nested field", "promote:\n  errors:\n    relativ: 2", "line 3: promote.errors.relativ: is not known here; the fields are absolute, relative"},
		{"twice", "look: 1m\nlook: 2m", "line 2: look: is there twice"},
		{"not a duration", "\nbake: 15", `line 2: bake: "15" is not allowed: give a duration such as 15m`},
		{"negative duration", "lag: -1s", `line 1: lag: "-1s" is not allowed`},
		{"percentage above 100", "steps: [5, 250]", `line 1: steps: percentage "250" is not allowed: give 0 to 100 with at most two decimals`},
		{"three decimals", "steps: [0.125]", "with at most two decimals"},
		{"falling steps", "steps: [20, 5]", "line 1: steps: 5 after 20: the steps must rise"},
		{"step of 0", "steps: [0, 5]", "begin above 0"},
		{"no steps", "steps: []", "give a list of percentages"},
		{"steps not a list", "steps: 5", "give a list of percentages"},
		{"look longer than bake", "look: 20m", "line 1: look: 20m is longer than bake, 15m"},
		{"window longer than bake", "bake: 2m", "window: 5m is not allowed: give more than 0, and at most bake, 2m"},
		{"deadline too soon", "deadline: 10m", "line 1: deadline: 10m is too soon: the steps alone bake for 1h4m, lag included"},
		{"no evidence", "min_requests: 0", `line 1: min_requests: "0" is not allowed`},
		{"promote looser than rollback", "promote: {errors: {absolute: 2}}", "line 1: promote.errors.absolute: 2 % is above rollback's 1 %"},
		{"relative looser", "promote:\n  latency_p95: {relative: 1.7}", "line 2: promote.latency_p95.relative: 1.7 is above rollback's 1.5"},
		{"relative below 1", "promote: {errors: {relative: 0.5}}", "give a number from 1 to 1000"},
		{"not a number", "promote: {errors: {absolute: much}}", `"much" is not allowed: give a number from 0 to 100`},
		{"nan", "promote: {errors: {absolute: NaN}}", "give a number from 0 to 100"},
		{"other method", "method: guess", `line 1: method: "guess" is not allowed: give thresholds`},
		{"other choice", "on_inconclusive: ship", "give hold or rollback"},
		{"not a mapping", "- 5\n- 20", "line 1: policy: write fields and their values here"},
		{"bad YAML", "look: [1", "line 1"},
		{"limits not a mapping", "rollback: 5", "line 1: rollback: write fields"},
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
	p, err := Parse([]byte("rollback: {latency_p95: &slow {relative: 1.4}}\npromote: {latency_p95: *slow}"))
	require.NoError(t, err)
	require.InDelta(t, 1.4, p.Promote.LatencyP95.Relative, 1e-12)
}

func TestFrozenInJSON(t *testing.T) {
	p, err := Parse([]byte(full))
	require.NoError(t, err)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(text), `"look":"30s"`)
	var back Policy
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, p, back)
}

func TestSteps(t *testing.T) {
	p := Default()
	cases := []struct{ at, number, next int }{{0, 0, 500}, {500, 1, 2000}, {300, 0, 500}, {3000, 2, 5000}, {5000, 3, 10000}, {10000, 4, 0}}
	for _, c := range cases {
		next, ok := p.NextStep(c.at)
		require.Equal(t, c.next, next)
		require.Equal(t, c.next != 0, ok)
		require.Equal(t, c.number, p.StepNumber(c.at))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("steps: [5, 20]\nlook: &a 1m\nbake: *a")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse([]byte(text))
		if err == nil {
			require.NotEmpty(t, p.Steps)
			require.Positive(t, p.Horizon())
		}
	})
}
