package command

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
)

// TestUnitsQueries: what is asked of analytics, for a reader to look at.
func TestUnitsQueries(t *testing.T) {
	u := units{dataset: "perch_requests", service: "model:acme/flux", rollout: "2026-11-20-a", began: 1795172400, from: 1795176900, to: 1795177200}
	golden(t, "requests.sql", u.requestsQuery()+"\n")
	golden(t, "predictions.sql", u.predictionsQuery()+"\n")
}

// TestEvidenceWindows: what is asked for is the last window and the step so far.
func TestEvidenceWindows(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(10 * time.Minute)
	b.do(0, "step", "acme/flux")
	require.Len(t, b.source.queries, 4)
	require.Contains(t, b.source.queries[0], "timestamp >= toDateTime(1795176240) AND timestamp < toDateTime(1795176540)")
	require.Contains(t, b.source.queries[1], "ended_at >= 1795176240 AND ended_at < 1795176540")
	require.Contains(t, b.source.queries[1], "timestamp >= toDateTime(1795172400) AND timestamp < toDateTime(1795176540)", "of all that the rollout made")
	require.Contains(t, b.source.queries[2], "timestamp >= toDateTime(1795176000) AND timestamp < toDateTime(1795176540)")
	require.Contains(t, b.source.queries[3], "ended_at >= 1795176000 AND ended_at < 1795176540")
}

func TestWholeSeconds(t *testing.T) {
	from, to := wholeSeconds(judge.Span{From: time.UnixMilli(10_001), To: time.UnixMilli(14_999)})
	require.EqualValues(t, 11, from)
	require.EqualValues(t, 14, to)
	from, _ = wholeSeconds(judge.Span{From: time.UnixMilli(10_000)})
	require.EqualValues(t, 10, from)
}

func TestAddUnits(t *testing.T) {
	requests := cloudflare.Row{"total_rows": "12", "ok_rows": "0", "skipped_rows": "4", "requests": json.Number("120"), "errors": json.Number("120"), "p50": nil, "p95": nil}
	predictions := cloudflare.Row{"total_rows": "3", "requests": json.Number("30"), "errors": json.Number("10"), "open": "70", "total_p95": json.Number("900"), "predict_p95": nil}
	var arm judge.Arm
	require.NoError(t, addRequests(requests, &arm))
	require.Equal(t, judge.Arm{Rows: 12, Skipped: 4, Requests: 120, Errors: 120}, arm, "quantiles of nothing are no numbers")
	require.NoError(t, addPredictions(predictions, &arm))
	require.Equal(t, judge.Arm{Rows: 15, Skipped: 4, Requests: 150, Errors: 130, Open: 70, TotalP95MS: 900}, arm)
	delete(requests, "errors")
	require.ErrorContains(t, addRequests(requests, &arm), "errors")
}
