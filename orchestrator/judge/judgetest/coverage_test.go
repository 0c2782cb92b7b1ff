package judgetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	judge "perch/orchestrator/judge"
)

// TestCoverage: the interval that a verdict gives for the canary's value holds the
// truth at all of 60 looks in 95 % of rollouts, and becomes narrow.
func TestCoverage(t *testing.T) {
	p95 := distuv.LogNormal{Mu: math.Log(800), Sigma: 0.8}.Quantile(0.95)
	cells := []struct {
		metric judge.Metric
		name   string
		truth  float64
		minute func(perMinute float64) func(r uint64) minute
	}{
		{judge.Errors, "0.1 %", 0.001, still(0.001)},
		{judge.Errors, "5 %", 0.05, still(0.05)},
		{judge.LatencyP50, "", 800, still(0.001)},
		{judge.LatencyP95, "", p95, still(0.001)},
	}
	for i, cell := range cells {
		for _, perMinute := range []float64{100, 2000} {
			t.Run(fmt.Sprintf("%s %s, %v a minute", cell.metric, cell.name, perMinute), func(t *testing.T) {
				missed, many, width := 0, runs(60, 1500), 0.0
				for run := range many {
					l := usual()
					l.steps, l.bake = []int{2000}, 24*time.Hour
					l.settings = only(l.settings, judge.Errors, judge.LatencyP50, judge.LatencyP95)
					l.settings.Alpha = 1e-300
					miss := false
					l.run(cell.minute(perMinute)(uint64(10000*i+run)), func(v judge.Verdict) {
						for _, a := range v.Metrics {
							if a.Metric == cell.metric && a.Recent.CanaryRows > 0 {
								miss = miss || a.Low > cell.truth || a.High < cell.truth
								width = (a.High - a.Low) / cell.truth
								require.GreaterOrEqual(t, a.High, a.Low)
							}
						}
					})
					missed += count(miss)
				}
				atMost(t, "missed", 0.05, missed, many)
				t.Logf("width at last: %.2f of the truth", width)
				require.Positive(t, width)
			})
		}
	}
}

// still is traffic that does not drift.
func still(p float64) func(perMinute float64) func(seed uint64) minute {
	return func(perMinute float64) func(seed uint64) minute {
		return func(seed uint64) minute {
			r := source(seed)
			return func(t int, share float64) judge.Interval {
				i := judge.Interval{Index: number(t, judge.Default())}
				for k, arm := range []*judge.Counts{&i.Canary, &i.Stable} {
					part := []float64{share, 1 - share}[k]
					n := poisson(r, perMinute*part)
					*arm = requests(n, binomial(r, n, p))
					arm.Times[judge.FirstByte] = lognormal(r, n-arm.Errors, 800, 0.8)
				}
				return i
			}
		}
	}
}
