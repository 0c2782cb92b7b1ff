package simulate

import (
	"math"
	"slices"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// Users say who makes the calls. A user stays for some minutes, on the side that
// a bucket puts them, and the numbers of calls are heavy-tailed.
type Users struct {
	Calls   float64 `json:"calls"`   // of a user, on average
	Stay    float64 `json:"minutes"` // that they are spread over
	Failing float64 `json:"failing"` // share of users whose every call fails, on both arms, 0 to 1
	Share   float64 `json:"share"`   // of all users, those that the judge counts, (0, 1]
}

// tail is the standard deviation of the logarithm of a user's calls: a tenth of
// the users makes some 40 % of them.
const tail = 1.0

// user is one who is there now.
type user struct {
	bucket int     // 0 to 9999
	print  uint32  // of the fingerprint
	rate   float64 // calls a minute
	until  float64 // minute at which they leave
	fails  bool
}

// crowd are the users who are there.
type crowd struct {
	Users
	src    Source
	active []user
	begun  bool
}

func newCrowd(u Users, src Source) *crowd { return &crowd{Users: u, src: src} }

// next draws the calls of an interval in which rate of them are expected, and
// the number of all of the canary's, recorded or not.
func (c *crowd) next(m Moment, rate float64, sampling []Sampling, canary, stable condition) (s Sample, canaryCalls float64) {
	c.move(m, rate)
	s.UserShare = c.Share
	arms := [2]tally{{state: canary, counts: &s.Canary}, {state: stable, counts: &s.Stable}}
	for i := range arms {
		arms[i].rows, arms[i].errors = make([]float64, len(sampling)), make([]float64, len(sampling))
	}
	for _, u := range c.active {
		side := 1
		if u.bucket < m.BasisPoints {
			side = 0
			canaryCalls += u.rate * m.Length
		}
		arms[side].add(c, u, m.Length, sampling)
	}
	for i := range arms {
		arms[i].finish(c.src, sampling)
	}
	return s, canaryCalls
}

// move lets users leave and others come. At first those come who would have been
// there already.
func (c *crowd) move(m Moment, rate float64) {
	c.active = slices.DeleteFunc(c.active, func(u user) bool { return u.until <= m.Minute })
	span := m.Length
	if !c.begun {
		span, c.begun = c.Stay, true
	}
	perMinute := rate / m.Length / c.Calls
	for range int(poisson(c.src, perMinute*span)) {
		stays := c.Stay
		if span != m.Length {
			stays *= uniform(c.src)
		}
		c.active = append(c.active, user{
			bucket: int(10_000 * uniform(c.src)), print: uint32(c.src.Uint64()),
			rate:  c.Calls / c.Stay * math.Exp(tail*gauss(c.src)-tail*tail/2),
			until: m.Minute + stays, fails: uniform(c.src) < c.Failing,
		})
	}
}

// tally sums up one arm's calls.
type tally struct {
	state        condition
	counts       *judge.Counts
	rows, errors []float64 // by part of the sampling
}

func (t *tally) add(c *crowd, u user, minutes float64, sampling []Sampling) {
	seen, failed := false, false
	for i, part := range sampling {
		calls := poisson(c.src, u.rate*minutes*part.Share/part.Weight)
		if calls == 0 {
			continue
		}
		errors := calls
		if !u.fails {
			errors = binomial(c.src, calls, t.state.errors)
		}
		seen, failed = true, failed || errors > 0
		t.rows[i], t.errors[i] = t.rows[i]+calls, t.errors[i]+errors
	}
	if seen && float64(u.print) < c.Share*(1<<32) {
		t.counts.Users = append(t.counts.Users, u.print)
	}
	if failed {
		t.counts.FailingUsers = append(t.counts.FailingUsers, u.print)
	}
}

func (t *tally) finish(src Source, sampling []Sampling) {
	for i, part := range sampling {
		var times [histogram.Buckets]float64
		if ok := t.rows[i] - t.errors[i]; ok > 0 {
			times = t.state.times.draw(src, ok)
		}
		row(t.counts, part.Weight, t.errors[i], &times)
	}
	t.counts.Users = distinct(t.counts.Users)
	t.counts.FailingUsers = distinct(t.counts.FailingUsers)
}

func distinct(prints []uint32) []uint32 {
	slices.Sort(prints)
	return slices.Compact(prints)
}
