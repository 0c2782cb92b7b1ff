package judgetest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	judge "perch/orchestrator/judge"
)

// crowd is sticky traffic: users come, make their calls over a while and go. Who
// they are decides their arm, and whether every call of theirs fails.
type crowd struct {
	rate    float64 // requests a minute
	calls   func(r *rand.Rand) int
	mean    float64 // of calls
	span    int     // minutes that a user's calls spread over
	failing float64 // part of the users whose every call fails, whichever arm serves them
	errors  float64 // rate of errors beside theirs
	worse   float64 // added to it on the canary
	off     float64 // the canary's real share is so many times the configured one
	told    float64 // requests a minute by users who are counted; 0 is 15,000, as a lone service may have
}

// person is one of them. The hash that decides the arm and the one on the points
// are independent of each other.
type person struct {
	arm   float64 // in [0, 1): below the canary's share is canary
	print uint32
	fails bool
}

// seat is one call of a person.
type seat struct {
	person
	times float64
}

// played is a crowd's traffic, call by call for those who are counted as users,
// as sums for the others.
type played struct {
	crowd
	r     *rand.Rand
	share float64        // of users, that is counted as users
	known map[int][]seat // by minute
}

// play seats everyone who has a call from minute -history to minute length.
func (c crowd) play(r *rand.Rand, history, length int) played {
	p := played{crowd: c, r: r, share: 1, known: map[int][]seat{}}
	for c.rate*p.share > cmp.Or(c.told, 15000) && p.share > 1.0/4096 {
		p.share /= 2
	}
	for t := -history - c.span; t < length; t++ {
		come := c.rate / c.mean
		for range int(poisson(r, come*p.share*(1-c.failing))) {
			p.sit(t, person{r.Float64(), uint32(r.Float64() * p.share * (1 << 32)), false})
		}
		for range int(poisson(r, come*c.failing)) {
			p.sit(t, person{r.Float64(), r.Uint32(), true})
		}
	}
	return p
}

// sit gives a person who comes at minute t their calls.
func (p *played) sit(t int, who person) {
	calls := map[int]float64{}
	for range p.calls(p.r) {
		calls[t+p.r.IntN(p.span)]++
	}
	for _, at := range slices.Sorted(maps.Keys(calls)) {
		p.known[at] = append(p.known[at], seat{who, calls[at]})
	}
}

// tally are an arm's counts while they are made.
type tally struct {
	n, failed    float64
	seen, failer map[uint32]bool
}

// untold is the interval t where nobody tells users apart.
func (p *played) untold(t int, share float64) judge.Interval {
	i := p.minute(t, share)
	i.UserShare, i.Canary.Users, i.Canary.FailingUsers, i.Stable.Users, i.Stable.FailingUsers = 0, nil, nil, nil, nil
	return i
}

// minute is the measured interval t.
func (p *played) minute(t int, share float64) judge.Interval {
	share = math.Min(1, share*cmp.Or(p.off, 1))
	arms := [2]tally{{seen: map[uint32]bool{}, failer: map[uint32]bool{}}, {seen: map[uint32]bool{}, failer: map[uint32]bool{}}}
	for _, s := range p.known[t] {
		p.count(&arms, s, share)
	}
	rest := p.rate * (1 - p.failing) * (1 - p.share)
	for i, part := range [2]float64{share, 1 - share} {
		n := poisson(p.r, rest*part)
		failed := binomial(p.r, n, p.rateOf(i))
		arms[i].n += n
		arms[i].failed += failed
		for range int(failed) {
			above := p.share + (1-p.share)*p.r.Float64()
			arms[i].failer[uint32(math.Min(above*(1<<32), math.MaxUint32))] = true
		}
	}
	return judge.Interval{Index: number(t, judge.Default()), UserShare: p.share, Canary: arms[0].counts(), Stable: arms[1].counts()}
}

// rateOf is the rate of errors of arm 0, the canary, or 1.
func (p *played) rateOf(arm int) float64 {
	if arm == 0 {
		return p.errors + p.worse
	}
	return p.errors
}

func (p *played) count(arms *[2]tally, s seat, share float64) {
	i := 1
	if s.arm < share {
		i = 0
	}
	a := &arms[i]
	failed := s.times
	if !s.fails {
		failed = binomial(p.r, s.times, p.rateOf(i))
	}
	a.n += s.times
	a.failed += failed
	if float64(s.print) < p.share*(1<<32) {
		a.seen[s.print] = true
	}
	if failed > 0 {
		a.failer[s.print] = true
	}
}

func (a tally) counts() judge.Counts {
	c := requests(a.n, a.failed)
	c.Users, c.FailingUsers = prints(a.seen), prints(a.failer)
	return c
}

func prints(set map[uint32]bool) []uint32 {
	out := make([]uint32, 0, len(set))
	for p := range set {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// twenty calls each.
func twenty(*rand.Rand) int { return 20 }

// pareto is a heavy tail of calls, of tail index 1.2: most users make one, some thousands.
func pareto(r *rand.Rand) int {
	return int(math.Min(5000, math.Pow(1-r.Float64(), -1/1.2)))
}

// meanOf is the mean of a user's calls.
func meanOf(calls func(*rand.Rand) int) float64 {
	r, sum := source(99), 0
	const many = 1 << 20
	for range many {
		sum += calls(r)
	}
	return float64(sum) / many
}

// TestFailingUsers: 0.5 % of the users fail with every call, on both arms, 20 calls
// each. No more than 2 % of such healthy rollouts are rolled back.
func TestFailingUsers(t *testing.T) {
	for i, rate := range []float64{100, 300, 1000, 10000, 100000} {
		for _, told := range []float64{15000, 50} { // alone, and as one of 300 services
			if told >= rate && told != 15000 {
				continue
			}
			t.Run(fmt.Sprintf("%v, of which %v are told apart", rate, math.Min(rate, told)), func(t *testing.T) {
				back, full, mismatch := 0, 0, 0
				many := runs(few(rate), 300)
				for run := range many {
					out := sticky(uint64(1000*i+run), crowd{rate: rate, calls: twenty, mean: 20, span: 20, failing: 0.005, errors: 0.001, told: told})
					back += count(out.decision == judge.Rollback)
					full += count(out.reached == 10000)
					mismatch += count(out.mismatch)
				}
				atMost(t, "rolled back", 0.02, back, many)
				atMost(t, "mismatch", 0.01, mismatch, many)
				t.Logf("reached 100 %%: %d of %d", full, many)
			})
		}
	}
}

// TestRequestsAlone: the same crowds judged by requests are often rolled back, so
// that TestFailingUsers proves something.
func TestRequestsAlone(t *testing.T) {
	back, many := 0, runs(60, 600)
	for run := range many {
		l := usual()
		l.settings = only(l.settings, judge.Errors)
		p := crowd{rate: 1000, calls: twenty, mean: 20, span: 20, failing: 0.005, errors: 0.001}.play(source(uint64(run)), l.history, l.length+1)
		back += count(l.run(p.untold, nil).decision == judge.Rollback)
	}
	t.Logf("rolled back %d of %d", back, many)
	require.Greater(t, float64(back), 0.05*float64(many))
}

// few runs where each is slow.
func few(rate float64) int {
	if rate < 10000 {
		return 12
	}
	return 4
}

// sticky runs the usual ladder on a crowd, judged by its errors.
func sticky(seed uint64, c crowd) outcome {
	l := usual()
	l.settings = only(l.settings, judge.Errors)
	p := c.play(source(seed), l.history, l.length+1)
	return l.run(p.minute, nil)
}

// TestHeavyUsers: activity with a heavy tail, and failing users whose share of the
// errors is then larger still, neither roll back nor freeze what is healthy.
func TestHeavyUsers(t *testing.T) {
	mean := meanOf(pareto)
	for i, rate := range []float64{100, 1000, 10000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			back, mismatch := 0, 0
			many := runs(few(rate), 300)
			for run := range many {
				out := sticky(uint64(50000+1000*i+run), crowd{rate: rate, calls: pareto, mean: mean, span: 30, failing: 0.005, errors: 0.001})
				back += count(out.decision == judge.Rollback)
				mismatch += count(out.mismatch)
			}
			atMost(t, "rolled back", 0.02, back, many)
			atMost(t, "mismatch", 0.01, mismatch, many)
		})
	}
}

// TestSplitThatIsOff: a canary that gets half as many users again as configured, or
// a third less, is noticed. A fifth more is not always: the memory of users is small.
func TestSplitThatIsOff(t *testing.T) {
	mean := meanOf(pareto)
	tests := []struct {
		name      string
		rate, off float64
		calls     func(*rand.Rand) int
		mean      float64
		least     float64 // part that is noticed
	}{
		{"half as many again", 1000, 1.5, pareto, mean, 0.9},
		{"half as many again of many", 10000, 1.5, twenty, 20, 0.9},
		{"a third less", 1000, 0.667, pareto, mean, 0.9},
		{"a fifth more of many", 10000, 1.2, twenty, 20, 0},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			noticed := 0
			many := runs(few(test.rate), 200)
			for run := range many {
				out := sticky(uint64(90000+1000*i+run), crowd{rate: test.rate, calls: test.calls, mean: test.mean, span: 20, errors: 0.001, off: test.off})
				noticed += count(out.mismatch)
			}
			t.Logf("noticed %d of %d", noticed, many)
			require.GreaterOrEqual(t, float64(noticed), test.least*float64(many))
		})
	}
}

// TestWorseForManyUsers: the users' unit does not hide a canary that is worse for all.
func TestWorseForManyUsers(t *testing.T) {
	for i, rate := range []float64{1000, 10000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			back := 0
			many := runs(few(rate), 200)
			for run := range many {
				out := sticky(uint64(70000+1000*i+run), crowd{rate: rate, calls: twenty, mean: 20, span: 20, failing: 0.005, errors: 0.001, worse: 0.05})
				back += count(out.decision == judge.Rollback)
			}
			t.Logf("rolled back: %d of %d", back, many)
			require.GreaterOrEqual(t, float64(back), 0.95*float64(many))
		})
	}
}
