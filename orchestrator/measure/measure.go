// Package measure asks Analytics Engine, once for all services that are looked
// at, what the edge measured, and reads the answer into the judge's intervals. It
// is pure: text goes out, rows come in.
package measure

import (
	"errors"
	"fmt"
	"time"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// ErrTooLarge reports an answer that has as many rows as its statement allows, so
// that some may be missing. The query's Halves ask for less each.
var ErrTooLarge = errors.New("the answer is cut off at its limit of rows")

// Row is one row of an answer, by column name.
type Row interface {
	Float(name string) (float64, error)
	Text(name string) (string, error)
}

// Subject is one service that is measured.
type Subject struct {
	Service string    // full name, such as model:acme/flux
	Rollout string    // its id
	Began   time.Time // when the rollout began; what is older is history
	From    int64     // number of the first interval that is wanted
	// UserShare is the part of all users, (0, 1], who are told apart where they did
	// not fail, and of all units whose second times are told. 0 is the query's.
	UserShare float64
}

// Query is what one statement asks: the intervals up to Through of all subjects.
type Query struct {
	Dataset   string
	Interval  time.Duration // length; whole seconds, at least one
	Expire    time.Duration // after which an open prediction counts as slow; whole seconds
	Subjects  []Subject     // one for each service
	Through   int64         // number of the last interval that is wanted; it has closed
	UserShare float64       // of the subjects that name none; 0 is 1
}

// Closed returns the number of the last interval that ended at least lag before
// now. Interval i covers [i·interval, (i+1)·interval) of Unix time.
func Closed(now time.Time, lag, interval time.Duration) int64 {
	return floorDiv(now.Add(-lag).UnixNano(), interval.Nanoseconds()) - 1
}

func floorDiv(a, b int64) int64 {
	quotient := a / b
	if a%b < 0 {
		quotient--
	}
	return quotient
}

// Check says what is wrong with a query, if anything.
func (q Query) Check() error {
	switch {
	case q.Interval < time.Second || q.Interval%time.Second != 0:
		return fmt.Errorf("query interval %s: give whole seconds, at least one", q.Interval)
	case q.Expire < time.Second || q.Expire%time.Second != 0:
		return fmt.Errorf("query expire %s: give whole seconds, at least one", q.Expire)
	case q.Dataset == "":
		return errors.New("query dataset: give its name")
	case len(q.Subjects) == 0:
		return errors.New("query subjects: give at least one")
	}
	seen := map[string]bool{}
	for _, s := range q.Subjects {
		share := q.shareOf(s)
		switch {
		case s.Service == "" || s.Rollout == "":
			return fmt.Errorf("query subject %q: give its service and its rollout", s.Service)
		case seen[s.Service]:
			return fmt.Errorf("query subject %q: give it once", s.Service)
		case s.From < 0 || s.From > q.Through:
			return fmt.Errorf("query subject %q: intervals %d to %d: give a first that is not past the last", s.Service, s.From, q.Through)
		case !(share > 0 && share <= 1):
			return fmt.Errorf("query subject %q: user share %g: give more than 0, at most 1", s.Service, share)
		}
		seen[s.Service] = true
	}
	return nil
}

func (q Query) shareOf(s Subject) float64 {
	switch {
	case s.UserShare != 0:
		return s.UserShare
	case q.UserShare != 0:
		return q.UserShare
	}
	return 1
}

// slots are the first interval that the query is about, and the first that is past it.
func (q Query) slots() (first, end int64) {
	first = q.Through
	for _, s := range q.Subjects {
		first = min(first, s.From)
	}
	return first, q.Through + 1
}

// seconds are the length of an interval, and the begin and the end of the time
// that the query is about.
func (q Query) seconds() (length, from, to int64) {
	length = int64(q.Interval / time.Second)
	first, end := q.slots()
	return length, first * length, end * length
}

// arms are the variants that the judge compares.
var arms = []string{document.Stable, document.Canary}

// armOf returns the counts of a variant in an interval, nil of one that is not
// judged: the target of a rule.
func armOf(interval *judge.Interval, variant string) *judge.Counts {
	switch variant {
	case document.Stable:
		return &interval.Stable
	case document.Canary:
		return &interval.Canary
	}
	return nil
}
