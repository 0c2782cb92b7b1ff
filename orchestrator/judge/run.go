package judge

import (
	"math"
	"slices"
	"time"

	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/judge/noise"
)

// judging is one call of Judge.
type judging struct {
	in       *Input
	interval time.Duration
	alone    bool  // the canary has all traffic, from the first interval of such a step on
	horizon  int64 // and what follows: numbers of intervals
	recent, reference,
	perBlock int64
	differences int // of noise that are kept
	// Numbers of the first interval that begins in the rollout, in the step, after
	// the cold start of either, after the spread, and that ends at the deadline.
	began, since, warmBegan, warmSince, spread, deadline int64

	memory  Memory
	assays  []assayed
	timings []Timing

	recently, window total
	past             [Timings]histogram.Sum // stable's times in the last Reference
	pastKish         float64
	scratch          [16]float64
	tests            []Test
	verdict          Verdict
}

// Judge judges the intervals in order, up to the first whose verdict is not to
// hold; the memory that it returns ends there. Called again with that memory it
// goes on behind it. An interval that was judged is never judged again: without
// new ones the verdict is the last one's.
func Judge(in Input) (Verdict, Memory) {
	j := newJudging(&in)
	if in.Problem == "" {
		j.run()
	}
	if len(j.verdict.Method) == 0 {
		j.look()
	}
	j.explain()
	return j.verdict, j.memory
}

func newJudging(in *Input) *judging {
	s := &in.Settings
	if s.Interval <= 0 {
		s.Interval = time.Minute
	}
	if !(s.Alpha > 0 && s.Alpha < 1) {
		s.Alpha = 0.05
	}
	j := &judging{in: in, interval: s.Interval,
		horizon: max(leastHorizon, intervalsIn(s.Horizon, s.Interval)), recent: intervalsIn(s.Recent, s.Interval), reference: intervalsIn(s.Reference, s.Interval),
		differences: int(max(noise.Enough, min(mostDifferences, intervalsIn(s.History, s.Interval)-1)))}
	j.perBlock = (max(j.recent, j.reference) + mostBlocks - 1) / mostBlocks
	step := in.Step
	j.began, j.since = indexFrom(step.Began, s.Interval), indexFrom(step.Since, s.Interval)
	j.warmBegan, j.warmSince = indexFrom(step.Began.Add(s.ColdStart), s.Interval), indexFrom(step.Since.Add(s.ColdStart), s.Interval)
	j.spread = indexFrom(step.Since.Add(s.Spread), s.Interval)
	j.deadline = math.MaxInt64
	if !step.Deadline.IsZero() {
		j.deadline = indexFrom(step.Deadline, s.Interval) - 1
	}
	j.remember()
	j.alone = j.memory.stepped && step.BasisPoints >= allTraffic
	j.prepare()
	j.sumPast()
	return j
}

// prepare lays out the tests and takes up what the memory holds of them.
func (j *judging) prepare() {
	tests := 0
	j.assays, j.timings = j.assays[:0], j.timings[:0]
	for number, metric := range Metrics {
		bounds, judged := j.in.Settings.Limits[metric]
		if !judged {
			continue
		}
		a := j.assay(number, bounds)
		if a.timed && !slices.Contains(j.timings, a.timing) {
			j.timings = append(j.timings, a.timing)
		}
		j.assays, tests = append(j.assays, a), tests+len(a.trials)
	}
	j.tests = make([]Test, 0, tests)
	j.verdict.Metrics = make([]Assessment, 0, len(j.assays))
	j.resume()
}

const (
	allTraffic = 10_000
	// leastHorizon keeps rollback tests from beginning anew before they have seen much.
	leastHorizon = 30
	// mostDifferences bounds those that noise is taken from.
	mostDifferences = 59
)

// remember takes the memory over, if it is of this rollout, and lets go of what
// was of another step.
func (j *judging) remember() {
	m, step := j.in.Memory, &j.in.Step
	if m.judged && (m.interval != j.interval || !m.began.Equal(step.Began)) {
		m = Memory{}
	}
	j.memory = m.clone()
	m = Memory{}
	n := &j.memory
	n.interval, n.began = j.interval, step.Began
	if n.since.Equal(step.Since) && n.judged {
		return
	}
	n.since, n.stepped, n.breaches = step.Since, false, 0
	n.crowd, n.step, n.times = crowd{}, [metrics]sample{}, [Timings]histogram.Histogram{}
	n.trials = slices.DeleteFunc(n.trials, func(r remembered) bool { return r.kind.promotes() })
}

// run judges what is new.
func (j *judging) run() {
	next := j.first()
	intervals := j.in.Intervals
	for next <= j.in.Through {
		for len(intervals) > 0 && intervals[0].Index < next {
			intervals = intervals[1:]
		}
		switch {
		case len(intervals) > 0 && intervals[0].Index == next:
			j.advance(next, &intervals[0])
		case len(j.memory.window) > 0:
			j.advance(next, nil)
		default:
			// Nothing is left in any window: only time passes until something happens.
			until := j.in.Through
			if len(intervals) > 0 {
				until = min(until, intervals[0].Index-1)
			}
			for _, event := range []int64{j.began, j.since, j.deadline} {
				if event >= next {
					until = min(until, max(next, event-1))
				}
			}
			j.skip(next, until)
		}
		if next = j.memory.last + 1; next <= j.began {
			continue
		}
		if j.look(); j.verdict.Decision != Hold {
			return
		}
	}
}

// first returns the number of the first interval to judge.
func (j *judging) first() int64 {
	if j.memory.judged {
		return j.memory.last + 1
	}
	first := indexFrom(j.in.Step.Began.Add(-j.in.Settings.History), j.interval)
	if len(j.in.Intervals) > 0 && j.in.Intervals[0].Index > first {
		first = min(j.in.Intervals[0].Index, j.began)
	}
	return first
}

// skip lets empty intervals pass while all windows are empty.
func (j *judging) skip(from, through int64) {
	m := &j.memory
	count := through - from + 1
	m.judged, m.last, m.previous, m.breaches = true, through, arm{}, 0
	if from >= j.since {
		j.enterStep()
	}
	if from >= j.began {
		j.forgetUsers(count)
	}
	for i := range j.assays {
		for k := range j.assays[i].trials {
			t := &j.assays[i].trials[k]
			if from >= j.began && !t.kind.promotes() || from >= j.since && t.kind.promotes() {
				t.process.Skip(t.schedule, count)
			}
		}
	}
}

// enterStep forgets the users of before the step.
func (j *judging) enterStep() {
	m := &j.memory
	if m.stepped {
		return
	}
	m.stepped, m.crowd = true, crowd{}
	m.step, m.times = [metrics]sample{}, [Timings]histogram.Histogram{}
	if j.in.Step.BasisPoints >= allTraffic {
		j.alone = true
		j.prepare() // other tests, by what stable was like
	}
}

// advance judges an interval; iv is nil where nothing was measured in it.
func (j *judging) advance(i int64, iv *Interval) {
	m := &j.memory
	b := block{first: i, last: i}
	rolling, stepping := i >= j.began, i >= j.since
	if stepping {
		j.enterStep()
		b.cold = i < j.warmSince
	} else {
		b.cold = rolling && i < j.warmBegan
	}
	if rolling {
		j.forgetUsers(1)
	}
	var f fresh
	if iv != nil {
		b.arms[stable] = newArm(&iv.Stable)
		if rolling {
			b.arms[canary] = newArm(&iv.Canary)
			f = j.meet(iv, &b)
		}
		j.recall(&b.arms[stable], rolling)
	}
	for k := range j.assays {
		if a := &j.assays[k]; rolling && a.timed {
			j.updateTime(a, &b, stepping)
		} else if rolling {
			j.updateRate(a, &b, &f, stepping)
		}
	}
	j.listen(i, &b.arms[stable])
	if m.window = m.window.trim(i - max(j.recent, j.reference) + 1); iv != nil {
		m.window = m.window.push(b, j.perBlock, i == j.began || i == j.since)
	}
	m.judged, m.last = true, i
	j.sumPast()
}

// recall adds up stable's rates before the rollout and in it, as long as it has
// traffic of its own.
func (j *judging) recall(a *arm, rolling bool) {
	to := &j.memory.before
	if rolling {
		if j.alone {
			return
		}
		to = &j.memory.during
	}
	for number := range to {
		k, n := a.events(Metrics[number])
		to[number][0], to[number][1] = to[number][0]+k, to[number][1]+n
	}
}

// was returns the rate that stable had when it last had traffic: over the rollout so
// far, or before it; 0 where that is not known or a metric is no rate.
func (j *judging) was(number int) float64 {
	if number >= firstTimed {
		return 0
	}
	for _, known := range [][2]float64{j.memory.during[number], j.memory.before[number]} {
		if known[1] > 0 {
			return known[0] / known[1]
		}
	}
	return 0
}

// listen learns stable's noise from how an interval differs from the one before.
func (j *judging) listen(i int64, now *arm) {
	m := &j.memory
	before := &m.previous
	if m.judged && m.last == i-1 && before.weight > 0 && now.weight > 0 {
		for k := range j.assays {
			a := &j.assays[k]
			kb, nb, kn, nn, ok := j.compare(a, before, now)
			if !ok {
				continue
			}
			measure := noise.Rate
			if a.timed {
				measure = noise.Odds
			}
			x, vx := measure(kb*before.kish(), nb*before.kish())
			y, vy := measure(kn*now.kish(), nn*now.kish())
			m.noise[a.number] = m.noise[a.number].Add(x, vx, y, vy, j.differences)
		}
	}
	m.previous = *now
}

// compare returns a metric's events and units of stable in two intervals: of a
// time those slower than its quantile of before.
func (j *judging) compare(a *assayed, before, now *arm) (kb, nb, kn, nn float64, ok bool) {
	if !a.timed {
		kb, nb = before.events(a.metric)
		kn, nn = now.events(a.metric)
		return kb, nb, kn, nn, nb > 0 && nn > 0
	}
	bucket, ok := j.past[a.timing].View().Holding(a.quantile)
	if !ok {
		return 0, 0, 0, 0, false
	}
	hb, hn := before.times[a.timing], now.times[a.timing]
	nb, nn = hb.Total(), hn.Total()
	return hb.From(bucket + 1), nb, hn.From(bucket + 1), nn, nb > 0 && nn > 0
}

// sumPast adds up stable's times after the last interval, whatever step they are
// of: what the next interval is compared with.
func (j *judging) sumPast() {
	m := &j.memory
	for _, timing := range j.timings {
		j.past[timing].Reset()
	}
	var weights arm
	for i := range m.window {
		b := &m.window[i]
		if b.last <= m.last-j.reference {
			continue
		}
		weights.weight += b.arms[stable].weight
		weights.squared += b.arms[stable].squared
		for _, timing := range j.timings {
			j.past[timing].Add(b.arms[stable].times[timing], 1)
		}
	}
	j.pastKish = weights.kish()
}

// sumWindows adds up both windows as they are after the last interval. The recent
// one goes back before the step, as rollback tests do; that of plain limits does not.
func (j *judging) sumWindows() {
	m := &j.memory
	j.recently.reset(j.timings)
	j.window.reset(j.timings)
	recentFrom := j.began
	if j.in.Settings.Method == Thresholds {
		recentFrom = j.since
	}
	for i := range m.window {
		b := &m.window[i]
		if b.last > m.last-j.recent && b.first >= recentFrom {
			j.recently.add(b, j.timings)
		}
		if b.last > m.last-j.reference && b.first >= j.since {
			j.window.add(b, j.timings)
		}
	}
}
