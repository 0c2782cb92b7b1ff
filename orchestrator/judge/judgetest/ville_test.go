package judgetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	judge "perch/orchestrator/judge"
)

// null is a truth on the edge of what a test is to tell apart, at every minute.
type null struct {
	metric judge.Metric
	test   string
	level  float64 // α or β, of this test
	share  float64
	bounds judge.Bounds
	minute func(r *rand.Rand) minute
}

// crossings counts runs in which the evidence reached 1/level at any of 60 looks.
func (n null) crossings(seed uint64, many int) int {
	crossed := 0
	for run := range many {
		l := usual()
		l.steps, l.bake = []int{int(n.share * 1e4)}, 24*time.Hour
		l.settings.Limits = judge.Limits{n.metric: n.bounds}
		if n.test[0] == 'p' { // a rollback would end the run before its time
			l.settings.Alpha = 1e-300
		}
		hit := false
		l.run(n.minute(source(seed+uint64(run)<<20)), func(v judge.Verdict) {
			hit = hit || logOf(v, n.metric, n.test) >= -math.Log(n.level)
		})
		crossed += count(hit)
	}
	return crossed
}

// logOf is the logarithm of a test's evidence, -Inf where the verdict has none.
func logOf(v judge.Verdict, metric judge.Metric, name string) float64 {
	for _, a := range v.Metrics {
		for _, t := range a.Tests {
			if a.Metric == metric && t.Name == name {
				return t.Log
			}
		}
	}
	return math.Inf(-1)
}

// rates are arms whose error rates drift together: stable's is base·exp(0.3·(wave +
// bias)), the canary's is ratio times it.
func rates(perMinute, base, ratio, bias float64) func(r *rand.Rand) minute {
	return func(r *rand.Rand) minute {
		d := drifting(r)
		return func(t int, share float64) judge.Interval {
			p := base * math.Exp(0.3*(d.rate(t)+bias))
			nc, ns := poisson(r, perMinute*share), poisson(r, perMinute*(1-share))
			return judge.Interval{Index: number(t, judge.Default()),
				Canary: requests(nc, binomial(r, nc, p*ratio)), Stable: requests(ns, binomial(r, ns, p))}
		}
	}
}

// times are arms whose times drift together, the canary's being ratio times stable's.
func times(perMinute, ratio float64) func(r *rand.Rand) minute {
	return func(r *rand.Rand) minute {
		d := drifting(r)
		return func(t int, share float64) judge.Interval {
			median := 800 * math.Exp(0.2*d.time(t))
			nc, ns := poisson(r, perMinute*share), poisson(r, perMinute*(1-share))
			i := judge.Interval{Index: number(t, judge.Default()), Canary: requests(nc, 0), Stable: requests(ns, 0)}
			i.Canary.Times[judge.FirstByte] = lognormal(r, nc, median*ratio, 0.8)
			i.Stable.Times[judge.FirstByte] = lognormal(r, ns, median, 0.8)
			return i
		}
	}
}

// failingUsers are crowds whose users fail with all calls ratio times as often on the canary.
func failingUsers(perMinute, base, ratio, share float64) func(r *rand.Rand) minute {
	return func(r *rand.Rand) minute {
		c := crowd{rate: perMinute, calls: twenty, mean: 20, span: 20, failing: base}
		p := c.play(r, 60, 61)
		for _, seats := range p.known {
			for i := range seats {
				seats[i].fails = false
			}
		}
		chance := map[float64]bool{}
		for t := -80; t <= 61; t++ {
			for i, s := range p.known[t] {
				fails, seen := chance[s.arm]
				if !seen {
					rate := base
					if s.arm < share {
						rate *= ratio
					}
					fails = r.Float64() < rate
					chance[s.arm] = fails
				}
				p.known[t][i].fails = fails
			}
		}
		return p.minute
	}
}

// TestVille: at the null, no test's evidence reaches 1/α within 60 looks more often
// than α, however the rates of both arms drift together.
func TestVille(t *testing.T) {
	errors := judge.Bounds{Rollback: judge.Limit{Absolute: 0.01, Relative: 1.5}, Promote: judge.Limit{Absolute: 0.005, Relative: 1.2}}
	slower := judge.Bounds{Rollback: judge.Limit{Relative: 1.5}, Promote: judge.Limit{Relative: 1.2}}
	seed := uint64(1)
	volumes, shares := []float64{100, 1000}, []float64{0.5}
	if *proof {
		volumes, shares = []float64{100, 1000, 10000}, []float64{0.05, 0.5}
	}
	for _, perMinute := range volumes {
		for _, share := range shares {
			cells := map[string]null{
				"errors absolute":         {judge.Errors, "rollback.absolute", 0.05, share, errors, rates(perMinute, 0.005, 1, -1)},
				"errors relative 0.1 %":   {judge.Errors, "rollback.relative", 0.05, share, errors, rates(perMinute, 0.001, 1.2, 0)},
				"errors relative 2 %":     {judge.Errors, "rollback.relative", 0.05, share, errors, rates(perMinute, 0.02, 1.2, 0)},
				"promotion absolute":      {judge.Errors, "promote.absolute", 0.05, share, errors, rates(perMinute, 0.01, 1, 1)},
				"promotion relative":      {judge.Errors, "promote.relative", 0.05, share, errors, rates(perMinute, 0.005, 1.5, 0)},
				"latency p50":             {judge.LatencyP50, "rollback.relative", 0.025, share, slower, times(perMinute, 1.2)},
				"latency p95":             {judge.LatencyP95, "rollback.relative", 0.025, share, slower, times(perMinute, 1.2)},
				"promotion latency p50":   {judge.LatencyP50, "promote.relative", 0.05, share, slower, times(perMinute, 1.5)},
				"promotion latency p95":   {judge.LatencyP95, "promote.relative", 0.05, share, slower, times(perMinute, 1.5)},
				"errors relative by user": {judge.Errors, "rollback.relative.users", 0.05, share, errors, failingUsers(perMinute, 0.02, 1.2, share)},
			}
			for _, name := range sortedKeys(cells) {
				t.Run(fmt.Sprintf("%s, %v a minute, %v", name, perMinute, share), func(t *testing.T) {
					many := runs(40, 1000)
					seed++
					atMost(t, "crossed", cells[name].level, cells[name].crossings(seed, many), many)
				})
			}
		}
	}
}
