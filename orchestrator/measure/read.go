package measure

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// mostCounted bounds the numbers of an answer: what is past it is no count, and
// below it all whole numbers are exact.
const mostCounted = 1 << 53

// Read returns the intervals that the answer to a query's statement tells of, by
// service, rising; those without traffic are left out. Rows of a variant that is
// not judged, of another rollout, of a service's intervals before its From, and
// of the canary before the rollout began are left out too. It returns ErrTooLarge
// where rows may be missing, and an error for what no such statement answers.
//
// First tokens and the model's own time are told of UserShare's part of the units
// alone: their histograms are samples.
func Read[R Row](q Query, rows []R) (map[string][]judge.Interval, error) {
	if err := q.Check(); err != nil {
		return nil, fmt.Errorf("read measurements: %w", err)
	}
	if len(rows) >= q.Limit() {
		return nil, fmt.Errorf("read measurements: %d rows for %d services: %w", len(rows), len(q.Subjects), ErrTooLarge)
	}
	r := newReader(q)
	for i, row := range rows {
		if err := r.read(row); err != nil {
			return nil, fmt.Errorf("read measurements: row %d: %w", i+1, err)
		}
	}
	return r.intervals(), nil
}

// reader puts rows together.
type reader struct {
	Query
	subjects map[string]Subject
	found    map[string]map[int64]*judge.Interval
}

func newReader(q Query) *reader {
	r := &reader{Query: q, subjects: map[string]Subject{}, found: map[string]map[int64]*judge.Interval{}}
	for _, s := range q.Subjects {
		r.subjects[s.Service] = s
	}
	return r
}

// place says what a row is of.
type place struct {
	service, variant, rollout string
	slot                      int64
}

func (r *reader) read(row Row) error {
	at, err := r.placeOf(row)
	if err != nil {
		return err
	}
	t, err := tallyOf(row)
	if err != nil {
		return err
	}
	counts := r.countsAt(at)
	if counts == nil {
		return nil
	}
	return t.addTo(counts, shareBound(r.shareOf(r.subjects[at.service])))
}

func (r *reader) placeOf(row Row) (place, error) {
	var at place
	for name, into := range map[string]*string{"service": &at.service, "variant": &at.variant, "in_rollout": &at.rollout} {
		value, err := row.Text(name)
		if err != nil {
			return place{}, err
		}
		*into = value
	}
	if _, asked := r.subjects[at.service]; !asked {
		return place{}, fmt.Errorf("service %q was not asked for", at.service)
	}
	first, end := r.slots()
	slot, err := whole(row, "slot", float64(first), float64(end-1))
	at.slot = int64(slot)
	return at, err
}

// countsAt returns what a row counts into, or nil.
func (r *reader) countsAt(at place) *judge.Counts {
	s := r.subjects[at.service]
	length, _, _ := r.seconds()
	isHistory := at.slot*length < s.Began.Unix() || at.slot*length == s.Began.Unix() && s.Began.Nanosecond() > 0
	if at.slot < s.From || !isHistory && at.rollout != s.Rollout {
		return nil
	}
	var unused judge.Interval
	if counts := armOf(&unused, at.variant); counts == nil || isHistory && counts == &unused.Canary {
		return nil
	}
	if r.found[at.service] == nil {
		r.found[at.service] = map[int64]*judge.Interval{}
	}
	interval := r.found[at.service][at.slot]
	if interval == nil {
		interval = &judge.Interval{Index: at.slot, UserShare: r.shareOf(s)}
		r.found[at.service][at.slot] = interval
	}
	return armOf(interval, at.variant)
}

func (r *reader) intervals() map[string][]judge.Interval {
	all := make(map[string][]judge.Interval, len(r.found))
	for service, bySlot := range r.found {
		for _, interval := range bySlot {
			for _, counts := range []*judge.Counts{&interval.Canary, &interval.Stable} {
				for _, users := range []*[]uint32{&counts.Users, &counts.FailingUsers, &counts.ClientFailingUsers} {
					slices.Sort(*users)
					*users = slices.Clip(slices.Compact(*users))
				}
			}
			all[service] = append(all[service], *interval)
		}
		slices.SortFunc(all[service], func(a, b judge.Interval) int { return int(a.Index - b.Index) })
	}
	return all
}

// tally is what a row counts: n units or rows that all have the class, the
// buckets (-1: none) and the user's digits ("": not told).
type tally struct {
	class                string
	n, weight, squares   float64
	time, predict, token int
	user                 string
}

func tallyOf(row Row) (t tally, err error) {
	for name, into := range map[string]*string{"class": &t.class, "told_user": &t.user} {
		if *into, err = row.Text(name); err != nil {
			return tally{}, err
		}
	}
	for name, into := range map[string]*int{"time_bin": &t.time, "predict_bin": &t.predict, "token_bin": &t.token} {
		bin, err := whole(row, name, -1, histogram.Buckets-1)
		if err != nil {
			return tally{}, err
		}
		*into = int(bin)
	}
	least := 1.0
	for _, column := range []struct {
		name string
		into *float64
	}{{"n", &t.n}, {"w", &t.weight}, {"w2", &t.squares}} { // none is less than the one before
		if *column.into, err = whole(row, column.name, least, mostCounted); err != nil {
			return tally{}, err
		}
		least = *column.into
	}
	return t, nil
}

// addTo counts a row's units. Users whose digits are below bound are told whatever
// became of their units.
func (t tally) addTo(c *judge.Counts, bound string) error {
	switch t.class {
	case classOpen:
		c.Open += t.weight
		return nil
	case classSkipped:
		c.Skipped += t.weight
		return nil
	case classOK:
		t.addTime(c, judge.FirstByte, t.time)
		t.addTime(c, judge.FirstToken, t.token)
	case classSucceeded:
		t.addTime(c, judge.Total, t.time)
		t.addTime(c, judge.Predict, t.predict)
		t.addTime(c, judge.FirstToken, t.token)
	case classExpired:
		t.addTime(c, judge.Total, histogram.Buckets-1) // slower than all that ended
	case classError:
		c.Errors += t.weight
	case classClientError:
		c.ClientErrors += t.weight
	default:
		return fmt.Errorf("class %q is not known", t.class)
	}
	c.Rows, c.Weight, c.WeightSquared = c.Rows+t.n, c.Weight+t.weight, c.WeightSquared+t.squares
	return t.addUser(c, bound)
}

func (t tally) addTime(c *judge.Counts, timing judge.Timing, bin int) {
	if bin >= 0 {
		c.Times[timing] = c.Times[timing].Add(histogram.Histogram{First: bin, Counts: []float64{t.weight}})
	}
}

func (t tally) addUser(c *judge.Counts, bound string) error {
	if t.user == "" {
		return nil
	}
	user, err := strconv.ParseUint(t.user, 16, 32)
	if err != nil || len(t.user) != userDigits {
		return fmt.Errorf("user %q is not the begin of a fingerprint", t.user)
	}
	if t.user < bound {
		c.Users = append(c.Users, uint32(user))
	}
	switch t.class {
	case classError:
		c.FailingUsers = append(c.FailingUsers, uint32(user))
	case classClientError:
		c.ClientFailingUsers = append(c.ClientFailingUsers, uint32(user))
	}
	return nil
}

// whole reads a whole number from least to most.
func whole(row Row, name string, least, most float64) (float64, error) {
	value, err := row.Float(name)
	if err != nil {
		return 0, err
	}
	if !(value >= least && value <= most) || value != math.Floor(value) {
		return 0, fmt.Errorf("read column %s: %g is not a whole number from %g to %g", name, value, least, most)
	}
	return value, nil
}
