package measure

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"perch/orchestrator/judge/histogram"
	"perch/shared/telemetry"
)

// never stands for the time of what has not happened, in SQL: 2106.
const never = 4294967295

// userDigits is how much of a user's fingerprint is told: 32 bits.
const userDigits = 8

// slack is by how much earlier than its request's point, which is written when
// the answer has ended, the end of a prediction may have been seen.
const slack = 5 * time.Minute

// Classes of the answer's rows: what became of their units.
const (
	classOK          = "ok"           // a request that made no prediction
	classSucceeded   = "succeeded"    // a prediction
	classExpired     = "expired"      // a prediction that was still open after Expire
	classError       = "error"        // either
	classClientError = "client_error" // either
	classOpen        = "open"         // a prediction; no unit yet
	classSkipped     = "skipped"      // kept from its variant by a breaker; no unit
)

// reasons are those for which a variant is told apart from the client's wish: by
// percentage, or because everybody gets stable.
var reasons = []string{telemetry.ReasonPercentage, telemetry.ReasonHalted, telemetry.ReasonUnattended}

// reasonsWithin are those that belong to a rollout: where the edge has dropped the
// canary, stable alone shows that there is somebody to bring it back for.
var reasonsWithin = []string{telemetry.ReasonPercentage, telemetry.ReasonUnattended}

// SQL returns the statement. From the inside out it
//
//   - reads the points, and how many of each service's users are told apart;
//   - makes one row of each prediction, however often its end was seen, and one
//     of all requests without a prediction that have the same part of the answer;
//   - places them in time: a prediction when both its end and the request that
//     made it were seen, or when it expired. What was seen later changes nothing,
//     so that an interval is the same whenever it is asked for;
//   - counts them.
//
// Who was assigned to a prediction, and why, its request knows best: one that was
// polled by its bare id may be known from an alias alone. An end without its
// request is that of a prediction that was accepted though no answer came: the
// request counts, by itself. Of a sample the request may be what is missing; it
// may be the end as well, so that nothing of a sample is open or expires.
//
// A synchronous create that succeeded tells no times, but its headers come when its
// prediction has ended: where nobody tells the total time of a prediction whose
// end its create's own answer told, it is the create's time to the first byte.
func (q Query) SQL() string {
	_, from, to := q.seconds()
	return fmt.Sprintf("SELECT service, variant, if(reason IN (%s), rollout, '') AS in_rollout, %s AS slot, %s AS class, %s AS time_bin, "+
		"%s AS predict_bin, %s AS token_bin, %s AS told_user, sum(if(id = '', points, 1)) AS n, sum(if(id = '', weights, weight)) AS w, "+
		"sum(if(id = '', squares, weight * weight)) AS w2 FROM (%s) "+
		"WHERE counted_at >= %d AND counted_at < %d AND reason IN (%s) AND variant IN (%s) AND (left_out = 1 AND skipped = 1 OR left_out = 0 AND (canceled_at > counted_at OR failed_at <= counted_at)) "+
		"GROUP BY service, variant, in_rollout, slot, class, time_bin, predict_bin, token_bin, told_user LIMIT %d",
		list(reasonsWithin), q.slot("counted_at"),
		fmt.Sprintf("if(state != 'ended', state, if(failed_at <= counted_at, '%s', if(refused_at <= counted_at, '%s', if(id = '', '%s', '%s'))))", classError, classClientError, classOK, classSucceeded),
		binWhere("id = '' OR time_ms > 0", "time_ms"),
		binWhere("predict_ms > 0 AND trace < bound", "predict_ms"), binWhere("token_ms > 0 AND trace < bound", "token_ms"),
		fmt.Sprintf("if(state = 'ended' AND (failed_at <= counted_at OR refused_at <= counted_at) OR state IN ('ended', '%s') AND visitor < bound, visitor, '')", classExpired),
		q.placedSQL(to), from, to, list(reasons), list(arms), q.Limit())
}

// placedSQL adds to each row of unitsSQL the second in which it counts, and as what.
func (q Query) placedSQL(to int64) string {
	due := fmt.Sprintf("if(weight > 1, %d, made_at + %d)", never, int64(q.Expire/time.Second))
	seen := "if(weight > 1 OR ended_at > made_at, ended_at, made_at)"
	return fmt.Sprintf("SELECT service, bound, id, variant, reason, rollout, visitor, trace, points, weights, squares, weight, "+
		"failed_at, refused_at, canceled_at, left_out, skipped, if(told_ms = 0 AND at_once = 1, answered_ms, told_ms) AS time_ms, predict_ms, token_ms, "+
		"if(id = '' OR left_out = 1, made_at, if(%s <= %s, %s, if(%s < %d, %s, made_at))) AS counted_at, "+
		"if(left_out = 1, '%s', if(id = '' OR %s <= %s, 'ended', if(%s < %d, '%s', '%s'))) AS state FROM (%s)",
		seen, due, seen, due, to, due, classSkipped, seen, due, due, to, classExpired, classOpen, q.unitsSQL())
}

// unitsSQL makes one row of each prediction, and of the requests that made none
// one for each part of the answer: the keys that tell those apart are constant
// for predictions.
func (q Query) unitsSQL() string {
	ofRequest := func(column string) string { return fmt.Sprintf("argMax(%s, made)", column) }
	alone := func(column string) string { return fmt.Sprintf("if(id = '', %s, '')", column) }
	aloneOK := fmt.Sprintf("id = '' AND outcome = '%s'", telemetry.OutcomeOK)
	failing := fmt.Sprintf("outcome IN (%s)", list([]string{telemetry.OutcomeError, telemetry.OutcomeClientError}))
	isError := fmt.Sprintf("outcome = '%s'", telemetry.OutcomeError)
	return fmt.Sprintf("SELECT service, bound, id, %s AS variant, %s AS reason, %s AS rollout, %s AS visitor, %s AS trace, "+
		"count() AS points, sum(sampled) AS weights, sum(sampled * sampled) AS squares, max(sampled) AS weight, "+
		"%s AS made_at, %s AS ended_at, %s AS failed_at, %s AS refused_at, %s AS canceled_at, "+
		"max(if(made = 1 AND outcome = '%s', 1, 0)) AS left_out, max(if(made = 1 AND error_class = '%s', 1, 0)) AS skipped, "+
		"max(if(id = '', first_byte, total)) AS told_ms, %s AS at_once, %s AS answered_ms, max(predict) AS predict_ms, max(if(id = '' AND tail >= bound, 0, first_token)) AS token_ms FROM (%s) "+
		"GROUP BY service, bound, id, %s, %s, %s, %s, if(id = '', %s, 0), %s, %s, if(id = '' AND (%s OR outcome = '%s' AND who < bound), who, '')",
		ofRequest("arm"), ofRequest("why"), ofRequest("of_rollout"), ofRequest("who"), ofRequest("tail"),
		earliest("made = 1"), earliest(fmt.Sprintf("kind = '%s' OR %s", telemetry.KindPrediction, isError)), earliest(isError),
		earliest(fmt.Sprintf("outcome = '%s'", telemetry.OutcomeClientError)), earliest(fmt.Sprintf("ended = '%s'", telemetry.EndedCanceled)),
		telemetry.OutcomeExcluded, telemetry.ClassBreaker,
		// Creates answer 201 or 202; polls, webhooks and streams tell an end by 200.
		fmt.Sprintf("max(if(kind = '%s' AND ended = '%s' AND status > 200, 1, 0))", telemetry.KindPrediction, telemetry.EndedSucceeded),
		fmt.Sprintf("max(if(id != '' AND outcome = '%s', first_byte, 0))", telemetry.OutcomeOK), q.pointsSQL(),
		alone("arm"), alone("why"), alone("of_rollout"), alone("outcome"), q.slot("moment"),
		binWhere(aloneOK, "first_byte"), binWhere(aloneOK+" AND first_token > 0 AND tail < bound", "first_token"), failing, telemetry.OutcomeOK)
}

// pointsSQL names what is read of each point that may count.
func (q Query) pointsSQL() string {
	_, from, to := q.seconds()
	since := from - int64((q.Expire+slack)/time.Second)
	requests := fmt.Sprintf("%s = '' AND %s = '%s' AND timestamp >= toDateTime(%d) AND %s IN (%s) AND %s IN (%s) AND (%s != '%s' OR %s = '%s')",
		telemetry.Prediction, telemetry.Kind, telemetry.KindRequest, from, telemetry.Reason, list(reasons), telemetry.Variant, list(arms),
		telemetry.Outcome, telemetry.OutcomeExcluded, telemetry.ErrorClass, telemetry.ClassBreaker)
	predictions := fmt.Sprintf("%s != '' AND %s IN (%s)", telemetry.Prediction, telemetry.Kind, list([]string{telemetry.KindRequest, telemetry.KindPrediction}))
	return fmt.Sprintf("SELECT %s AS service, %s AS arm, %s AS kind, %s AS outcome, %s AS why, %s AS of_rollout, %s AS error_class, %s AS id, %s AS ended, "+
		"substring(%s, 1, %d) AS who, substring(%s, 25) AS tail, toUnixTimestamp(timestamp) AS moment, %s AS sampled, "+
		"%s AS status, %s AS first_byte, %s AS predict, %s AS total, %s AS first_token, if(%s = '%s', 1, 0) AS made, %s AS bound FROM %s "+
		"WHERE timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) AND %s IN (%s) AND (%s OR %s)",
		telemetry.Service, telemetry.Variant, telemetry.Kind, telemetry.Outcome, telemetry.Reason, telemetry.Rollout, telemetry.ErrorClass,
		telemetry.Prediction, telemetry.Ended, telemetry.User, userDigits, telemetry.Trace, telemetry.SampleInterval,
		telemetry.Status, telemetry.FirstByteMS, telemetry.PredictMS, telemetry.TotalMS, telemetry.FirstTokenMS, telemetry.Kind, telemetry.KindRequest, q.shareSQL(), q.Dataset,
		since, to, telemetry.Service, list(q.services()), predictions, requests)
}

// shareSQL is the text below which the hexadecimal digits of a share lie, by service.
func (q Query) shareSQL() string {
	bounds := map[string][]string{}
	for _, s := range q.Subjects {
		bound := shareBound(q.shareOf(s))
		bounds[bound] = append(bounds[bound], s.Service)
	}
	kinds := make([]string, 0, len(bounds))
	for bound := range bounds {
		kinds = append(kinds, bound)
	}
	// The one of most services goes without saying which.
	slices.SortFunc(kinds, func(a, b string) int {
		if len(bounds[a]) != len(bounds[b]) {
			return len(bounds[b]) - len(bounds[a])
		}
		return strings.Compare(a, b)
	})
	sql := text(kinds[0])
	for _, bound := range kinds[1:] {
		sql = fmt.Sprintf("if(%s IN (%s), %s, %s)", telemetry.Service, list(bounds[bound]), text(bound), sql)
	}
	return sql
}

// shareBound returns what eight hexadecimal digits are below for a share, (0, 1],
// of their values, exact to 16 bits.
func shareBound(share float64) string {
	if share >= 1 {
		return "g" // past f
	}
	return fmt.Sprintf("%04x", uint32(math.Ceil(share*(1<<16))))
}

func (q Query) services() []string {
	names := make([]string, len(q.Subjects))
	for i, s := range q.Subjects {
		names[i] = s.Service
	}
	return names
}

func (q Query) slot(second string) string {
	length, _, _ := q.seconds()
	return fmt.Sprintf("intDiv(%s, %d)", second, length)
}

func earliest(condition string) string {
	return fmt.Sprintf("min(if(%s, moment, %d))", condition, never)
}

// binWhere is histogram.Bucket of a time where a condition holds, else -1.
func binWhere(condition, ms string) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	last := number(histogram.Edge(histogram.Buckets - 1))
	return fmt.Sprintf("if(%s, if(%s <= 1, 0, if(%s >= %s, %d, floor(log(%s) / %s))), -1)",
		condition, ms, ms, last, histogram.Buckets-1, ms, number(math.Log(1.2)/2))
}

func list(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = text(value)
	}
	return strings.Join(quoted, ", ")
}

var escaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func text(value string) string { return "'" + escaper.Replace(value) + "'" }
