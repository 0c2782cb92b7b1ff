package command

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
)

func TestArmsQuery(t *testing.T) {
	sql, err := armsQuery("perch_requests", "model:acme/flux", "2026-11-20-a", 1795176900, 1795177200)
	require.NoError(t, err)
	golden(t, "arms.sql", sql+"\n")
	_, err = armsQuery("perch_requests", "model:acme/flux", "it's", 0, 1)
	require.ErrorContains(t, err, "holds a quote")
}

// TestEvidenceWindows: what is asked for is the last window and the step so far.
func TestEvidenceWindows(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(10 * time.Minute)
	b.do(0, "step", "acme/flux")
	require.Len(t, b.source.queries, 2)
	require.Contains(t, b.source.queries[0], "timestamp >= toDateTime(1795176240) AND timestamp < toDateTime(1795176540)")
	require.Contains(t, b.source.queries[1], "timestamp >= toDateTime(1795176000) AND timestamp < toDateTime(1795176540)")
}

func TestWholeSeconds(t *testing.T) {
	from, to := wholeSeconds(judge.Span{From: time.UnixMilli(10_001), To: time.UnixMilli(14_999)})
	require.EqualValues(t, 11, from)
	require.EqualValues(t, 14, to)
	from, _ = wholeSeconds(judge.Span{From: time.UnixMilli(10_000)})
	require.EqualValues(t, 10, from)
}

func TestReadArm(t *testing.T) {
	row := cloudflare.Row{"total_rows": "12", "ok_rows": "0", "requests": json.Number("120"), "errors": json.Number("120"), "p50": nil, "p95": nil}
	arm, err := readArm(row)
	require.NoError(t, err)
	require.Equal(t, judge.Arm{Rows: 12, Requests: 120, Errors: 120}, arm, "quantiles of nothing are no numbers")
	require.False(t, math.IsNaN(arm.P95MS))
	delete(row, "errors")
	_, err = readArm(row)
	require.ErrorContains(t, err, "errors")
}
