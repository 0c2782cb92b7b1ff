package simulate

import (
	"encoding/binary"
	"math"

	"github.com/cespare/xxhash/v2"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// Recording is traffic made out of stable's recorded intervals: what was measured
// of them is divided at random between both arms, so that a canary that is not
// made worse is stable's twin. Each rollout begins somewhere in the recording and
// goes round it.
type Recording struct {
	// Intervals follow each other without a gap, one at least. Their canary is left
	// out of account.
	Intervals []judge.Interval
	// Worse is the share, 0 to 1, of the canary's successes that are made to fail, and
	// Slower the ratio of its times; 0 is 1.
	Worse, Slower float64
}

// Traffic implements Maker.
func (r Recording) Traffic(src Source) Traffic {
	return &replayed{Recording: r, src: src, at: int(uniform(src) * float64(len(r.Intervals))), salt: src.Uint64()}
}

type replayed struct {
	Recording
	src  Source
	at   int
	salt uint64 // of the split
}

// Next implements Traffic. A moment is as long as each of the intervals.
func (t *replayed) Next(m Moment) Sample {
	from := t.Intervals[t.at]
	t.at = (t.at + 1) % len(t.Intervals)
	s := Sample{UserShare: from.UserShare}
	t.divide(from.Stable, m, &s)
	t.spoil(&s)
	return s
}

// divide splits what was recorded between both arms. Rows of unlike weights are
// taken for rows of their mean weight by Kish, so that the evidence is as strong.
func (t *replayed) divide(all judge.Counts, m Moment, s *Sample) {
	weight := 1.0
	if all.Weight > 0 && all.WeightSquared > 0 {
		weight = all.WeightSquared / all.Weight
	}
	take := func(amount float64) (canary, stable float64) {
		canary = t.part(amount, weight, m.share())
		return canary, amount - canary
	}
	c, b := &s.Canary, &s.Stable
	c.Errors, b.Errors = take(all.Errors)
	c.ClientErrors, b.ClientErrors = take(all.ClientErrors)
	c.Good, b.Good = take(all.Good)
	c.Bad, b.Bad = take(all.Bad)
	c.Open, b.Open = take(all.Open)
	for timing, h := range all.Times {
		taken, left := clone(h), clone(h)
		for i, n := range h.Counts {
			taken.Counts[i], left.Counts[i] = take(n)
		}
		c.Times[timing], b.Times[timing] = taken, left
	}
	c.Weight, b.Weight = take(untimed(all))
	for _, arm := range []*judge.Counts{c, b} {
		arm.Weight += arm.Errors + arm.ClientErrors + timed(*arm)
		arm.Rows, arm.WeightSquared = arm.Weight/weight, arm.Weight*weight
	}
	c.Users, b.Users = t.split(all.Users, m)
	c.FailingUsers, b.FailingUsers = t.split(all.FailingUsers, m)
	c.ClientFailingUsers, b.ClientFailingUsers = t.split(all.ClientFailingUsers, m)
}

// timed is the weight of the successes whose time was measured: each is in one of
// both timings.
func timed(c judge.Counts) float64 {
	return c.Times[judge.FirstByte].Total() + c.Times[judge.Total].Total()
}

// untimed is the weight of the other successes.
func untimed(c judge.Counts) float64 {
	return max(0, c.Weight-c.Errors-c.ClientErrors-timed(c))
}

// part draws how much of a sum of weights a share of its rows is.
func (t *replayed) part(amount, weight, share float64) float64 {
	rows := math.Floor(amount/weight + uniform(t.src))
	return min(amount, weight*binomial(t.src, rows, share))
}

func clone(h histogram.Histogram) histogram.Histogram {
	return histogram.Histogram{First: h.First, Counts: make([]float64, len(h.Counts))}
}

// split puts users on their sides, where they stay while the share rises.
func (t *replayed) split(users []uint32, m Moment) (canary, stable []uint32) {
	for _, print := range users {
		if t.hash(uint64(print))%10_000 < uint64(m.BasisPoints) {
			canary = append(canary, print)
		} else {
			stable = append(stable, print)
		}
	}
	return canary, stable
}

func (t *replayed) hash(value uint64) uint64 {
	var text [16]byte
	binary.LittleEndian.PutUint64(text[:8], t.salt)
	binary.LittleEndian.PutUint64(text[8:], value)
	return xxhash.Sum64(text[:])
}

// spoil makes the canary worse.
func (t *replayed) spoil(s *Sample) {
	c := &s.Canary
	if c.Weight == 0 || t.Worse == 0 && t.Slower == 0 {
		return
	}
	weight := c.WeightSquared / c.Weight
	s.Hit = (c.Weight - c.Errors - c.ClientErrors) * (t.Worse + (1-t.Worse)*t.slow(s.Stable))
	failed := t.part(untimed(*c), weight, t.Worse) + timed(*c)
	for timing := range c.Times {
		c.Times[timing] = t.without(c.Times[timing], weight)
	}
	failed -= timed(*c)
	c.Errors += failed
	t.failUsers(c, s.UserShare, failed/weight)
	for timing := range c.Times {
		c.Times[timing] = t.slower(c.Times[timing])
	}
}

// without takes the times out of those successes that are made to fail.
func (t *replayed) without(h histogram.Histogram, weight float64) histogram.Histogram {
	left := clone(h)
	for i, n := range h.Counts {
		left.Counts[i] = n - t.part(n, weight, t.Worse)
	}
	return left
}

// slower moves a histogram up. Where that is no whole number of buckets, the
// weights are divided between two.
func (t *replayed) slower(h histogram.Histogram) histogram.Histogram {
	if t.Slower == 0 || len(h.Counts) == 0 {
		return h
	}
	whole, part := math.Modf(math.Log(t.Slower) / logBase)
	if part < 0 {
		whole, part = whole-1, part+1
	}
	first := max(0, min(histogram.Buckets-1, h.First+int(whole)))
	moved := histogram.Histogram{First: first, Counts: make([]float64, min(histogram.Buckets-first, len(h.Counts)+1))}
	for i, n := range h.Counts {
		for add, share := range [2]float64{1 - part, part} {
			to := max(0, min(histogram.Buckets-1, h.First+i+int(whole)+add))
			moved.Counts[min(len(moved.Counts)-1, to-first)] += share * n
		}
	}
	return moved
}

// slow is the share of times above stable's 95 % that the regression adds.
func (t *replayed) slow(stable judge.Counts) float64 {
	if t.Slower == 0 {
		return 0
	}
	h := stable.Times[judge.FirstByte].Add(stable.Times[judge.Total])
	if h.Total() == 0 {
		return 0
	}
	as, before := sharesOf(t.slower(h)), sharesOf(h)
	return max(0, as.above(&before, 0.05)-0.05)
}

func sharesOf(h histogram.Histogram) (s shares) {
	total := h.Total()
	for i, n := range h.Counts {
		s[h.First+i] = n / total
	}
	return s
}

// failUsers names the users of further failures: each is of any of the canary's
// users, of whom the share that is told apart is known by name.
func (t *replayed) failUsers(c *judge.Counts, share, failures float64) {
	if share == 0 || len(c.Users) == 0 {
		return
	}
	users := float64(len(c.Users)) / share
	for range int(failures) {
		pick := int(uniform(t.src) * users)
		if pick < len(c.Users) {
			c.FailingUsers = append(c.FailingUsers, c.Users[pick])
			continue
		}
		least := share * (1 << 32)
		spread := float64(t.hash(uint64(pick))>>11) / (1 << 53)
		c.FailingUsers = append(c.FailingUsers, uint32(least+spread*((1<<32)-least)))
	}
	c.FailingUsers = distinct(c.FailingUsers)
}
