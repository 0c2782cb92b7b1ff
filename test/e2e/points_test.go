package e2e

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/bucket"
	"perch/shared/document"
	"perch/shared/telemetry"
)

// points are the rows of one trace, read as the orchestrator reads. They are
// written after the answer: the first is waited for.
func (w *world) points(trace string) (rows []cloudflare.Row) {
	w.Helper()
	s := w.stack
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	require.Eventually(w, func() bool {
		if _, err := s.Flush(w.Context()); err != nil {
			return false
		}
		var err error
		rows, err = analytics.Query(w.Context(), "SELECT * FROM "+s.Dataset+" WHERE "+string(telemetry.Trace)+" = '"+trace+"'")
		return err == nil && len(rows) > 0
	}, 5*time.Second, 20*time.Millisecond, "no point of %s came", trace)
	return rows
}

// TestPoints: every column of a routed request's one point, read by SQL.
func TestPoints(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/off"}, Vars: map[string]string{"REPLICATE_BASE_URL": "http://127.0.0.1:1/v1"}})
	d := w.httpRollout("qwen", 10_000)
	d.Overrides, d.Generation, d.Rollout = true, 7, "2026-11-20-a"
	d.Rules = []document.Rule{{Header: "x-tier", Equals: "gold", Use: document.Stable}}
	w.write(d)
	w.write(rollout("acme/off", 10_000))
	const user = "user-with-a-name"
	fingerprint := strconv.FormatUint(bucket.Fingerprint("r1", user), 16)
	fingerprint = strings.Repeat("0", 16-len(fingerprint)) + fingerprint
	for _, tt := range []struct {
		name, path                                        string
		headers                                           map[string]string
		variant, servedBy, outcome, reason, class, status string
	}{
		{"ok", "/qwen/x", nil, "canary", "canary", "ok", "percentage", "", "200"},
		{"redirect", "/qwen/x?status=302", nil, "canary", "canary", "ok", "percentage", "", "302"},
		{"error", "/qwen/x?status=503", nil, "canary", "stable", "error", "percentage", "http", "503"},
		{"client error", "/qwen/x?status=422", nil, "canary", "canary", "client_error", "percentage", "http", "422"},
		{"throttled", "/qwen/x?status=429", nil, "canary", "canary", "excluded", "percentage", "http", "429"},
		{"override", "/@stable/qwen/x", map[string]string{"x-perch-tester": tester("http:qwen", "")}, "stable", "stable", "ok", "override", "", "200"},
		{"rule", "/qwen/x", map[string]string{"x-tier": "gold"}, "stable", "stable", "ok", "rule", "", "200"},
		{"no connection", "/v1/models/acme/off/predictions", nil, "canary", "", "error", "percentage", "reset", "0"}, // workerd tells no refusal from a reset
	} {
		t.Run(tt.name, func(t *testing.T) {
			headers := map[string]string{"x-user-id": user}
			for name, value := range tt.headers {
				headers[name] = value
			}
			r := w.do(call{Path: tt.path, Headers: headers, Body: "{}"})
			rows := w.points(r.Header.Get("x-perch-trace"))
			require.Len(t, rows, 1)
			service, rollout, generation := "http:qwen", "2026-11-20-a", 7.0
			if strings.HasPrefix(tt.path, "/v1/") {
				service, rollout, generation = "model:acme/off", "r1", 1
				require.Equal(t, http.StatusBadGateway, r.Status)
				require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
			}
			for column, want := range map[telemetry.Column]string{
				telemetry.Service: service, telemetry.Variant: tt.variant, telemetry.ServedBy: tt.servedBy,
				telemetry.Kind: telemetry.KindRequest, telemetry.Outcome: tt.outcome, telemetry.Reason: tt.reason,
				telemetry.Rollout: rollout, telemetry.Colo: "LOC1", telemetry.Trace: r.Header.Get("x-perch-trace"),
				telemetry.User: fingerprint, telemetry.ErrorClass: tt.class, telemetry.Index: telemetry.IndexOf(service, tt.variant),
			} {
				got, err := rows[0].Text(string(column))
				require.NoError(t, err, column)
				require.Equal(t, want, got, column)
			}
			country, err := rows[0].Text(string(telemetry.Country))
			require.NoError(t, err)
			require.Len(t, country, 2)
			status, err := strconv.ParseFloat(tt.status, 64)
			require.NoError(t, err)
			for column, want := range map[telemetry.Column]float64{telemetry.Status: status, telemetry.Generation: generation} {
				got, err := rows[0].Float(string(column))
				require.NoError(t, err, column)
				require.Equal(t, want, got, column)
			}
			ms, err := rows[0].Float(string(telemetry.FirstByteMS))
			require.NoError(t, err)
			require.GreaterOrEqual(t, ms, 0.0)
			require.Less(t, ms, 10_000.0)
			for column, value := range rows[0] {
				require.NotContains(t, value, user, column)
			}
		})
	}
}

// TestPointsThatFail: points that cannot be written fail no request.
func TestPointsThatFail(t *testing.T) {
	unbound := bundle(t, func(_ string, text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("env.ANALYTICS."), []byte("env.UNBOUND."))
	})
	w := newWorld(t, worldOptions{Worker: unbound, Models: []string{"acme/quiet"}})
	w.write(rollout("acme/quiet", 10_000))
	w.awaitVariant(0, "acme/quiet", "user", document.Canary)
	r := w.predict(0, "acme/quiet", "user")
	require.Equal(t, 201, r.Status, r.Body)
	require.Eventually(t, func() bool { return contains(w.stack.Log(), `"perch":"point"`) }, 5*time.Second, 10*time.Millisecond)
	require.NotContains(t, strings.ToLower(w.stack.Log()), "uncaught")
}
