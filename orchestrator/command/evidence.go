package command

import (
	"context"
	"errors"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/measure"
	"perch/orchestrator/rollout"
)

// judgeAll judges each service that has not ended, on what one query has measured
// of all, and says what follows. It changes nothing.
func (a *account) judgeAll(ctx context.Context, members []*member) {
	now := a.app.clock.Now()
	for _, m := range members {
		m.prepare(now)
	}
	a.measureAll(ctx, members)
	if ctx.Err() != nil {
		setErr(members, ctx.Err())
		return
	}
	for _, m := range members {
		m.judge(now)
	}
}

// prepare says which intervals the judge has not seen yet.
func (m *member) prepare(now time.Time) {
	s := m.repaired.State
	interval := time.Duration(s.Policy.Interval)
	m.memory = memoryOf(s, m.stored)
	m.after = m.memory
	m.through = measure.Closed(now, time.Duration(s.Policy.Lag), interval)
	m.from = measure.Closed(s.StartedAt.Add(-time.Duration(s.Policy.History)), 0, interval) + 1
	if last, ok := m.memory.Last(); ok {
		m.from = last + 1
	}
	// Of what is older than all that is judged by nothing is asked.
	m.from = max(0, m.from, m.through-int64(time.Duration(s.Policy.Deadline+s.Policy.History)/interval))
}

// judge judges what was measured. In a phase that a verdict cannot move, it goes
// on to the last interval: a promotion that nobody acts on must not hide what
// comes after it.
func (m *member) judge(now time.Time) {
	s := m.repaired.State
	in := judge.Input{
		Now: now, Lag: time.Duration(s.Policy.Lag), Settings: s.Policy.Settings(s.Document.BasisPoints), Step: judgedStep(s),
		Intervals: m.intervals, Through: m.through, Problem: m.problem, Memory: m.memory.Memory,
	}
	for {
		verdict, after := judge.Judge(in)
		m.verdict, m.after.Memory = &verdict, after
		m.next, m.changed = s.Judged(verdict, m.by())
		moves := m.changed && m.next.IsChange()
		was, _ := in.Memory.Last()
		last, _ := after.Last()
		if moves || verdict.Decision == judge.Hold || last >= m.through || last <= was {
			break
		}
		in.Memory = after
	}
	if m.problem != "" {
		m.noteAway(now)
	}
}

// judgedStep is the present step of a rollout.
func judgedStep(s rollout.State) judge.Step {
	at := s.Document.BasisPoints
	step := judge.Step{BasisPoints: at, Next: allTraffic, Began: s.StartedAt, Since: s.StepSince, Bake: time.Duration(s.Policy.StepAt(at).Bake)}
	if next, more := s.Policy.NextStep(at); more {
		step.Next = next
	}
	if s.Phase == rollout.Running {
		step.Deadline = s.Deadline
	}
	return step
}

// allTraffic is everyone, in basis points.
const allTraffic = 10_000

// awayAfter is how long nothing is measured before that is noted.
const awayAfter = 5 * time.Minute

// noteAway says since when nothing could be measured, where that is long ago.
func (m *member) noteAway(now time.Time) {
	s := m.repaired.State
	since := s.StartedAt
	if last, ok := m.memory.Last(); ok {
		since = time.Unix((last+1)*int64(time.Duration(s.Policy.Interval)/time.Second), 0)
	}
	if now.Sub(since) > max(awayAfter, 3*time.Duration(s.Policy.Look)) {
		m.note("nothing could be measured since " + since.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
}

// measureAll asks for what each service lacks, with one query for those that
// count in the same way. What cannot be measured is a problem, which the judge
// holds on; that nothing was written yet is none.
func (a *account) measureAll(ctx context.Context, members []*member) {
	type way struct{ interval, expire time.Duration }
	groups := map[way][]*member{}
	var ways []way
	for _, m := range members {
		if m.from > m.through {
			continue
		}
		p := m.repaired.State.Policy
		w := way{time.Duration(p.Interval), time.Duration(p.Expire)}
		if groups[w] == nil {
			ways = append(ways, w)
		}
		groups[w] = append(groups[w], m)
	}
	for _, w := range ways {
		a.measure(ctx, groups[w])
	}
}

// measure asks for the intervals of services that count in the same way. Where
// ratings cannot be had, those alone lack something that are judged by them.
func (a *account) measure(ctx context.Context, members []*member) {
	p := members[0].repaired.State.Policy
	q := measure.Query{Dataset: a.settings.cloudflare.Dataset, Interval: time.Duration(p.Interval), Expire: time.Duration(p.Expire)}
	for _, m := range members {
		q.Through = max(q.Through, m.through)
	}
	ratings := q
	var rated []*member
	for _, m := range members {
		subject := m.subject(len(members))
		q.Subjects = append(q.Subjects, subject)
		if m.isRated() {
			rated, ratings.Subjects = append(rated, m), append(ratings.Subjects, subject)
		}
	}
	ask := func(statement string) ([]cloudflare.Row, error) {
		rows, err := a.source.Query(ctx, statement)
		if errors.Is(err, cloudflare.ErrNoData) {
			return nil, nil
		}
		return rows, err
	}
	intervals, err := measure.Ask(q, ask)
	if n := len(members); n > 1 && errors.Is(err, measure.ErrTooLarge) {
		// One of them is too large by itself: the others are not to be held by it.
		a.measure(ctx, members[:n/2])
		a.measure(ctx, members[n/2:])
		return
	}
	if err == nil && len(rated) > 0 {
		if ratingsErr := measure.AskFeedback(ratings, ask, intervals); ratingsErr != nil {
			for _, m := range rated {
				m.problem = ratingsErr.Error()
			}
		}
	}
	for _, m := range members {
		if m.problem == "" {
			m.take(intervals[m.service.String()], err)
		}
	}
}

// isRated reports that ratings are judged at the present step.
func (m *member) isRated() bool {
	s := m.repaired.State
	_, judged := s.Policy.Settings(s.Document.BasisPoints).Limits[judge.Feedback]
	return judged
}

// subject is the service as one of several that a query asks about.
func (m *member) subject(services int) measure.Subject {
	s := m.repaired.State
	return measure.Subject{Service: m.service.String(), Rollout: s.ID(), Began: s.StartedAt, From: m.from, UserShare: measure.UserShare(m.memory.rows, services)}
}

// take picks a service's own intervals: another's may have closed later.
func (m *member) take(found []judge.Interval, err error) {
	if err != nil {
		m.problem = err.Error()
		return
	}
	m.intervals = filter(found, func(i judge.Interval) bool { return i.Index <= m.through })
	for _, i := range m.intervals {
		m.after.rows = i.Canary.Rows + i.Stable.Rows
	}
}
