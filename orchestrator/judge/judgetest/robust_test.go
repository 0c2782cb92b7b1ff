package judgetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// watch judges and holds each verdict and memory to what must always be true.
func watch(t testing.TB, in judge.Input) (judge.Verdict, judge.Memory) {
	t.Helper()
	before := in.Memory.Encode()
	v, m := judge.Judge(in)
	requireSound(t, v)
	require.Equal(t, before, in.Memory.Encode(), "the memory that was passed in has changed")

	text := m.Encode()
	require.LessOrEqual(t, len(text), 32<<10, "memory")
	again, err := judge.DecodeMemory(text)
	require.NoError(t, err)
	require.Equal(t, string(text), string(again.Encode()))

	if last, judged := m.Last(); judged && v.Decision != judge.Hold && last < in.Through {
		return v, m // it stopped at a decision: the next call goes on behind it
	}
	in.Memory = again
	twice, m2 := judge.Judge(in)
	require.Equal(t, asJSON(t, v), asJSON(t, twice), "the same intervals again")
	require.Equal(t, string(text), string(m2.Encode()), "the same intervals again")
	return v, m
}

// requireSound: all numbers are finite, and the verdict says how it came about.
func requireSound(t testing.TB, v judge.Verdict) {
	t.Helper()
	requireFinite(t, reflect.ValueOf(v), "verdict")
	var stored judge.Verdict
	require.NoError(t, json.Unmarshal([]byte(asJSON(t, v)), &stored))
	decision, reason := judge.Decide(stored)
	require.Equal(t, v.Decision, decision)
	require.Equal(t, v.Reason, reason)
	require.NotEmpty(t, v.Reason)
}

func asJSON(t testing.TB, v judge.Verdict) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// requireFinite walks everything that is reachable.
func requireFinite(t testing.TB, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Float64, reflect.Float32:
		require.False(t, math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0), "%s is %v", path, v.Float())
	case reflect.Struct:
		for i := range v.NumField() {
			requireFinite(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			requireFinite(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			requireFinite(t, v.Elem(), path)
		}
	}
}

// odd are counts that break what was written for usual ones.
var odd = []float64{0, 0, 0, 1, 1, 2, 0.5, 1e-9, 3, 17, 100, 1234.5, 1e6, 1e12}

// wild are counts that fit together, or not where torn is set.
func wild(r *rand.Rand, torn bool) judge.Counts {
	n, weight := pick(r, odd), 1+999*r.Float64()*float64(r.IntN(2))
	c := judge.Counts{Rows: n, Weight: n * weight, WeightSquared: n * weight * weight * (1 + r.Float64())}
	share := func() float64 { return c.Weight * pick(r, []float64{0, 0, 0.001, 0.01, 0.5, 1}) }
	c.Errors, c.ClientErrors, c.Good, c.Bad = share(), share(), share(), share()
	c.Open, c.Skipped = pick(r, odd), pick(r, odd)
	if torn {
		c.WeightSquared, c.Errors, c.Rows = pick(r, odd), pick(r, odd), pick(r, odd)
	}
	for i := range c.Times {
		if r.IntN(2) == 0 {
			c.Times[i] = wildTimes(r, c.Weight)
		}
	}
	for range r.IntN(20) {
		c.Users = append(c.Users, r.Uint32())
	}
	slices.Sort(c.Users)
	c.Users = slices.Compact(c.Users)
	for _, u := range c.Users {
		if r.IntN(4) == 0 {
			c.FailingUsers = append(c.FailingUsers, u)
		}
		if r.IntN(4) == 0 {
			c.ClientFailingUsers = append(c.ClientFailingUsers, u)
		}
	}
	return c
}

func wildTimes(r *rand.Rand, total float64) histogram.Histogram {
	h := histogram.Histogram{First: r.IntN(histogram.Buckets)}
	for range r.IntN(min(30, histogram.Buckets-h.First) + 1) {
		h.Counts = append(h.Counts, total*pick(r, []float64{0, 0.1, 0.5, 1})/10)
	}
	return h
}

// everything judges all metrics, by all kinds of limits.
func everything() judge.Settings {
	s := judge.Default()
	s.Limits[judge.Feedback] = judge.Bounds{Rollback: judge.Limit{Absolute: 0.1, Relative: 1.5}, Promote: judge.Limit{Absolute: 0.05, Relative: 1.2}}
	s.Limits[judge.LatencyP95] = judge.Bounds{Rollback: judge.Limit{Absolute: 3000, Relative: 1.5}, Promote: judge.Limit{Absolute: 2000, Relative: 1.2}, Floor: 200, Ceiling: 9000}
	s.Limits[judge.TotalP50] = judge.Bounds{Rollback: judge.Limit{Absolute: 3000}, Promote: judge.Limit{Absolute: 2000}}
	s.Limits[judge.ClientErrors] = judge.Bounds{Rollback: judge.Limit{Relative: 2}, Promote: judge.Limit{Relative: 1.5}, Ceiling: 0.5}
	return s
}

// looks drives a judge over intervals that a test makes, with gaps and catching up.
type looks struct {
	settings judge.Settings
	step     judge.Step
	memory   judge.Memory
	pending  []judge.Interval
}

func newLooks(s judge.Settings, points int) *looks {
	return &looks{settings: s, step: judge.Step{BasisPoints: points, Next: 5000, Began: epoch, Since: epoch, Bake: 15 * s.Interval, Deadline: epoch.Add(60 * s.Interval)}}
}

func (l *looks) at(t int) judge.Input {
	return judge.Input{Now: epoch.Add(time.Duration(t+1) * l.settings.Interval), Settings: l.settings, Step: l.step, Intervals: l.pending, Through: number(t, l.settings), Memory: l.memory}
}

func (l *looks) look(t testing.TB, at int) judge.Verdict {
	t.Helper()
	v, m := watch(t, l.at(at))
	l.memory, l.pending = m, nil
	return v
}

// TestAnything: whatever is counted, all numbers stay finite, what is stored gives
// the same verdict again, and an interval counts once.
func TestAnything(t *testing.T) {
	for run := range runs(150, 10000) {
		r := source(uint64(run))
		settings := everything()
		if r.IntN(5) == 0 {
			settings.Method = judge.Thresholds
		}
		l := newLooks(settings, pick(r, []int{0, 1, 500, 5000, 9999, 10000}))
		torn := r.IntN(4) == 0
		for at := -r.IntN(30); at < 40; at++ {
			if r.IntN(5) > 0 {
				l.pending = append(l.pending, judge.Interval{Index: number(at, settings), UserShare: pick(r, []float64{0, 1e-4, 0.5, 1}),
					Canary: wild(r, torn), Stable: wild(r, torn)})
			}
			if at >= 0 && r.IntN(3) == 0 {
				if v := l.look(t, at); v.Decision != judge.Hold {
					break
				}
			}
		}
	}
}

// TestNothing: a rollout in which one arm has no traffic is never promoted, and is
// inconclusive at the deadline.
func TestNothing(t *testing.T) {
	arms := []struct {
		name           string
		canary, stable bool
		points         int
	}{
		{"neither", false, false, 500},
		{"stable alone", false, true, 500},
		{"canary alone", true, false, 500},
		{"canary alone with all but a holdback", true, false, 9900},
		{"neither at the end", false, false, 10000},
		{"stable alone at the end", false, true, 10000},
	}
	for _, method := range []judge.Method{judge.Evidence, judge.Thresholds} {
		for _, arm := range arms {
			t.Run(string(method)+", "+arm.name, func(t *testing.T) {
				r := source(7)
				l := newLooks(judge.Default(), arm.points)
				l.settings.Method = method
				for at := -60; at < 61; at++ {
					i := judge.Interval{Index: number(at, l.settings)}
					if arm.canary && at >= 0 {
						i.Canary = healthy(r, 1000)
					}
					if arm.stable {
						i.Stable = healthy(r, 1000)
					}
					l.pending = append(l.pending, i)
					if at < 0 {
						continue
					}
					v := l.look(t, at)
					require.Contains(t, []judge.Decision{judge.Hold, judge.Inconclusive}, v.Decision, "%d: %s", at, v.Reason)
					if v.Decision == judge.Inconclusive {
						require.GreaterOrEqual(t, at, 59)
						return
					}
				}
				t.Fatal("neither inconclusive nor anything else at the deadline")
			})
		}
	}
}

// healthy is a minute of an arm with all kinds of traffic.
func healthy(r *rand.Rand, mean float64) judge.Counts {
	n := poisson(r, mean)
	c := requests(n, binomial(r, n, 0.001))
	c.ClientErrors = binomial(r, n, 0.001)
	c.Times[judge.FirstByte] = lognormal(r, n-c.Errors, 800, 0.8)
	return c
}

func both(r *rand.Rand, t int, s judge.Settings, canary, stable float64) judge.Interval {
	i := judge.Interval{Index: number(t, s), Stable: healthy(r, stable)}
	if t >= 0 && canary > 0 {
		i.Canary = healthy(r, canary)
	}
	return i
}

// TestVanish: a canary whose traffic goes away is neither promoted nor rolled back
// but said to be gone; when it comes back it is promoted.
func TestVanish(t *testing.T) {
	r := source(11)
	l := newLooks(judge.Default(), 2000)
	said := false
	for at := -60; at < 60; at++ {
		canary := 400.0
		if at >= 5 && at < 30 {
			canary = 0
		}
		l.pending = append(l.pending, both(r, at, l.settings, canary, 1600))
		if at < 0 {
			continue
		}
		v := l.look(t, at)
		if at >= 10 && at < 30 {
			said = said || v.Collapse != ""
		}
		if at < 30 {
			require.Equal(t, judge.Hold, v.Decision, "%d: %s", at, v.Reason)
			continue
		}
		if v.Decision == judge.Promote {
			require.True(t, said, "nobody said that the traffic was gone")
			return
		}
		require.Equal(t, judge.Hold, v.Decision, "%d: %s", at, v.Reason)
	}
	t.Fatal("never promoted")
}

// TestLatePoints: what arrives for an interval that was judged changes nothing.
func TestLatePoints(t *testing.T) {
	plain, late := newLooks(judge.Default(), 2000), newLooks(judge.Default(), 2000)
	r, noise := source(13), source(14)
	for at := -60; at < 14; at++ {
		i := both(r, at, plain.settings, 200, 800)
		plain.pending = append(plain.pending, i)
		if at > 0 {
			for back := 5; back > 0; back-- {
				again := judge.Interval{Index: number(at-back, late.settings), Canary: wild(noise, true), Stable: wild(noise, true)}
				late.pending = append(late.pending, again)
			}
		}
		late.pending = append(late.pending, i)
		if at >= 0 {
			require.Equal(t, asJSON(t, plain.look(t, at)), asJSON(t, late.look(t, at)))
		}
	}
}

// TestCatchUp: a judge that was away judges as if it had looked at each interval,
// wherever it was interrupted, and ends at the same one.
func TestCatchUp(t *testing.T) {
	for run := range runs(40, 1000) {
		r := source(uint64(100 + run))
		worse := pick(r, []float64{0, 0, 0.02, 0.1})
		var all []judge.Interval
		for at := -60; at < 61; at++ {
			i := both(r, at, judge.Default(), 300, 700)
			i.Canary.Errors += binomial(r, i.Canary.Weight-i.Canary.Errors, worse)
			if r.IntN(10) > 0 {
				all = append(all, i)
			}
		}
		every, now, then := newLooks(judge.Default(), 3000), newLooks(judge.Default(), 3000), newLooks(judge.Default(), 3000)
		var want judge.Verdict
		for at := 0; at < 61; at++ {
			every.pending = all
			if want = every.look(t, at); want.Decision != judge.Hold {
				break
			}
		}
		var got judge.Verdict
		for at := r.IntN(5); got.Decision == "" || got.Decision == judge.Hold; at += 1 + r.IntN(20) {
			now.pending = all
			got = now.look(t, min(at, 60))
		}
		requireSame(t, want, got)
		then.pending = all
		requireSame(t, want, then.look(t, 60))
		require.Equal(t, string(every.memory.Encode()), string(now.memory.Encode()))
		require.Equal(t, string(every.memory.Encode()), string(then.memory.Encode()))
	}
}

// requireSame: two verdicts agree in all that they say.
func requireSame(t testing.TB, want, got judge.Verdict) {
	t.Helper()
	require.JSONEq(t, asJSON(t, want), asJSON(t, got))
}

// TestClockJumps: a clock that goes wrong, to either side, decides nothing and costs
// no time; what follows is judged as if it had not.
func TestClockJumps(t *testing.T) {
	r := source(17)
	l := newLooks(judge.Default(), 2000)
	l.step.Deadline = time.Time{}
	for at := -60; at < 5; at++ {
		l.pending = append(l.pending, both(r, at, l.settings, 200, 800))
	}
	first := l.look(t, 4)
	require.Equal(t, judge.Hold, first.Decision, first.Reason)

	for _, jump := range []int{-1, -100, -1_000_000} {
		in := l.at(4 + jump)
		v, m := watch(t, in)
		require.Equal(t, judge.Hold, v.Decision)
		require.Equal(t, string(l.memory.Encode()), string(m.Encode()), "%d", jump)
	}
	for _, jump := range []int{1000, 1_000_000, 1 << 26} {
		v, _ := watch(t, l.at(4+jump))
		require.Equal(t, judge.Hold, v.Decision, "%d: %s", jump, v.Reason)
	}
	in := l.at(4)
	for _, through := range []int64{math.MinInt64, -1, 0, math.MaxInt64 / 1_000_000} {
		in.Through = through
		v, _ := watch(t, in)
		require.Equal(t, judge.Hold, v.Decision, "%d: %s", through, v.Reason)
	}
	for _, now := range []time.Time{{}, time.Unix(0, 0), epoch.Add(-time.Hour), epoch.Add(1000000 * time.Hour)} {
		in := l.at(4)
		in.Now = now
		v, m := watch(t, in)
		require.Equal(t, judge.Hold, v.Decision, "%v: %s", now, v.Reason)
		require.Equal(t, string(l.memory.Encode()), string(m.Encode()), "%v", now)
	}
}

// TestClockFarAhead: a judge that comes back long after the deadline, or to a clock
// that went wrong, finds what it would have found at the deadline.
func TestClockFarAhead(t *testing.T) {
	for _, late := range []int{60, 61, 100, 100_000, 1 << 26} {
		r := source(18)
		l := newLooks(judge.Default(), 2000)
		for at := -60; at < 5; at++ {
			l.pending = append(l.pending, both(r, at, l.settings, 200, 800))
		}
		v := l.look(t, late)
		require.Equal(t, judge.Inconclusive, v.Decision, "%d: %s", late, v.Reason)
		require.Equal(t, l.step.Deadline, v.At, "%d", late)
	}
}

// TestForeignMemory: bytes that are no memory are an error, or a memory that judges
// without harm.
func TestForeignMemory(t *testing.T) {
	r := source(19)
	l := newLooks(everything(), 2000)
	for at := -60; at < 10; at++ {
		i := both(r, at, l.settings, 200, 800)
		i.UserShare, i.Canary.Users, i.Canary.FailingUsers = 1, []uint32{1, 2, 3}, []uint32{2}
		l.pending = append(l.pending, i)
	}
	l.look(t, 9)
	good := l.memory.Encode()
	for _, bad := range []string{"", "null", "[]", "1", `"x"`, `{"`, "{} {}", "\x00\xff", string(good[:len(good)/2]), string(good) + "}"} {
		tryMemory(t, l, []byte(bad))
	}
	for range runs(3000, 300000) {
		bad := slices.Clone(good)
		for range 1 + r.IntN(3) {
			switch at := r.IntN(len(bad)); r.IntN(3) {
			case 0:
				bad[at] = byte(r.IntN(256))
			case 1:
				bad = slices.Delete(bad, at, min(len(bad), at+1+r.IntN(8)))
			default:
				bad = slices.Insert(bad, at, pick(r, good), pick(r, good))
			}
		}
		tryMemory(t, l, bad)
	}
}

// tryMemory judges on with what was decoded, if it was.
func tryMemory(t testing.TB, l *looks, text []byte) {
	t.Helper()
	m, err := judge.DecodeMemory(text)
	if err != nil {
		return
	}
	r := source(23)
	in := l.at(12)
	in.Memory, in.Intervals = m, []judge.Interval{both(r, 10, l.settings, 200, 800), both(r, 12, l.settings, 200, 800)}
	v, after := judge.Judge(in)
	requireFinite(t, reflect.ValueOf(v), "verdict of "+string(text))
	after.Encode()
}

func FuzzMemory(f *testing.F) {
	l := newLooks(everything(), 2000)
	r := source(29)
	for at := -20; at < 10; at++ {
		l.pending = append(l.pending, both(r, at, l.settings, 200, 800))
	}
	l.look(f, 9)
	f.Add(l.memory.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) { tryMemory(t, l, text) })
}

// FuzzJudge: counts made of arbitrary bytes.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(1), []byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Fuzz(func(t *testing.T, seed uint64, numbers []byte) {
		r := source(seed)
		l := newLooks(everything(), pick(r, []int{0, 500, 10000}))
		take := func() float64 {
			if len(numbers) < 2 {
				return 0
			}
			x := math.Ldexp(float64(numbers[0]), int(numbers[1])/5-12)
			numbers = numbers[2:]
			return x
		}
		for at := -3; at < 20 && len(numbers) > 0; at++ {
			i := judge.Interval{Index: number(at, l.settings), UserShare: math.Min(1, take())}
			for _, c := range []*judge.Counts{&i.Canary, &i.Stable} {
				*c = wild(r, false)
				c.Rows, c.Weight, c.WeightSquared, c.Errors, c.ClientErrors = take(), take(), take(), take(), take()
				for k := range c.Times {
					c.Times[k] = histogram.Histogram{First: int(numbersOr(numbers, 0)) % histogram.Buckets, Counts: []float64{take()}}
				}
			}
			l.pending = append(l.pending, i)
			if at >= 0 && l.look(t, at).Decision != judge.Hold {
				return
			}
		}
	})
}

func numbersOr(b []byte, otherwise byte) byte {
	if len(b) == 0 {
		return otherwise
	}
	return b[0]
}
