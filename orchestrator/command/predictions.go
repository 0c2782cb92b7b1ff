package command

import (
	"fmt"
	"strings"

	"perch/shared/document"
	"perch/shared/telemetry"
)

// clockSlack is by how many seconds this machine's clock may be ahead of the
// edge's.
const clockSlack = 3600

// never stands for the time of what has not happened, in SQL: 2106.
const never = 4294967295

// eachPrediction selects one row for each prediction of the services that has a
// point in the seconds from ≤ t < to. Who was assigned, and why, its request knows
// best: one that was polled by its bare id may be known from an alias alone.
func eachPrediction(dataset string, services []document.Service, from, to int64) string {
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = "'" + service.String() + "'"
	}
	isRequest := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindRequest)
	isPrediction := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindPrediction)
	isError := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeError)
	isExcluded := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeExcluded)
	at := func(condition string) string {
		return fmt.Sprintf("min(if(%s, toUnixTimestamp(timestamp), %d))", condition, never)
	}
	ofRequest := func(column telemetry.Column) string {
		return fmt.Sprintf("argMax(%s, if(%s, 1, 0))", column, isRequest)
	}
	return fmt.Sprintf(`SELECT %s AS prediction, %s AS of_service, %s AS variant, %s AS reason, %s AS in_rollout, %s AS of_user, %s AS in_trace, `+
		`max(if(%s AND %s, 1, 0)) AS left_out, %s AS ended_at, %s AS made_at FROM %s `+
		`WHERE %s IN (%s) AND %s != '' AND (%s OR %s) AND timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) GROUP BY prediction`,
		telemetry.Prediction, ofRequest(telemetry.Service), ofRequest(telemetry.Variant), ofRequest(telemetry.Reason), ofRequest(telemetry.Rollout),
		ofRequest(telemetry.User), ofRequest(telemetry.Trace), isRequest, isExcluded,
		at(isPrediction+" OR "+isError), at(isRequest), dataset,
		telemetry.Service, strings.Join(names, ", "), telemetry.Prediction, isRequest, isPrediction, from, to)
}
