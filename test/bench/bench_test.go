package main

import (
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	sorted := []float64{1, 2, 4, 8}
	for _, c := range []struct {
		name    string
		q, want float64
	}{
		{"least", 0, 1},
		{"greatest", 1, 8},
		{"between the middle two", 0.5, 3},
		{"interpolated", 0.9, 6.8},
	} {
		t.Run(c.name, func(t *testing.T) { require.InDelta(t, c.want, quantile(sorted, c.q), 1e-9) })
	}
	require.Equal(t, 4.0, median([]float64{8, 1, 4}))
	require.Equal(t, 7.0, median([]float64{7}))
}

// The interval must cover the true median about as often as it says: a narrower one would call noise a result.
func TestMedianIntervalCovers(t *testing.T) {
	const trials, truth = 300, 1.1
	random := rand.New(rand.NewPCG(7, 11))
	covered := 0
	for range trials {
		xs := make([]float64, 42)
		for i := range xs {
			xs[i] = truth + 0.1*random.NormFloat64()
		}
		if low, high := medianInterval(xs); low <= truth && truth <= high {
			covered++
		}
	}
	require.Greater(t, covered, trials*90/100)
	require.Less(t, covered, trials)
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name  string
		ratio ratio
		want  string
		holds bool
	}{
		{"well below", ratio{Low: 0.98, Median: 1.00, High: 1.02, Most: 1.05}, "holds", true},
		{"below, but it might be above", ratio{Low: 0.98, Median: 1.02, High: 1.06, Most: 1.05}, "holds, within the noise", true},
		{"above, but it might be below", ratio{Low: 1.02, Median: 1.06, High: 1.10, Most: 1.05}, "PASSED, within the noise", false},
		{"well above", ratio{Low: 1.08, Median: 1.10, High: 1.12, Most: 1.05}, "PASSED", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, c.ratio.verdict())
			require.Equal(t, c.holds, c.ratio.holds())
		})
	}
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name   string
		series []int64
		want   float64
	}{
		{"rises first, then level", []int64{10, 40, 50, 50, 50, 50}, 0},
		{"a leak", []int64{10, 20, 30, 40, 50, 60}, 55.0/35 - 1},
		{"two thirds of what does not divide", []int64{1, 1, 10, 10, 11, 11}, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) { require.InDelta(t, c.want, growth(c.series), 1e-9) })
	}
}

func TestCompareGatesEveryScenario(t *testing.T) {
	block := func(perchMicros float64) map[string][]float64 {
		return map[string][]float64{perch: {perchMicros, perchMicros}, javascript: {100, 100}, handmade: {90, 90}}
	}
	r := report{Limits: limits, scenarios: []scenario{{name: "one"}, {name: "two"}}}
	compared := func(two float64) *round {
		return &round{compared: samples{"one": block(102), "two": block(two)}}
	}
	r.rounds = []*round{compared(104), compared(104)}
	r.compare()
	require.True(t, r.holds())
	require.InDelta(t, 1.02, r.Scenarios[0].Ratios[0].Median, 1e-9)
	require.Equal(t, 4, r.Scenarios[0].Ratios[0].Blocks)

	r.Scenarios, r.rounds = nil, []*round{compared(106)}
	r.compare()
	require.False(t, r.holds(), "the second scenario costs 1.06 of JavaScript")
}

func TestCosts(t *testing.T) {
	rounds := []map[string]*pair{
		{"one": {plain: []float64{100, 200}, with: []float64{150, 300}}},
		{"one": {plain: []float64{100}, with: []float64{110}}},
	}
	got := costs([]feature{{name: "one", title: "One"}}, rounds)
	require.Len(t, got, 1)
	require.Equal(t, 100.0, got[0].Plain)
	require.Equal(t, 50.0, got[0].Adds)
	require.InDelta(t, 1.5, got[0].Ratio, 1e-9)
	require.InDeltaSlice(t, []float64{1.5, 1.1}, got[0].PerRound, 1e-9)
	require.Equal(t, 3, got[0].Blocks)
}

func TestFeaturesFit(t *testing.T) {
	all := features("http://127.0.0.1:1", &credentials{jwts: []string{"a.b.c"}})
	names := map[string]bool{}
	for _, f := range all {
		require.False(t, names[f.name], "%s is there twice", f.name)
		names[f.name] = true
		require.Equal(t, len(f.plain.body), len(f.with.body), "%s compares bodies of other sizes", f.name)
		require.GreaterOrEqual(t, f.requests(1), connections)
	}
	require.InDelta(t, 4096, len(padded(4<<10)), 12)
}

// The core in JavaScript must do what the one in WebAssembly does, or the ratio says nothing.
func TestJavaScriptCore(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "../../node_modules/.bin/node", "--test", "jsbody.test.mjs").CombinedOutput()
	require.NoError(t, err, "%s", output)
}
