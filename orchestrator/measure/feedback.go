package measure

import (
	"fmt"
	"slices"
	"time"

	"perch/orchestrator/judge"
	"perch/shared/telemetry"
)

// ratingMemory is for how long after its request an answer can be rated, to an
// interval.
const ratingMemory = time.Hour

// isBad is the condition under which a rating is bad.
const isBad = "score < 0.5"

// Classes of the rows of feedback.
const (
	classGood = "good"
	classBad  = "bad"
)

// How much is known of who gave a rated answer, the most first.
const (
	tellsSealed  = 3 // the rating, by a seal
	tellsRequest = 2 // the request
	tellsEnd     = 1 // the end of the prediction that it made, which has its trace
)

// FeedbackSQL returns the statement that asks for the ratings. A rating counts
// for the variant that its request was assigned to and that also answered it, in
// the interval in which the answer was first rated, or in which its request was
// seen if that was later; of several ratings within the first interval the last
// one counts, and later ones change nothing. Of a rating whose request is not
// found, because it was more than an hour ago or is not in a sample, nothing is
// known unless a seal told it.
func (q Query) FeedbackSQL() string {
	length, _, _ := q.seconds()
	first, end := q.slots()
	return fmt.Sprintf("SELECT service, variant, if(reason IN (%s), rollout, '') AS in_rollout, counted_in AS slot, if(%s, '%s', '%s') AS class, count() AS n, "+
		"sum(if(told = %d, rating_weight, rating_weight * request_weight)) AS w FROM (%s) "+
		"WHERE counted_in >= %d AND counted_in < %d AND reason IN (%s) AND variant IN (%s) AND answered = 1 AND (told = %d OR counted_in * %d <= asked_at + %d) "+
		"GROUP BY service, variant, in_rollout, slot, class LIMIT %d",
		list(reasonsWithin), isBad, classBad, classGood, tellsSealed, q.countedSQL(),
		first, end, list(reasons), list(arms), tellsSealed, length, int64(ratingMemory/time.Second), q.Limit())
}

// countedSQL adds to each row of ratedSQL the interval in which it counts.
func (q Query) countedSQL() string {
	asked := q.slot("asked_at")
	return fmt.Sprintf("SELECT service, variant, reason, rollout, answered, told, score, rating_weight, request_weight, asked_at, "+
		"if(told = %d OR rated_in > %s, rated_in, %s) AS counted_in FROM (%s)", tellsSealed, asked, asked, q.ratedSQL())
}

// ratedSQL makes one row of each answer that was rated.
func (q Query) ratedSQL() string {
	first := fmt.Sprintf("if(slot > 0, slot, %d)", never)
	return fmt.Sprintf("SELECT service, rated, argMax(assigned, tells) AS variant, argMax(cause, tells) AS reason, argMax(drawn, tells) AS rollout, "+
		"argMax(served, tells) AS answered, max(tells) AS told, min(%s) AS rated_in, argMin(last_score, %s) AS score, "+
		"argMin(weight, %s) AS rating_weight, max(if(slot = 0, weight, 1)) AS request_weight, min(if(slot = 0, since, %d)) AS asked_at FROM (%s) GROUP BY service, rated",
		first, first, first, never, q.ratingsSQL())
}

// ratingsSQL makes one row of an answer's request, and one of its ratings in each
// interval.
func (q Query) ratingsSQL() string {
	return fmt.Sprintf("SELECT service, rated, slot, argMax(arm, telling) AS assigned, argMax(why, telling) AS cause, argMax(of_rollout, telling) AS drawn, "+
		"argMax(own, telling) AS served, max(telling) AS tells, max(sampled) AS weight, min(moment) AS since, argMax(rating, moment) AS last_score FROM (%s) "+
		"GROUP BY service, rated, slot", q.ratingPointsSQL())
}

// ratingPointsSQL names what is read of each point. What is rated goes by the
// prediction's id, or else by the trace; that of a prediction's request stands on
// the point of its end too.
func (q Query) ratingPointsSQL() string {
	_, from, to := q.seconds()
	isRating := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindFeedback)
	isRequest := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindRequest)
	return fmt.Sprintf("SELECT %s AS service, if(%s != '' AND (%s OR %s), %s, %s) AS rated, if(%s, %s, 0) AS slot, %s AS arm, %s AS why, %s AS of_rollout, "+
		"if(%s AND (%s = '%s' OR %s != %s), 0, 1) AS own, if(%s, if(%s != '', %d, 0), if(%s, %d, %d)) AS telling, "+
		"%s AS sampled, %s AS rating, toUnixTimestamp(timestamp) AS moment FROM %s "+
		"WHERE timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) AND %s IN (%s) AND %s IN (%s)",
		telemetry.Service, telemetry.Prediction, isRating, isRequest, telemetry.Prediction, telemetry.Trace,
		isRating, q.slot("toUnixTimestamp(timestamp)"), telemetry.Variant, telemetry.Reason, telemetry.Rollout,
		isRequest, telemetry.Outcome, telemetry.OutcomeExcluded, telemetry.ServedBy, telemetry.Variant,
		isRating, telemetry.Variant, tellsSealed, isRequest, tellsRequest, tellsEnd,
		telemetry.SampleInterval, telemetry.Score, q.Dataset,
		from-int64(ratingMemory/time.Second), to, telemetry.Service, list(q.services()),
		telemetry.Kind, list([]string{telemetry.KindRequest, telemetry.KindPrediction, telemetry.KindFeedback}))
}

// ReadFeedback adds what the answer to FeedbackSQL tells to the intervals that
// Read returned. Its errors are those of Read; then into is as it was.
func ReadFeedback[R Row](q Query, rows []R, into map[string][]judge.Interval) error {
	if err := q.Check(); err != nil {
		return fmt.Errorf("read feedback: %w", err)
	}
	if len(rows) >= q.Limit() {
		return fmt.Errorf("read feedback: %d rows for %d services: %w", len(rows), len(q.Subjects), ErrTooLarge)
	}
	r := newReader(q)
	for i, row := range rows {
		if err := r.readRating(row); err != nil {
			return fmt.Errorf("read feedback: row %d: %w", i+1, err)
		}
	}
	for service, intervals := range r.intervals() {
		into[service] = withRatings(into[service], intervals)
	}
	return nil
}

func (r *reader) readRating(row Row) error {
	at, err := r.placeOf(row)
	if err != nil {
		return err
	}
	class, err := row.Text("class")
	if err != nil {
		return err
	}
	weight, err := whole(row, "w", 1, mostCounted)
	if err != nil {
		return err
	}
	if class != classGood && class != classBad {
		return fmt.Errorf("class %q is not known", class)
	}
	counts := r.countsAt(at)
	switch {
	case counts == nil:
	case class == classBad:
		counts.Bad += weight
	default:
		counts.Good += weight
	}
	return nil
}

// withRatings adds the ratings of some intervals to others, rising.
func withRatings(intervals, rated []judge.Interval) []judge.Interval {
	for _, one := range rated {
		i, found := slices.BinarySearchFunc(intervals, one.Index, func(in judge.Interval, index int64) int { return int(in.Index - index) })
		if !found {
			intervals = slices.Insert(intervals, i, one)
			continue
		}
		in := &intervals[i]
		in.Canary.Good, in.Canary.Bad = in.Canary.Good+one.Canary.Good, in.Canary.Bad+one.Canary.Bad
		in.Stable.Good, in.Stable.Bad = in.Stable.Good+one.Stable.Good, in.Stable.Bad+one.Stable.Bad
	}
	return intervals
}
