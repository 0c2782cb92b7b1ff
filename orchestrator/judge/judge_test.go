package judge

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/histogram"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// traffic makes intervals from a source of chance.
type traffic struct {
	r          *rand.Rand
	perMinute  float64
	share      float64
	errors     [arms]float64
	times      [arms]float64 // median, ms
	timing     Timing
	deviation  float64
	weightEach float64
}

func newTraffic(seed uint64, perMinute, share float64) *traffic {
	return &traffic{r: rand.New(rand.NewPCG(seed, 1)), perMinute: perMinute, share: share,
		errors: [arms]float64{0.001, 0.001}, times: [arms]float64{800, 800}, deviation: 0.8, weightEach: 1}
}

func (g *traffic) counts(i int, n float64) Counts {
	units := 0
	for left := n + g.r.NormFloat64()*sqrt(n); left > 0.5; left-- {
		units++
	}
	c := Counts{Rows: float64(units), Weight: float64(units) * g.weightEach, WeightSquared: float64(units) * g.weightEach * g.weightEach}
	var times []float64
	for range units {
		if g.r.Float64() < g.errors[i] {
			c.Errors += g.weightEach
			continue
		}
		times = append(times, g.times[i]*exp(g.deviation*g.r.NormFloat64()))
	}
	c.Times[g.timing] = histogramOf(times, g.weightEach)
	return c
}

func sqrt(x float64) float64 { return math.Sqrt(x) }

func histogramOf(times []float64, weight float64) histogram.Histogram {
	var sum histogram.Sum
	for _, ms := range times {
		sum.Add(histogram.Histogram{First: histogram.Bucket(ms), Counts: []float64{weight}}, 1)
	}
	view := sum.View()
	return view.Scale(1)
}

func (g *traffic) interval(index int64, rolling bool) Interval {
	iv := Interval{Index: index}
	share := 0.0
	if rolling {
		share = g.share
		iv.Canary = g.counts(canary, g.perMinute*share)
	}
	iv.Stable = g.counts(stable, g.perMinute*(1-share))
	return iv
}

func base() Input {
	return Input{Now: noon.Add(time.Hour), Lag: time.Minute, Settings: Default(),
		Step: Step{BasisPoints: 500, Next: 2000, Began: noon, Since: noon, Bake: 15 * time.Minute, Deadline: noon.Add(time.Hour)}}
}

func (g *traffic) run(in Input, minutes int64) Input {
	first := indexFrom(in.Step.Began, time.Minute)
	for i := first - 60; i < first+minutes; i++ {
		in.Intervals = append(in.Intervals, g.interval(i, i >= first))
	}
	in.Through = first + minutes - 1
	return in
}

func TestHealthy(t *testing.T) {
	v, m := Judge(newTraffic(1, 1000, 0.05).run(base(), 20))
	t.Log(v.Reason)
	for _, a := range v.Metrics {
		t.Logf("%+v", a)
	}
	t.Log(len(m.Encode()))
	require.Equal(t, Promote, v.Decision)
}

func TestWorse(t *testing.T) {
	g := newTraffic(1, 1000, 0.05)
	g.errors[canary] = 0.05
	v, _ := Judge(g.run(base(), 20))
	t.Log(v.Reason, v.At)
	require.Equal(t, Rollback, v.Decision)
}

func TestSlower(t *testing.T) {
	g := newTraffic(1, 1000, 0.05)
	g.times[canary] = 1600
	v, _ := Judge(g.run(base(), 20))
	t.Log(v.Reason, v.At)
	require.Equal(t, Rollback, v.Decision)
}
