package judgetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// sampled is traffic of which rows are left that stand for 10 to 100 requests each.
// naive counts them as so many requests, as one must not.
type sampled struct {
	rate, errors, worse float64
	naive               bool
}

func (s sampled) minute(r *rand.Rand) minute {
	d := drifting(r)
	return func(t int, share float64) judge.Interval {
		wave := math.Exp(0.3 * d.rate(t))
		median := 800 * math.Exp(0.2*d.time(t))
		return judge.Interval{Index: number(t, judge.Default()),
			Canary: s.arm(r, share, s.errors*wave+s.worse, median), Stable: s.arm(r, 1-share, s.errors*wave, median)}
	}
}

func (s sampled) arm(r *rand.Rand, share, failing, median float64) judge.Counts {
	c := judge.Counts{}
	h := histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
	for range int(poisson(r, s.rate*share/55)) {
		w := 10 + 90*r.Float64()
		c.Rows++
		c.Weight += w
		c.WeightSquared += w * w
		if r.Float64() < failing {
			c.Errors += w
		} else {
			h.Counts[histogram.Bucket(median*math.Exp(0.8*r.NormFloat64()))] += w
		}
	}
	c.Times[judge.FirstByte] = h
	if s.naive {
		c.WeightSquared, c.Rows = c.Weight, c.Weight
	}
	return c
}

// falseRollbacks counts those of healthy rollouts.
func (s sampled) rollbacks(seed uint64, many int) int {
	back := 0
	for run := range many {
		l := usual()
		l.settings = only(l.settings, judge.Errors, judge.LatencyP50, judge.LatencyP95)
		back += count(l.run(s.minute(source(seed+uint64(run))), nil).decision == judge.Rollback)
	}
	return back
}

// TestSampled: rows that stand for many requests are no more evidence than rows are.
func TestSampled(t *testing.T) {
	seed := uint64(0)
	for _, rate := range []float64{1000, 10000, 50000} {
		for _, errors := range []float64{0.001, 0.005, 0.02} {
			t.Run(fmt.Sprintf("%v a minute, %v", rate, errors), func(t *testing.T) {
				seed += 1e6
				many := runs(40, 500)
				atMost(t, "rolled back", 0.006, sampled{rate: rate, errors: errors}.rollbacks(seed, many), many)
			})
		}
	}
	t.Run("weights taken for requests", func(t *testing.T) {
		many := runs(30, 300)
		back := sampled{rate: 10000, errors: 0.005, naive: true}.rollbacks(1, many)
		t.Logf("rolled back %d of %d", back, many)
		require.Greater(t, float64(back), 0.03*float64(many), "then this traffic would prove nothing")
	})
	t.Run("worse by 5 points", func(t *testing.T) {
		many := runs(15, 200)
		back := sampled{rate: 20000, errors: 0.001, worse: 0.05}.rollbacks(2, many)
		t.Logf("rolled back %d of %d", back, many)
		require.GreaterOrEqual(t, float64(back), 0.95*float64(many))
	})
}
