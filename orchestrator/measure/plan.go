package measure

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"perch/orchestrator/judge"
)

// Bounds of a statement and its answer. Cloudflare documents none. Analytics
// Engine runs on ClickHouse, which by default reads statements of 256 KiB
// (max_query_size); the answer must fit into what the client reads of one, 16 MiB.
const (
	mostStatementBytes = 128 << 10
	mostAnswerBytes    = 12 << 20
	mostRows           = 60_000
	rowBytes           = 200 // of an answer, names aside
	fixedBytes         = 6 << 10
)

// mostBehind is how many intervals a statement asks for on behalf of those
// subjects that need few.
const mostBehind = 8

// rowsOfTimes is how many rows an arm's times make in an interval at most, two
// factors of e wide, without second times and users.
const rowsOfTimes = 50

// leastShare is the smallest share that is told apart: one user in 4,096.
const leastShare = 1.0 / (1 << 12)

// Limit is the number of rows that an answer may not reach: 60,000, fewer where
// names are long.
func (q Query) Limit() int {
	longest := 0
	for _, s := range q.Subjects {
		longest = max(longest, len(s.Service)+len(s.Rollout))
	}
	return min(mostRows, mostAnswerBytes/(rowBytes+longest))
}

// UserShare returns the share of users, a power of two from 1/4096 to 1, that
// makes some rows of a service's units in one interval: units is how many rows
// both arms had (Counts.Rows) in a recent one, 0 where that is unknown, and
// services is how many the statement asks about. The users of a smaller share are
// among those of a larger one. One service alone is told in full up to 15,000 rows
// an interval, of three hundred each up to 50.
func UserShare(units float64, services int) float64 {
	rows := float64(mostRows / 4 / max(1, services))
	if !(units > rows) {
		return 1
	}
	return max(leastShare, math.Exp2(math.Floor(math.Log2(rows/units))))
}

// Split returns the fewest queries that ask the same as q and whose statements
// and answers will be of bearable size: normally q itself. Subjects that are far
// behind, such as those that begin, are asked about apart, so that the others'
// history is not answered with theirs; and of what was before their rollouts
// began, of which only stable's rates and times are of use, at most one user in 16
// is told. The intervals of a subject are in the order of time.
func (q Query) Split() []Query {
	var queries []Query
	for _, part := range q.splitSubjects() {
		for _, part := range part.splitHistory() {
			queries = append(queries, part.splitTime()...)
		}
	}
	return queries
}

// splitTime returns queries about parts of the time, each of which is likely to
// be answered within its limit.
func (q Query) splitTime() []Query {
	first, end := q.slots()
	if a, b, ok := q.Halves(); ok && len(q.Subjects) == 1 && rowsOf(1, end-first) >= int64(q.Limit()) {
		return append(a.splitTime(), b.splitTime()...)
	}
	return []Query{q}
}

// rowsOf is about how many rows some services are answered with.
func rowsOf(services int, intervals int64) int64 {
	return int64(services) * intervals * 2 * rowsOfTimes
}

// historyShare is the largest share that is told apart in a long history.
const historyShare = 1.0 / 16

// splitHistory returns a query about what was before all its subjects' rollouts
// began, where that is long, and one about the rest.
func (q Query) splitHistory() []Query {
	first, _ := q.slots()
	length, _, _ := q.seconds()
	began := q.Through
	for _, s := range q.Subjects {
		began = min(began, floorDiv(s.Began.Unix(), length))
	}
	if began-first <= mostBehind {
		return []Query{q}
	}
	history, rest := q, q
	history.Through, history.Subjects = began-1, nil
	rest.Subjects = nil
	for _, s := range q.Subjects {
		later := s
		later.From = max(s.From, began)
		rest.Subjects = append(rest.Subjects, later)
		if s.From < began {
			s.UserShare = min(q.shareOf(s), historyShare)
			history.Subjects = append(history.Subjects, s)
		}
	}
	return []Query{history, rest}
}

// splitSubjects returns queries about some of the subjects each.
func (q Query) splitSubjects() []Query {
	subjects := slices.Clone(q.Subjects)
	slices.SortStableFunc(subjects, func(a, b Subject) int { return int(b.From - a.From) }) // the least behind first
	var queries []Query
	var part Query
	bytes := 0
	for _, s := range subjects {
		size := 2 * (len(s.Service) + len(`'', `))
		if len(part.Subjects) == 0 || !part.takes(s) || bytes+size > mostStatementBytes {
			queries = append(queries, Query{})
			bytes = fixedBytes
			part = q
			part.Subjects = nil
		}
		bytes += size
		part.Subjects = append(part.Subjects, s)
		queries[len(queries)-1] = part
	}
	return queries
}

// takes reports whether another subject, which is not less behind than those that
// the query has, may be added.
func (q Query) takes(s Subject) bool {
	behind := q.Through - s.From + 1
	if behind > mostBehind && behind > 2*(q.Through-q.Subjects[0].From+1) {
		return false
	}
	return rowsOf(len(q.Subjects)+1, behind) < int64(q.Limit())
}

// Halves returns two queries that ask the same as q and are answered with about
// half as many rows each: of half the subjects, or else of half the time. It
// returns false for what has no halves, one interval of one subject.
func (q Query) Halves() (a, b Query, ok bool) {
	a, b = q, q
	if n := len(q.Subjects); n > 1 {
		a.Subjects, b.Subjects = q.Subjects[:n/2], q.Subjects[n/2:]
		return a, b, true
	}
	if len(q.Subjects) == 0 || q.Subjects[0].From >= q.Through {
		return Query{}, Query{}, false
	}
	later := q.Subjects[0]
	a.Through = later.From + (q.Through-later.From)/2
	later.From = a.Through + 1
	b.Subjects = []Subject{later}
	return a, b, true
}

// Ask measures what a query is about by as few statements as possible: ask
// returns the rows of one. It halves what is too large. Of one interval of one
// service that is too large it asks for fewer users. Of subjects whose From is
// past Through there is nothing to ask.
func Ask[R Row](q Query, ask func(statement string) ([]R, error)) (map[string][]judge.Interval, error) {
	all := map[string][]judge.Interval{}
	err := q.inParts(func(part Query) error {
		rows, err := ask(part.SQL())
		if err != nil {
			return err
		}
		found, err := Read(part, rows)
		for service, intervals := range found {
			all[service] = append(all[service], intervals...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// AskFeedback adds the ratings of a query's subjects to what Ask returned.
func AskFeedback[R Row](q Query, ask func(statement string) ([]R, error), into map[string][]judge.Interval) error {
	return q.inParts(func(part Query) error {
		rows, err := ask(part.FeedbackSQL())
		if err != nil {
			return err
		}
		return ReadFeedback(part, rows, into)
	})
}

// inParts does a query part by part, each as large as do takes it, those of a
// subject in the order of time.
func (q Query) inParts(do func(part Query) error) error {
	q.Subjects = slices.DeleteFunc(slices.Clone(q.Subjects), func(s Subject) bool { return s.From > q.Through })
	if len(q.Subjects) == 0 {
		return nil
	}
	if err := q.Check(); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	queue := q.Split()
	for len(queue) > 0 {
		part := queue[0]
		queue = queue[1:]
		err := do(part)
		if errors.Is(err, ErrTooLarge) {
			smaller, ok := part.smaller()
			if !ok {
				return err
			}
			queue = append(smaller, queue...)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q Query) smaller() ([]Query, bool) {
	if a, b, ok := q.Halves(); ok {
		return []Query{a, b}, true
	}
	s := q.Subjects[0]
	share := q.shareOf(s) / 16
	if share < leastShare {
		return nil, false
	}
	s.UserShare = share
	q.Subjects = []Subject{s}
	return []Query{q}, true
}
