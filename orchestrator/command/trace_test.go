package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/report"
	"perch/shared/telemetry"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// row is a whole point with the columns given.
func row(at string, columns map[telemetry.Column]any) cloudflare.Row {
	r := cloudflare.Row{"at": at}
	for _, name := range report.PointColumns() {
		r[name] = ""
		if strings.HasPrefix(name, "double") {
			r[name] = number(0)
		}
	}
	for name, value := range columns {
		if n, isNumber := value.(int); isNumber {
			value = number(float64(n))
		}
		r[string(name)] = value
	}
	return r
}

// traced is an account with a request that the canary failed and stable rescued,
// and the end of the prediction that stable made, seen in another trace.
func traced(t *testing.T) *bench {
	b := newBench(t)
	b.source.points = []cloudflare.Row{
		row("1795176000", map[telemetry.Column]any{
			telemetry.Kind: "request", telemetry.Service: "model:acme/flux", telemetry.Rollout: "2026-11-20-a", telemetry.Variant: "canary", telemetry.ServedBy: "stable",
			telemetry.Reason: "percentage", telemetry.Outcome: "error", telemetry.ErrorClass: "http", telemetry.Status: 503, telemetry.Prediction: "abc",
			telemetry.Trace: traceID, telemetry.FirstByteMS: 812, telemetry.DurationMS: 1204,
		}),
		row("1795176004", map[telemetry.Column]any{
			telemetry.Kind: "prediction", telemetry.Service: "model:acme/flux", telemetry.Rollout: "2026-11-20-a", telemetry.Variant: "stable", telemetry.ServedBy: "stable",
			telemetry.Reason: "polled", telemetry.Outcome: "ok", telemetry.Prediction: "abc", telemetry.Ended: "succeeded", telemetry.Trace: strings.Repeat("b", 32),
			telemetry.QueueMS: 10, telemetry.PredictMS: 1500, telemetry.TotalMS: 2000,
		}),
		row("1795176009", map[telemetry.Column]any{telemetry.Kind: "request", telemetry.Trace: strings.Repeat("c", 32), telemetry.Prediction: "other"}),
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/predictions/abc" {
			w.WriteHeader(404)
			fmt.Fprint(w, `{"detail":"The requested resource could not be found."}`)
			return
		}
		fmt.Fprint(w, `{"id":"abc","status":"succeeded","model":"acme/flux","version":"hidden","logs":"step 1\nstep 2\n","error":null,
			"created_at":"2026-11-20T12:00:01Z","started_at":"2026-11-20T12:00:01.01Z","completed_at":"2026-11-20T12:00:03Z"}`)
	}))
	t.Cleanup(upstream.Close)
	b.env["REPLICATE_API_TOKEN"], b.env["REPLICATE_BASE_URL"] = "r8_secret", upstream.URL+"/v1"
	return b
}

// TestTrace: the same story by either id.
func TestTrace(t *testing.T) {
	b := traced(t)
	golden(t, "trace.txt", b.do(0, "trace", traceID).stdout)
	golden(t, "trace_prediction.txt", b.do(0, "trace", "abc").stdout)
	golden(t, "trace.json", b.do(0, "trace", "--json", traceID).stdout)
	require.Equal(t, b.do(0, "trace", "abc").stdout, b.do(0, "trace", "abc~p1.1234.e30.mac").stdout, "an id as clients have it under a held token")
}

// TestTraceWithoutReplicate: what it lacks is said where it would stand.
func TestTraceWithoutReplicate(t *testing.T) {
	b := traced(t)
	delete(b.env, "REPLICATE_API_TOKEN")
	require.Contains(t, b.do(0, "trace", "abc").stdout, "prediction abc at Replicate: set REPLICATE_API_TOKEN to see its status and logs\n")
	b.env["REPLICATE_API_TOKEN"], b.env["REPLICATE_BASE_URL"] = "r8_secret", "http://127.0.0.1:1/v1"
	r := b.do(0, "trace", "abc")
	require.Contains(t, r.stdout, "prediction abc at Replicate: read prediction abc: dial tcp 127.0.0.1:1")
	require.NotContains(t, r.stdout+r.stderr, "r8_secret")
}

func TestTraceOfNothing(t *testing.T) {
	b := traced(t)
	r := b.do(1, "trace", strings.Repeat("d", 32))
	require.Equal(t, "orchestrator: nothing is known of trace "+strings.Repeat("d", 32)+"\n"+
		"hint: points can be seen about a minute after the request, and for three months\n", r.stderr)
	r = b.do(1, "trace", "nowhere")
	require.Contains(t, r.stderr, "hint: read prediction nowhere: status 404 Not Found: The requested resource could not be found; points can be seen about a minute after")
	b.source.err = cloudflare.ErrNoData
	b.do(1, "trace", strings.Repeat("d", 32))
	for _, id := range []string{"", "it's", "a b", strings.Repeat("x", 101), "x') OR ('1"} {
		require.Contains(t, b.do(2, "trace", id).stderr, "is no id of a trace or a prediction")
	}
	require.Contains(t, b.do(2, "trace").stderr, "is no id of a trace or a prediction")
	b.env["CLOUDFLARE_API_TOKEN"] = ""
	require.Contains(t, b.do(2, "trace", "abc").stderr, "no API token is given")
}

// TestTraceHoldsNoForeignTexts: an id that a point holds goes into no statement
// unless it is one.
func TestTraceHoldsNoForeignTexts(t *testing.T) {
	b := traced(t)
	b.source.points[0][string(telemetry.Prediction)] = "x') OR ('1"
	delete(b.env, "REPLICATE_API_TOKEN")
	b.do(0, "trace", traceID)
	for _, sql := range b.source.queries {
		require.NotContains(t, sql, "OR (")
	}
	var trace report.Trace
	require.NoError(t, json.Unmarshal([]byte(b.do(0, "trace", "--json", traceID).stdout), &trace))
	require.Len(t, trace.Points, 1)
}
