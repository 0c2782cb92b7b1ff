package plan

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/policy"
)

// usual is traffic of so many requests a minute: 0.1 % errors, lognormal times.
func usualTraffic(perMinute float64) Traffic {
	return Traffic{Span: time.Hour, PerMinute: perMinute, Effective: 1, Errors: 0.001, Noise: 0.15, TimeNoise: 0.1, Times: lognormal(800, 0.8)}
}

func lognormal(median, sigma float64) histogram.Histogram {
	h := histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
	below := func(bucket int) float64 { return normal(math.Log(histogram.Edge(bucket)/median) / sigma) }
	for b := range h.Counts {
		h.Counts[b] = 1000 * (below(b+1) - below(b))
	}
	return h
}

// percentages of a policy's steps.
func percentages(p policy.Policy) []int {
	var list []int
	for _, s := range p.Steps {
		list = append(list, s.BasisPoints)
	}
	return list
}

// TestLay: which steps the traffic gets.
func TestLay(t *testing.T) {
	cases := []struct {
		name      string
		perMinute float64
		change    func(*Traffic, *policy.Policy)
		want      []int
		decided   bool
	}{
		{name: "plenty", perMinute: 20_000, want: []int{100, 1_000, 5_000, 10_000}, decided: true},
		{name: "as the default wants it", perMinute: 3_000, want: []int{500, 2_000, 5_000, 10_000}, decided: true},
		{name: "a fifth of that", perMinute: 600, want: []int{1_000, 2_000, 5_000, 10_000}, decided: true},
		{name: "a step skipped", perMinute: 300, want: []int{2_000, 5_000, 10_000}, decided: true},
		{name: "slowly", perMinute: 100, want: []int{2_500, 5_000, 10_000}, decided: true},
		{name: "very slowly", perMinute: 15, want: []int{2_500, 5_000, 10_000}, decided: true},
		{name: "nothing to decide by", perMinute: 8, want: []int{2_500, 5_000, 10_000}},
		{name: "nothing", perMinute: 0, want: []int{2_500, 5_000, 10_000}},
		{name: "holdback", perMinute: 20_000, change: func(_ *Traffic, p *policy.Policy) { p.Holdback = 500 }, want: []int{100, 1_000, 5_000, 9_500}, decided: true},
		{name: "half held back", perMinute: 20_000, change: func(_ *Traffic, p *policy.Policy) { p.Holdback = 6_000 }, want: []int{100, 1_000, 4_000}, decided: true},
		{name: "sampled 1 in 10", perMinute: 3_000, change: func(t *Traffic, _ *policy.Policy) { t.Effective = 0.1 }, want: []int{2_000, 5_000, 10_000}, decided: true},
		{name: "longer bakes", perMinute: 3_000, change: func(_ *Traffic, p *policy.Policy) { p.Bake = policy.Duration(time.Hour) }, want: []int{100, 1_000, 5_000, 10_000}, decided: true},
		{name: "thresholds", perMinute: 300, change: func(_ *Traffic, p *policy.Policy) { p.Method = judge.Thresholds }, want: []int{1_000, 2_000, 5_000, 10_000}, decided: true},
		{name: "thresholds without the sample", perMinute: 30, change: func(_ *Traffic, p *policy.Policy) { p.Method = judge.Thresholds }, want: []int{2_500, 5_000, 10_000}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			traffic, p := usualTraffic(c.perMinute), policy.Default()
			if c.change != nil {
				c.change(&traffic, &p)
			}
			laid, decided := Lay(traffic, p)
			require.Equal(t, c.want, percentages(laid))
			require.Equal(t, c.decided, decided)
			require.Empty(t, laid.Validate())
			for _, s := range laid.Steps {
				require.Equal(t, !decided, s.Approve == policy.ApproveInstead, "what cannot be decided waits for a person")
			}
		})
	}
}

// TestLaidBakes: bakes are no shorter than the policy's, and where they are longer
// hardly a canary has its proof before.
func TestLaidBakes(t *testing.T) {
	laid, decided := Lay(usualTraffic(30), policy.Default())
	require.True(t, decided)
	require.Greater(t, laid.Steps[0].Bake, policy.Default().Bake)
	require.Greater(t, laid.Steps[0].Bake, laid.Steps[1].Bake)
	require.Zero(t, laid.Steps[2].Bake, "the last step has all the traffic")
	require.Zero(t, laid.Steps[0].Bake%policy.Duration(5*time.Minute))
	short := laid
	short.Steps = append([]policy.Step(nil), laid.Steps...)
	short.Steps[0].Bake = 0
	c := newCourse(usualTraffic(30), short, time.Duration(laid.Deadline))
	require.Less(t, c.by(c.passed[0], time.Duration(laid.Steps[0].Bake)), hardly)
	plan := For(usualTraffic(30), laid)
	require.Greater(t, plan.Promoted, sure)
}

// TestOwnDeadline: a deadline that the policy gives stays.
func TestOwnDeadline(t *testing.T) {
	p, err := policy.Parse([]byte("steps: auto\ndeadline: 30h"))
	require.NoError(t, err)
	laid, _ := Lay(usualTraffic(30), p)
	require.Equal(t, policy.Duration(30*time.Hour), laid.Deadline)
	p, err = policy.Parse([]byte("steps: auto\ndeadline: 40m"))
	require.NoError(t, err)
	laid, _ = Lay(usualTraffic(30), p)
	require.NotEmpty(t, laid.Validate(), "and is refused where it is too soon")
}

// anyTraffic is random, and may be strange.
func anyTraffic(r *rand.Rand) Traffic {
	t := Traffic{Span: time.Hour, PerMinute: math.Exp(r.Float64()*16 - 2), Effective: math.Exp(-r.Float64() * 4), Errors: math.Pow(r.Float64(), 6),
		Noise: 0.1 + 0.9*r.Float64(), TimeNoise: 0.1 + 0.9*r.Float64(), Users: math.Floor(1000 * r.Float64()), TopUser: r.Float64()}
	switch r.IntN(5) {
	case 0:
	case 1:
		t.Times = histogram.Histogram{First: r.IntN(histogram.Buckets), Counts: []float64{1}}
	case 2:
		t.Timing = judge.Total
		fallthrough
	default:
		t.Times = lognormal(math.Exp(r.Float64()*14), 0.05+2*r.Float64())
	}
	if r.IntN(20) == 0 {
		t.PerMinute = 0
	}
	return t
}

// anyPolicy is a valid one.
func anyPolicy(r *rand.Rand) policy.Policy {
	texts := []string{
		"{}", "holdback: 5", "method: thresholds", "bake: 1h", "bake: 6s\ninterval: 1s\nlook: 1s\nwindow: 3s\nreference: 6s\nhistory: 60s\ncold_start: 1s\nspread: 1s\nlag: 1s",
		"metrics: {errors: {observe: true}}", "metrics: {errors: {rollback: {relative: 0}, promote: {relative: 0}}}",
		"metrics: {errors: {rollback: {absolute: 0}, promote: {absolute: 0}}}",
		"metrics: {latency_p50: off, latency_p95: {floor: 5s}}", "steps: [{percentage: 10, approve: instead}, {percentage: 30, pause: 1h, bake: 5m}, {percentage: 60, approve: true}]",
	}
	for range 100 {
		if p, err := policy.Parse([]byte(texts[r.IntN(len(texts))])); err == nil {
			return p
		}
	}
	panic("no valid policy")
}

// TestAlwaysFinite: whatever the traffic, a ladder is valid, the same again, and a
// plan has no figure that JSON cannot carry.
func TestAlwaysFinite(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 1))
		traffic, p := anyTraffic(r), anyPolicy(r)
		laid, decided := Lay(traffic, p)
		again, _ := Lay(traffic, p)
		require.Equal(t, laid, again, seed)
		require.Empty(t, laid.Validate(), "seed %d", seed)
		for _, p := range []policy.Policy{p, laid} {
			plan := For(traffic, p)
			_, err := json.Marshal(plan)
			require.NoError(t, err, seed)
			require.Len(t, plan.Steps, len(p.Steps))
			require.GreaterOrEqual(t, plan.Promoted, 0.0)
			require.LessOrEqual(t, plan.Promoted, 1.0+1e-9)
		}
		require.False(t, decided && traffic.PerMinute == 0, seed)
	}
}

// never comes after all times.
func never(s judge.Seconds) judge.Seconds {
	if s == 0 {
		return judge.Seconds(math.Inf(1))
	}
	return s
}

// TestMoreTrafficIsNoWorse: with the same steps, more traffic never ends later and
// never finds less; and it never gets a larger first step.
func TestMoreTrafficIsNoWorse(t *testing.T) {
	rates := []float64{1, 3, 8, 11, 14, 20, 40, 70, 100, 140, 200, 280, 400, 600, 900, 1_500, 4_000, 20_000, 200_000}
	for _, errors := range []float64{0, 0.001, 0.01} {
		var before Plan
		first := whole
		for i, rate := range rates {
			traffic := usualTraffic(rate)
			traffic.Errors = errors
			plan := For(traffic, policy.Default())
			if i > 0 {
				requireNoWorse(t, before, plan, rate)
			}
			laid, _ := Lay(traffic, policy.Default())
			require.LessOrEqual(t, laid.Steps[0].BasisPoints, first, "%g a minute", rate)
			before, first = plan, laid.Steps[0].BasisPoints
		}
	}
}

func requireNoWorse(t *testing.T, before, now Plan, rate float64) {
	t.Helper()
	// Whole errors decide, so that a little more traffic may take a tick more.
	const slack = 1.1
	require.GreaterOrEqual(t, now.Promoted*slack, before.Promoted, "%g a minute", rate)
	for _, e := range [][2]judge.Seconds{{before.Reached.Half, now.Reached.Half}, {before.Reached.Most, now.Reached.Most}, {before.Ended.Half, now.Ended.Half}} {
		require.LessOrEqual(t, never(e[1]), never(e[0])*slack, "%g a minute", rate)
	}
	for i, s := range now.Steps {
		require.LessOrEqual(t, never(judge.Seconds(s.LeastErrors)), never(judge.Seconds(before.Steps[i].LeastErrors))*slack, "%g a minute", rate)
		require.LessOrEqual(t, never(judge.Seconds(s.LeastSlower)), never(judge.Seconds(before.Steps[i].LeastSlower))*slack, "%g a minute", rate)
		for j, f := range s.Found {
			require.LessOrEqual(t, never(f.After), never(before.Steps[i].Found[j].After)*slack, "%g a minute", rate)
			if j > 0 {
				require.LessOrEqual(t, never(f.After), never(s.Found[j-1].After), "more errors are found sooner")
			}
		}
	}
}

// TestProposal: start offers a ladder where the first step is too small, and only there.
func TestProposal(t *testing.T) {
	require.Empty(t, For(usualTraffic(3_000), policy.Default()).Proposal)
	require.Empty(t, For(usualTraffic(1_000), policy.Default()).Proposal, "5 % of some 800 is enough")
	require.Equal(t, 2_500, For(usualTraffic(100), policy.Default()).Proposal[0].BasisPoints)
	require.Equal(t, policy.ApproveInstead, For(usualTraffic(5), policy.Default()).Proposal[0].Approve)
	laid, _ := Lay(usualTraffic(100), policy.Default())
	require.Empty(t, For(usualTraffic(100), laid).Proposal)
	require.Empty(t, For(usualTraffic(0), policy.Default()).Proposal)
}

// TestWarnings: what is said where the figures may not hold.
func TestWarnings(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Traffic)
		want   string
	}{
		{"one user of five", func(t *Traffic) { t.Users, t.TopUser = 5_000, 0.21 }, "one user makes 21 % of the requests"},
		{"few users", func(t *Traffic) { t.Users = 100 }, "of stable's 100 users, the first step has some 5 on the canary"},
		{"stable above the limit", func(t *Traffic) { t.Errors = 0.03 }, "stable fails 3 % of its requests, more than the rollback limit of 1 %: the relative limit of ×1.5 alone decides"},
		{"no times", func(t *Traffic) { t.Times = histogram.Histogram{} }, "no times were measured"},
		{"sampled", func(t *Traffic) { t.Effective = 0.1 }, "a request is worth 0.1 as evidence"},
	}
	require.Empty(t, For(usualTraffic(3_000), policy.Default()).Warnings)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			traffic := usualTraffic(3_000)
			c.change(&traffic)
			require.Contains(t, strings.Join(For(traffic, policy.Default()).Warnings, "\n"), c.want)
		})
	}
}

// TestUnknown: without traffic a plan says why, and nothing else.
func TestUnknown(t *testing.T) {
	p := Unknown(policy.Default(), "analytics are away")
	require.Equal(t, "analytics are away", p.Problem)
	require.Empty(t, p.Warnings)
	require.Len(t, p.Steps, 4)
	require.Zero(t, p.Promoted)
}
