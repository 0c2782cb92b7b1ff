package command

import (
	"fmt"
	"math"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/shared/telemetry"
)

// units are what the judge counts in the seconds from ≤ t < to: each prediction
// once, however often its end was seen, and each request that made none. Those
// that say nothing of a variant are left out, as are those that the percentage
// did not assign.
type units struct {
	dataset, service, rollout string
	from, to                  int64
	began                     int64 // no point of the rollout is older
}

// clockSlack is by how many seconds this machine's clock may be ahead of the
// edge's.
const clockSlack = 3600

// never stands for the time of what has not happened, in SQL: 2106.
const never = 4294967295

// requestsQuery asks for the requests without a prediction, and for the
// latencies of all: time to the first byte is the request's, whatever it made.
// What a breaker kept from its variant is told beside them.
func (u units) requestsQuery() string {
	ok := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeOK)
	counts := fmt.Sprintf("%s != '%s'", telemetry.Outcome, telemetry.OutcomeExcluded)
	alone := fmt.Sprintf("%s = '' AND %s", telemetry.Prediction, counts)
	skipped := fmt.Sprintf("%s = '%s'", telemetry.ErrorClass, telemetry.ClassBreaker)
	return fmt.Sprintf(`SELECT %s AS variant, countIf(%s) AS total_rows, sumIf(%s, %s) AS requests, sumIf(%s, %s AND %s = '%s') AS errors, `+
		`countIf(%s) AS ok_rows, countIf(%s) AS skipped_rows, %s AS p50, %s AS p95 FROM %s `+
		`WHERE %s = '%s' AND %s = '%s' AND %s = '%s' AND %s = '%s' AND (%s OR %s) `+
		`AND timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) GROUP BY variant`,
		telemetry.Variant, alone, telemetry.SampleInterval, alone, telemetry.SampleInterval, alone, telemetry.Outcome, telemetry.OutcomeError,
		ok, skipped, quantile("0.5", telemetry.FirstByteMS, ok, telemetry.SampleInterval), quantile("0.95", telemetry.FirstByteMS, ok, telemetry.SampleInterval), u.dataset,
		telemetry.Service, u.service, telemetry.Rollout, u.rollout, telemetry.Kind, telemetry.KindRequest,
		telemetry.Reason, telemetry.ReasonPercentage, counts, skipped,
		u.from, u.to)
}

// predictionsQuery asks for the predictions whose end was first seen in the
// window: as an end, or because the request that made it counts as failed. Who
// was assigned, and why, its request knows best: one that was polled by its bare
// id may be known from an alias alone. An end without its request is that of a
// prediction that was accepted though no answer came: the request counts, by
// itself. Of a sample, the request may be what is missing.
func (u units) predictionsQuery() string {
	isEnded := fmt.Sprintf("ended_at >= %d AND ended_at < %d", u.from, u.to)
	isOK := isEnded + " AND failed = 0"
	isOpen := fmt.Sprintf("ended_at = %d AND made_at >= %d AND made_at < %d", never, u.from, u.to)
	return fmt.Sprintf(`SELECT variant, countIf(%s) AS total_rows, sumIf(weight, %s) AS requests, sumIf(weight, %s AND failed = 1) AS errors, `+
		`sumIf(weight, %s) AS open, %s AS total_p95, %s AS predict_p95 FROM (%s) `+
		`WHERE reason = '%s' AND in_rollout = '%s' AND left_out = 0 AND (canceled = 0 OR failed = 1) AND (made_at < %d OR weight > 1) GROUP BY variant`,
		isEnded, isEnded, isEnded, isOpen,
		quantile("0.95", "total_ms", isOK+" AND total_ms > 0", "weight"), quantile("0.95", "predict_ms", isOK+" AND predict_ms > 0", "weight"),
		eachPrediction(u.dataset, u.service, u.began, u.to), telemetry.ReasonPercentage, u.rollout, never)
}

// eachPrediction selects one row for each prediction of a service that has a
// point in the seconds from ≤ t < to.
func eachPrediction(dataset, service string, from, to int64) string {
	isRequest := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindRequest)
	isError := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeError)
	isExcluded := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeExcluded)
	at := func(condition string) string {
		return fmt.Sprintf("min(if(%s, toUnixTimestamp(timestamp), %d))", condition, never)
	}
	ofRequest := func(column telemetry.Column) string {
		return fmt.Sprintf("argMax(%s, if(%s, 1, 0))", column, isRequest)
	}
	return fmt.Sprintf(`SELECT %s AS prediction, %s AS variant, %s AS reason, %s AS in_rollout, %s AS of_user, %s AS in_trace, max(%s) AS weight, `+
		`max(if(%s, 1, 0)) AS failed, max(if(%s AND %s, 1, 0)) AS left_out, max(if(%s = '%s', 1, 0)) AS canceled, %s AS ended_at, %s AS made_at, `+
		`max(%s) AS total_ms, max(%s) AS predict_ms FROM %s `+
		`WHERE %s = '%s' AND %s != '' AND timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) GROUP BY prediction`,
		telemetry.Prediction, ofRequest(telemetry.Variant), ofRequest(telemetry.Reason), ofRequest(telemetry.Rollout),
		ofRequest(telemetry.User), ofRequest(telemetry.Trace), telemetry.SampleInterval,
		isError, isRequest, isExcluded, telemetry.Ended, telemetry.EndedCanceled,
		at(fmt.Sprintf("%s = '%s' OR %s", telemetry.Kind, telemetry.KindPrediction, isError)), at(isRequest),
		telemetry.TotalMS, telemetry.PredictMS, dataset,
		telemetry.Service, service, telemetry.Prediction, from, to)
}

func quantile(level string, column telemetry.Column, condition string, weight telemetry.Column) string {
	return fmt.Sprintf("quantileExactWeighted(%s)(%s, if(%s, %s, 0))", level, column, condition, weight)
}

// addRequests adds a row of requestsQuery to its arm.
func addRequests(row cloudflare.Row, a *judge.Arm) error {
	var n struct{ rows, okRows, skipped, requests, errors, p50, p95 float64 }
	err := floats(row, map[string]*float64{
		"total_rows": &n.rows, "ok_rows": &n.okRows, "skipped_rows": &n.skipped, "requests": &n.requests, "errors": &n.errors, "p50": &n.p50, "p95": &n.p95,
	})
	if err != nil {
		return err
	}
	a.Rows, a.OKRows, a.Skipped = a.Rows+int64(n.rows), a.OKRows+int64(n.okRows), int64(n.skipped)
	a.Requests, a.Errors = a.Requests+n.requests, a.Errors+n.errors
	if n.okRows > 0 { // or else they are quantiles of nothing
		a.P50MS, a.P95MS = n.p50, n.p95
	}
	return nil
}

// addPredictions adds a row of predictionsQuery to its arm.
func addPredictions(row cloudflare.Row, a *judge.Arm) error {
	var n struct{ rows, requests, errors, open, total, predict float64 }
	err := floats(row, map[string]*float64{
		"total_rows": &n.rows, "requests": &n.requests, "errors": &n.errors, "open": &n.open, "total_p95": &n.total, "predict_p95": &n.predict,
	})
	if err != nil {
		return err
	}
	a.Rows += int64(n.rows)
	a.Requests, a.Errors, a.Open = a.Requests+n.requests, a.Errors+n.errors, n.open
	if n.requests > n.errors {
		a.TotalP95MS, a.PredictP95MS = orZero(n.total), orZero(n.predict)
	}
	return nil
}

// orZero turns what a quantile of nothing is into 0, which stands for unknown.
func orZero(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}

// floats reads columns of a row.
func floats(row cloudflare.Row, columns map[string]*float64) error {
	for name, into := range columns {
		value, err := row.Float(name)
		if err != nil {
			return err
		}
		*into = value
	}
	return nil
}
