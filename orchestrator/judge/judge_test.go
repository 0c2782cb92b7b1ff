package judge

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/histogram"
)

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

func (g *traffic) run(in Input, minutes int64) Input {
	first := minute(0)
	for i := first - 60; i < first+minutes; i++ {
		in.Intervals = append(in.Intervals, g.interval(i, i >= first))
	}
	in.Through = first + minutes - 1
	return in
}

// requireRecomputed: a verdict's decision and reason follow from what it stores, also
// after a way through JSON.
func requireRecomputed(t *testing.T, v Verdict) {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	var read Verdict
	require.NoError(t, json.Unmarshal(text, &read))
	decision, reason := Decide(read)
	require.Equal(t, v.Decision, decision)
	require.Equal(t, v.Reason, reason)
	require.NotEmpty(t, v.Reason)
	for _, a := range v.Metrics {
		require.NotEmpty(t, a.Why)
	}
}

// requireFinite: no number of a verdict is infinite or none at all; JSON would not
// take it.
func requireFinite(t *testing.T, v Verdict) {
	t.Helper()
	_, err := json.Marshal(v)
	require.NoError(t, err)
}

// TestCatchUp: judging all at once is judging interval by interval with the memory
// written and read in between, up to the first decision.
func TestCatchUp(t *testing.T) {
	for _, worse := range []float64{0, 0.01, 0.05} {
		for seed := range uint64(5) {
			g := newTraffic(seed, 1000, 0.05)
			g.errors[canary] += worse
			whole := g.run(base(), 61)
			want, wantMemory := Judge(whole)
			var m Memory
			var v Verdict
			for i := range whole.Intervals {
				in := whole
				in.Intervals, in.Through, in.Memory = whole.Intervals[i:i+1], whole.Intervals[i].Index, m
				v, m = Judge(in)
				var err error
				m, err = DecodeMemory(m.Encode())
				require.NoError(t, err)
				again := in
				again.Memory = m
				twice, same := Judge(again)
				require.Equal(t, v, twice, "a look that is doubled")
				require.Equal(t, m.Encode(), same.Encode())
				if v.Decision != Hold {
					break
				}
			}
			require.Equal(t, want, v)
			require.Equal(t, string(wantMemory.Encode()), string(m.Encode()))
			requireRecomputed(t, v)
		}
	}
}

// TestMemoryStays: Judge does not touch the memory that it is given.
func TestMemoryStays(t *testing.T) {
	in := newTraffic(3, 1000, 0.05).run(base(), 12)
	cut := len(in.Intervals) - 4
	first := in
	first.Intervals, first.Through = in.Intervals[:cut], in.Intervals[cut-1].Index
	_, m := Judge(first)
	before := m.Encode()
	in.Memory = m
	Judge(in)
	Judge(in)
	require.Equal(t, string(before), string(m.Encode()))
}

// TestNewStep: promote evidence and bake begin anew when the share changes, rollback
// evidence does not.
func TestNewStep(t *testing.T) {
	in := newTraffic(1, 1000, 0.05).run(base(), 15)
	v, m := Judge(in)
	require.Equal(t, Promote, v.Decision, v.Reason)

	in.Memory, in.Intervals = m, nil
	in.Step.BasisPoints, in.Step.Next, in.Step.Since = 2000, 5000, noon.Add(16*time.Minute)
	v, m = Judge(in)
	require.Equal(t, Hold, v.Decision, "nothing of the new step has been seen")
	require.Equal(t, 15*time.Minute, v.Step.BakeLeft.Duration())
	for _, a := range v.Metrics {
		for _, test := range a.Tests {
			if strings.HasPrefix(test.Name, "promote.") {
				require.Zero(t, test.Log, a.Metric)
			} else if a.Metric == Errors {
				require.NotZero(t, test.Log)
			}
		}
	}
	g := newTraffic(2, 1000, 0.2)
	in.Memory = m
	for i := 15; i < 40; i++ {
		in.Intervals = append(in.Intervals, g.interval(minute(i), true))
	}
	in.Through = minute(39)
	v, _ = Judge(in)
	require.Equal(t, Promote, v.Decision, v.Reason)
	require.Equal(t, noon.Add(31*time.Minute), v.At)
}

// TestOtherMemory: what is of another rollout or of other intervals counts nothing.
func TestOtherMemory(t *testing.T) {
	in := newTraffic(1, 1000, 0.05).run(base(), 10)
	want, _ := Judge(in)
	other := in
	other.Step.Began = noon.Add(-time.Hour)
	_, in.Memory = Judge(other)
	got, _ := Judge(in)
	require.Equal(t, want, got)
}

func TestDecodeMemoryRefuses(t *testing.T) {
	_, m := Judge(newTraffic(1, 100, 0.05).run(base(), 5))
	text := string(m.Encode())
	tests := []struct{ name, text, want string }{
		{"no JSON", "{", "unexpected end"},
		{"another schema", `{"schema":9}`, "its schema is 9, not 1"},
		{"cut off", strings.Replace(text, `"packed":"`, `"packed":"AAAA`, 1), "damaged"},
		{"not base64", strings.Replace(text, `"packed":"`, `"packed":"!!!!`, 1), "illegal base64"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeMemory([]byte(test.text))
			require.ErrorContains(t, err, test.want)
		})
	}
	spaced := strings.Replace(text, `,"packed":`, `, "packed": `, 1)
	again, err := DecodeMemory([]byte(spaced))
	require.NoError(t, err, "as other writers of JSON space it")
	require.Equal(t, text, string(again.Encode()))
	empty, err := DecodeMemory(Memory{}.Encode())
	require.NoError(t, err)
	require.Equal(t, Memory{}, empty)
}

// TestExtremes: whatever is counted, numbers stay finite and nothing is promoted on
// nothing.
func TestExtremes(t *testing.T) {
	values := []float64{0, 0.3, 1, 1e12}
	for _, c := range values {
		for _, s := range values {
			for _, errors := range values {
				for _, weight := range []float64{1, 1000} {
					in := base()
					arm := func(n float64) Counts {
						return Counts{Rows: n / weight, Weight: n, WeightSquared: n * weight, Errors: errors, ClientErrors: errors,
							Times: [Timings]histogram.Histogram{{First: 0, Counts: []float64{n}}, {First: 199, Counts: []float64{n}}}}
					}
					for i := -3; i < 20; i++ {
						in.Intervals = append(in.Intervals, Interval{Index: minute(i), Canary: arm(c), Stable: arm(s)})
					}
					in.Through = minute(19)
					v, m := Judge(in)
					requireFinite(t, v)
					again, err := DecodeMemory(m.Encode())
					require.NoError(t, err)
					require.Equal(t, m.Encode(), again.Encode())
					if c == 0 {
						require.NotEqual(t, Promote, v.Decision)
						require.NotEqual(t, Rollback, v.Decision)
					}
				}
			}
		}
	}
}

// TestClock: a clock that jumps makes no verdict, takes no time, and does no harm to
// what comes after.
func TestClock(t *testing.T) {
	in := newTraffic(1, 1000, 0.05).run(base(), 8)
	in.Step.Deadline = time.Time{}
	v, m := Judge(in)
	require.Equal(t, Hold, v.Decision)

	back := in
	back.Memory, back.Intervals, back.Through = m, nil, in.Through-1000
	same, after := Judge(back)
	require.Equal(t, v, same)
	require.Equal(t, m.Encode(), after.Encode())

	ahead := in
	ahead.Memory, ahead.Intervals, ahead.Through = m, nil, in.Through+50_000_000
	lost, after := Judge(ahead)
	require.Equal(t, Hold, lost.Decision, lost.Reason)
	last, ok := after.Last()
	require.True(t, ok)
	require.Equal(t, ahead.Through, last)

	ahead.Step.Deadline = noon.Add(time.Hour)
	lost, _ = Judge(ahead)
	require.Equal(t, Inconclusive, lost.Decision)
	require.Equal(t, noon.Add(time.Hour), lost.At)
}

// TestLateRegression: what begins after the horizon is found as what begins in it.
func TestLateRegression(t *testing.T) {
	in := base()
	in.Step.Deadline = time.Time{}
	in.Step.Bake = 1000 * time.Hour
	for i := -60; i < 3020; i++ {
		f := flow{requests: 50, errors: 0.001, median: 800, spread: 0.8, weight: 1}
		if i >= 3000 {
			f.errors = 0.06
		}
		in.Intervals = append(in.Intervals, Interval{Index: minute(i), Canary: f.counts(),
			Stable: flow{requests: 950, errors: 0.001, median: 800, spread: 0.8, weight: 1}.counts()})
	}
	in.Through = minute(3019)
	v, _ := Judge(in)
	require.Equal(t, Rollback, v.Decision, v.Reason)
	require.Less(t, v.At.Sub(noon), 3010*time.Minute)
}

// TestLateRegressionOfUsersWhoStay: that each user has failed at some time in days at a
// step hides nothing that begins after them.
func TestLateRegressionOfUsersWhoStay(t *testing.T) {
	in := base()
	in.Step.Deadline = time.Time{}
	in.Step.Bake = 1000 * time.Hour
	users := [arms][]uint32{canary: make([]uint32, 50), stable: make([]uint32, 950)}
	r := rand.New(rand.NewPCG(7, 7))
	for _, all := range users {
		for k := range all {
			all[k] = r.Uint32()
		}
	}
	for i := range 3020 {
		iv := Interval{Index: minute(i), UserShare: 1}
		for k, counts := range [arms]*Counts{&iv.Canary, &iv.Stable} {
			calls := 10 * len(users[k])
			failing := (i+1)*calls/1000 - i*calls/1000 // 0.1 % of the calls, of each user in turn
			if k == canary && i >= 3000 {
				failing = calls / 10
			}
			*counts = flow{requests: float64(calls), errors: float64(failing) / float64(calls), median: 800, spread: 0.8, weight: 1}.counts()
			counts.Users = sorted(users[k])
			for f := range failing {
				counts.FailingUsers = append(counts.FailingUsers, users[k][(i*calls/1000+f)%len(users[k])])
			}
			counts.FailingUsers = sorted(counts.FailingUsers)
		}
		in.Intervals = append(in.Intervals, iv)
	}
	in.Through = minute(3019)
	v, _ := Judge(in)
	require.Equal(t, Rollback, v.Decision, v.Reason)
	require.Less(t, v.At.Sub(noon), 3010*time.Minute)
	require.Greater(t, v.At.Sub(noon), 3000*time.Minute)
}

// TestArmsSampledApart: Analytics Engine samples the larger arm more. That fewer of its
// users are seen, and fewer of those that fail, says nothing about the split.
func TestArmsSampledApart(t *testing.T) {
	in := base()
	in.Step.Deadline = time.Time{}
	r := rand.New(rand.NewPCG(7, 7))
	some := func(n float64) (users []uint32) {
		for range int(n) {
			users = append(users, r.Uint32())
		}
		return sorted(users)
	}
	for i := -60; i < 30; i++ {
		iv := Interval{Index: minute(i), UserShare: 1}
		for k, counts := range [arms]*Counts{&iv.Canary, &iv.Stable} {
			f := [arms]flow{{requests: 500, weight: 1}, {requests: 9500, weight: 10}}[k]
			f.errors, f.median, f.spread = 0.004, 800, 0.8
			if *counts = f.counts(); k == canary && i < 0 {
				*counts = Counts{}
				continue
			}
			counts.Users = some(counts.Rows / 3)
			counts.FailingUsers = some(counts.Rows * f.errors)
		}
		in.Intervals = append(in.Intervals, iv)
	}
	in.Through = minute(29)
	v, _ := Judge(in)
	require.Equal(t, Promote, v.Decision, v.Reason)
	require.Empty(t, v.Mismatch)
}

// TestPromoteLimitThatIsRelativeAlone: at 100 % nothing is left of it, and the rollback
// limit's absolute part acts nevertheless.
func TestPromoteLimitThatIsRelativeAlone(t *testing.T) {
	in := base()
	in.Step.BasisPoints, in.Step.Next = 10_000, 10_000
	in.Settings.Limits[ClientErrors] = Bounds{Rollback: Limit{0.02, 2}, Promote: Limit{0, 1.5}}
	for i := range 15 {
		in.Intervals = append(in.Intervals, Interval{Index: minute(i), Canary: flow{requests: 1000, clientErrors: 0.1, median: 800, spread: 0.8, weight: 1}.counts()})
	}
	in.Through = minute(14)
	v, _ := Judge(in)
	require.Equal(t, Rollback, v.Decision, v.Reason)
	require.Contains(t, v.Reason, "the client error rate of the canary")
}

// sticky are users: each of both arms is seen each minute, and of some all calls fail.
func sticky(in Input, canaryUsers, stableUsers, canaryFailing, stableFailing int, minutes int) Input {
	all := [arms][]uint32{}
	r := rand.New(rand.NewPCG(5, 5))
	for i, n := range [arms]int{canaryUsers, stableUsers} {
		for range n {
			all[i] = append(all[i], r.Uint32())
		}
	}
	failing := [arms]int{canaryFailing, stableFailing}
	for i := -60; i < minutes; i++ {
		iv := Interval{Index: minute(i), UserShare: 1}
		for k, counts := range [arms]*Counts{&iv.Canary, &iv.Stable} {
			n := float64(len(all[k]))
			*counts = flow{requests: n, errors: float64(failing[k]) / n, median: 800, spread: 0.8, weight: 1}.counts()
			counts.Users = sorted(all[k])
			counts.FailingUsers = sorted(all[k][:failing[k]])
		}
		if i < 0 {
			iv.Canary = Counts{}
		}
		in.Intervals = append(in.Intervals, iv)
	}
	in.Through = minute(minutes - 1)
	return in
}

func sorted(prints []uint32) []uint32 {
	prints = slices.Clone(prints)
	slices.Sort(prints)
	return prints
}

// TestUsers: one user whose every call fails rolls nothing back; many users do.
func TestUsers(t *testing.T) {
	in := base()
	in.Step.Deadline = time.Time{}
	v, _ := Judge(sticky(in, 50, 950, 1, 1, 60))
	require.Equal(t, Hold, v.Decision, v.Reason)
	errors := v.Metrics[0]
	require.GreaterOrEqual(t, errors.Tests[0].Log, errors.Tests[0].NeededLog, "by requests alone it would be rolled back")
	require.Less(t, errors.Tests[2].Log, errors.Tests[2].NeededLog)
	require.Equal(t, "rollback.relative.users", errors.Tests[2].Name)
	require.InDelta(t, 50, errors.Window.CanaryUsers, 0.5)
	require.InDelta(t, 950, errors.Window.StableUsers, 150, "a sketch of at most 256")

	v, _ = Judge(sticky(in, 50, 950, 20, 1, 60))
	require.Equal(t, Rollback, v.Decision, v.Reason)
}

// TestMismatch: users that are not split as configured freeze promotion.
func TestMismatch(t *testing.T) {
	in := base()
	in.Step.BasisPoints = 5000
	r := rand.New(rand.NewPCG(5, 5))
	for _, test := range []struct {
		name     string
		canaries int
		want     bool
	}{{"as configured", 20, false}, {"a third", 10, true}} {
		t.Run(test.name, func(t *testing.T) {
			in := in
			for i := -60; i < 16; i++ {
				iv := Interval{Index: minute(i), UserShare: 1}
				for k, counts := range [arms]*Counts{&iv.Canary, &iv.Stable} {
					n := []int{test.canaries, 20}[k]
					*counts = flow{requests: 500, median: 800, spread: 0.8, weight: 1}.counts()
					for range n {
						counts.Users = append(counts.Users, r.Uint32())
					}
					slices.Sort(counts.Users)
				}
				in.Intervals = append(in.Intervals, iv)
			}
			in.Through = minute(15)
			v, _ := Judge(in)
			require.Equal(t, test.want, v.Mismatch != "", v.Reason)
			if test.want {
				require.Equal(t, Hold, v.Decision)
				require.Contains(t, v.Reason, "% of the users instead of 50 %")
			}
		})
	}
}

// TestMoreErrorsNeverLessEvidence: more errors of the canary never lower the evidence
// for a rollback, nor raise that for a promotion.
func TestMoreErrorsNeverLessEvidence(t *testing.T) {
	before := map[string]float64{}
	for _, errors := range []float64{0, 0.001, 0.003, 0.01, 0.02, 0.04} {
		in := base()
		for i := -60; i < 2; i++ {
			in.Intervals = append(in.Intervals, Interval{Index: minute(i), Canary: flow{requests: 50, errors: errors, median: 800, spread: 0.8, weight: 1}.counts(),
				Stable: flow{requests: 950, errors: 0.002, median: 800, spread: 0.8, weight: 1}.counts()})
		}
		in.Through = minute(1)
		v, _ := Judge(in)
		for _, test := range v.Metrics[0].Tests {
			if former, ok := before[test.Name]; ok && strings.HasPrefix(test.Name, "promote.") {
				require.LessOrEqual(t, test.Log, former, test.Name)
			} else if ok {
				require.GreaterOrEqual(t, test.Log, former, test.Name)
			}
			before[test.Name] = test.Log
		}
	}
}

// TestWeightsScale: rows that each stand for several requests prove what rows prove.
func TestWeightsScale(t *testing.T) {
	verdict := func(weight float64) Verdict {
		in := base()
		for i := -60; i < 8; i++ {
			in.Intervals = append(in.Intervals, Interval{Index: minute(i),
				Canary: flow{requests: 50 * weight, errors: 0.004, median: 900, spread: 0.8, weight: weight}.counts(),
				Stable: flow{requests: 950 * weight, errors: 0.002, median: 800, spread: 0.8, weight: weight}.counts()})
		}
		in.Through = minute(7)
		v, _ := Judge(in)
		return v
	}
	one, many := verdict(1), verdict(64)
	for i, a := range one.Metrics {
		for k, test := range a.Tests {
			require.InDelta(t, test.Log, many.Metrics[i].Tests[k].Log, 1e-6, "%s %s", a.Metric, test.Name)
		}
		require.InDelta(t, a.Recent.Canary, many.Metrics[i].Recent.Canary, 1e-6*a.Recent.Canary)
	}
}

func TestFormat(t *testing.T) {
	require.Equal(t, "15m", FormatDuration(15*time.Minute))
	require.Equal(t, "1h30m", FormatDuration(90*time.Minute))
	require.Equal(t, "2h", FormatDuration(2*time.Hour))
	require.Equal(t, "900ms", FormatDuration(900*time.Millisecond))
	require.Equal(t, "1m1s", FormatDuration(61200*time.Millisecond))
	require.Equal(t, "1 row", FormatCount(1, "row"))
	require.Equal(t, "0 rows", FormatCount(0, "row"))
	require.Equal(t, "0.5 %", FormatMetric(Errors, 0.005))
	require.Equal(t, "812 ms", FormatMetric(LatencyP95, 811.7))
	require.Equal(t, "20×", FormatEvidence(math.Log(20)))
	require.Equal(t, "0.5×", FormatEvidence(math.Log(0.5)))
	require.Equal(t, "over 1e9×", FormatEvidence(1e9))
	require.Equal(t, "under 0.001×", FormatEvidence(-1e9))
}

// TestMetrics: every metric has a title, and each timing two quantiles.
func TestMetrics(t *testing.T) {
	seen := map[Timing]int{}
	for _, m := range Metrics {
		require.NotEqual(t, string(m), m.Title())
		if timing, q, ok := m.Timing(); ok {
			seen[timing]++
			require.Equal(t, strings.HasSuffix(string(m), "p95"), q == 0.95)
		}
	}
	require.Equal(t, map[Timing]int{FirstByte: 2, Total: 2, FirstToken: 2, Predict: 2}, seen)
}
