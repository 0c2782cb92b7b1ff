package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
)

// average sums up both arms over many rollouts' intervals.
func average(s Scenario, at Moment, rollouts int) (canary, stable judge.Counts, hit float64) {
	for seed := range rollouts {
		sample := s.Traffic(rand.NewPCG(1, uint64(seed))).Next(at)
		for _, arm := range []struct {
			sum  *judge.Counts
			part judge.Counts
		}{{&canary, sample.Canary}, {&stable, sample.Stable}} {
			add(arm.sum, arm.part)
			arm.sum.Rows += arm.part.Rows
			arm.sum.WeightSquared += arm.part.WeightSquared
		}
		hit += sample.Hit / float64(rollouts)
	}
	return canary, stable, hit
}

// near requires a value within a share of what is wanted.
func near(t *testing.T, want, got, share float64, what string) {
	t.Helper()
	require.InDelta(t, want, got, share*math.Abs(want), what)
}

// TestScenario: what is drawn has the means that are asked for.
func TestScenario(t *testing.T) {
	at := Moment{Minute: 20, InStep: 20, Length: 1, BasisPoints: 2_000}
	early, before := at, at
	early.InStep = 1
	before.BasisPoints = 0
	tests := []struct {
		name                  string
		scenario              Scenario
		at                    Moment
		share, canary, stable float64 // of requests; of failures
		slower50, slower95    float64
		hit                   float64 // of the canary's requests
		rows, weighted        float64 // of one request: 0 is 1
		stableSlower          float64 // 0 is 1
	}{
		{name: "healthy", scenario: Scenario{Rate: 1_000, Errors: 0.02}, at: at, share: 0.2, canary: 0.0205, stable: 0.0205, slower50: 1, slower95: 1},
		{name: "before the rollout", scenario: Scenario{Rate: 1_000, Errors: 0.02}, at: before, stable: 0.0205},
		{name: "more errors", scenario: Scenario{Rate: 1_000, Errors: 0.02, Worse: 0.05}, at: at, share: 0.2, canary: 0.0705, stable: 0.0205, slower50: 1, slower95: 1, hit: 0.05},
		{name: "slower", scenario: Scenario{Rate: 1_000, Errors: 0.001, Slower: 1.5}, at: at, share: 0.2, canary: 0.001, stable: 0.001, slower50: 1.5, slower95: 1.5, hit: 0.0621},
		{name: "cold boots", scenario: Scenario{Rate: 1_000, ColdStart: 0.30}, at: early, share: 0.2, slower50: 1.52, slower95: 4.08, hit: 0.21},
		{name: "cold boots are over", scenario: Scenario{Rate: 1_000, ColdStart: 0.30}, at: at, share: 0.2, slower50: 1, slower95: 1},
		{name: "incident", scenario: Scenario{Rate: 1_000, Incident: &Incident{From: 20, To: 21, Worse: 0.1, Slower: 2}}, at: at, share: 0.2, canary: 0.1, stable: 0.1, slower50: 1, slower95: 1, stableSlower: 2},
		{name: "incident is over", scenario: Scenario{Rate: 1_000, Incident: &Incident{From: 10, To: 20, Worse: 0.1, Slower: 2}}, at: at, share: 0.2, slower50: 1, slower95: 1},
		{name: "sampled", scenario: Scenario{Rate: 10_000, Errors: 0.02, Worse: 0.05, Sampling: []Sampling{{0.5, 1}, {0.5, 10}}}, at: at,
			share: 0.2, canary: 0.0705, stable: 0.0205, slower50: 1, slower95: 1, hit: 0.05, rows: 0.55, weighted: 5.5},
		{name: "users", scenario: Scenario{Rate: 1_000, Errors: 0.02, Worse: 0.05, Users: &Users{Calls: 20, Stay: 10, Share: 1}}, at: at,
			share: 0.2, canary: 0.0705, stable: 0.0205, slower50: 1, slower95: 1, hit: 0.05},
		{name: "users whose every call fails", scenario: Scenario{Rate: 1_000, Users: &Users{Calls: 20, Stay: 10, Failing: 0.05, Share: 1}}, at: at,
			share: 0.2, canary: 0.05, stable: 0.05, slower50: 1, slower95: 1},
	}
	const rollouts = 2_000
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			canary, stable, hit := average(test.scenario, test.at, rollouts)
			requests := test.scenario.Rate * rollouts
			near(t, requests*test.share, canary.Weight, 0.02, "canary's requests")
			near(t, requests*(1-test.share), stable.Weight, 0.02, "stable's requests")
			require.InDelta(t, test.canary, rate(canary), 0.03*test.canary+0.0005, "canary's errors")
			require.InDelta(t, test.stable, rate(stable), 0.03*test.stable+0.0005, "stable's errors")
			if test.rows > 0 {
				near(t, test.rows*stable.Weight, stable.Rows, 0.02, "rows")
				near(t, test.weighted*stable.Weight, stable.WeightSquared, 0.02, "squared weights")
			}
			near(t, stable.Weight-stable.Errors, stable.Times[judge.FirstByte].Total(), 1e-9, "times are of successes")
			near(t, medianMS*max(1, test.stableSlower), stable.Times[judge.FirstByte].Quantile(0.5)/1.02, 0.02, "median")
			if test.share > 0 {
				near(t, test.slower50, canary.Times[judge.FirstByte].Quantile(0.5)/stable.Times[judge.FirstByte].Quantile(0.5), 0.02, "ratio of medians")
				near(t, test.slower95, canary.Times[judge.FirstByte].Quantile(0.95)/p95(stable), 0.03, "ratio of p95")
				require.InDelta(t, test.hit, hit/(test.scenario.Rate*test.share), 0.002, "hit")
			}
		})
	}
}

// TestPhases: traffic drifts, in both arms alike, by what the sines allow.
func TestPhases(t *testing.T) {
	traffic := Scenario{Rate: 100_000, Errors: 0.05}.Traffic(rand.NewPCG(1, 1))
	var rates, errors, medians [2][]float64
	for minute := range 360 {
		s := traffic.Next(Moment{Minute: float64(minute), InStep: 9, Length: 1, BasisPoints: 5_000})
		for i, arm := range []judge.Counts{s.Canary, s.Stable} {
			rates[i] = append(rates[i], arm.Weight)
			errors[i] = append(errors[i], rate(arm))
			medians[i] = append(medians[i], arm.Times[judge.FirstByte].Quantile(0.5))
		}
	}
	for i := range 2 {
		near(t, 1.2/0.8, slices.Max(rates[i])/slices.Min(rates[i]), 0.05, "requests")
		near(t, math.Exp(0.6), slices.Max(errors[i])/slices.Min(errors[i]), 0.1, "errors")
		near(t, math.Exp(0.4), slices.Max(medians[i])/slices.Min(medians[i]), 0.05, "latency")
	}
	for minute := range 360 {
		near(t, rates[0][minute], rates[1][minute], 0.03, "both arms")
		near(t, medians[0][minute], medians[1][minute], 0.03, "both arms")
	}
}

// TestCrowd: users stay on their side, and are told apart.
func TestCrowd(t *testing.T) {
	for _, share := range []float64{1, 0.25} {
		traffic := Scenario{Rate: 2_000, Users: &Users{Calls: 20, Stay: 10, Failing: 0.1, Share: share}}.Traffic(rand.NewPCG(1, 1))
		var canary, stable, failing []uint32
		requests := 0.0
		for minute := range 60 {
			s := traffic.Next(Moment{Minute: float64(minute), InStep: 9, Length: 1, BasisPoints: 2_000})
			require.True(t, slices.IsSorted(s.Stable.Users))
			canary, stable = append(canary, s.Canary.Users...), append(stable, s.Stable.Users...)
			failing = append(failing, s.Stable.FailingUsers...)
			requests += s.Canary.Weight + s.Stable.Weight
			require.Equal(t, share, s.UserShare)
		}
		canary, stable, failing = distinct(canary), distinct(stable), distinct(failing)
		for _, print := range canary {
			_, both := slices.BinarySearch(stable, print)
			require.False(t, both, "a user on both sides")
		}
		near(t, 0.2, float64(len(canary))/float64(len(canary)+len(stable)), 0.1, "users on the canary")
		near(t, 0.1, share*float64(len(failing))/float64(len(stable)), 0.15, "failing users")
		near(t, 20*60.0/70, share*requests/float64(len(canary)+len(stable)), 0.1, "calls of a user who was there")
	}
}

// TestShares: a histogram's buckets and its tail.
func TestShares(t *testing.T) {
	s := lognormal(0, coldBoots)
	sum := 0.0
	for _, p := range s {
		sum += p
	}
	require.InDelta(t, 1, sum, 1e-12)
	near(t, 0.05, s.above(&s, 0.05), 1e-9, "of itself")
	for _, z := range []float64{-9, -8, -3.001, -1, 0, 0.4567, 2, 7.999, 8, 9} {
		require.InDelta(t, math.Erfc(-z/math.Sqrt2)/2, normal(z), 5e-7, "Φ(%g)", z)
	}
	counts := s.draw(rand.NewPCG(1, 1), 100_000)
	drawn := 0.0
	for b, n := range counts {
		require.InDelta(t, 100_000*s[b], n, 5*math.Sqrt(100_000*s[b])+1)
		drawn += n
	}
	require.Equal(t, 100_000.0, drawn)
}
