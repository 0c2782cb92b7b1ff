package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestControls(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string // JSON
	}{
		{"health", "GET", "/health", "", 200, `{"status":"ok"}`},
		{"part of a behavior", "PUT", "/versions/" + fluxCanary, `{"error_rate":0.05,"latency":{"median_ms":128}}`, 200,
			`{"latency":{"median_ms":128,"sigma":0},"queue":{"median_ms":0,"sigma":0},"first_token":{"median_ms":0,"sigma":0},"reset_rate":0,"error_rate":0.05,"error_status":0,"reject_rate":0,"failed_rate":0,"failing_users":0,"output_bytes":0}`},
		{"behavior read", "GET", "/http/qwen-stable", "", 200,
			`{"latency":{"median_ms":1000,"sigma":0},"queue":{"median_ms":0,"sigma":0},"first_token":{"median_ms":0,"sigma":0},"reset_rate":0,"error_rate":0,"error_status":0,"reject_rate":0,"failed_rate":0,"failing_users":0,"output_bytes":0}`},
		{"behavior of a plain model", "PUT", "/http/qwen-stable", `{"failed_rate":1}`, 200,
			`{"latency":{"median_ms":1000,"sigma":0},"queue":{"median_ms":0,"sigma":0},"first_token":{"median_ms":0,"sigma":0},"reset_rate":0,"error_rate":0,"error_status":0,"reject_rate":0,"failed_rate":1,"failing_users":0,"output_bytes":0}`},
		{"unknown property", "PUT", "/versions/" + fluxCanary, `{"errors":1}`, 400,
			`{"title":"Bad request","detail":"read body: json: unknown field \"errors\"","status":400}`},
		{"impossible value", "PUT", "/versions/" + fluxCanary, `{"error_rate":2}`, 400,
			`{"title":"Bad request","detail":"rate is 2, use 0 to 1","status":400}`},
		{"unknown version", "PUT", "/versions/abc", `{"error_rate":1}`, 404,
			`{"title":"Not found","detail":"find version abc: none of this catalog","status":404}`},
		{"deployment", "PUT", "/deployments/acme/app", `{"version":"` + fluxCanary + `"}`, 200, `{"version":"` + fluxCanary + `"}`},
		{"deployment of nothing", "PUT", "/deployments/acme/app", `{"version":"abc"}`, 400,
			`{"title":"Bad request","detail":"set deployment acme/app: version \"abc\" is not listed","status":400}`},
		{"rate limit", "PUT", "/ratelimit", `{"creates":600}`, 200, `{"creates":600,"others":0}`},
		{"wrong seq", "GET", "/log?after=x", "", 400, `{"title":"Bad request","detail":"after is \"x\", use the seq of an entry","status":400}`},
		{"nothing there", "GET", "/nothing", "", 404, `{"title":"Not found","detail":"The requested resource could not be found.","status":404}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			got := ask(s, tt.method, "/_upstream"+tt.path, tt.body)
			require.Equal(t, tt.status, got.status)
			require.JSONEq(t, tt.want, string(got.body))
			require.Empty(t, s.Log(), "controls are not logged")
		})
	}
}

func TestChangesTakeEffectWhileItRuns(t *testing.T) {
	s := demo(t)
	create := func(path, version string) int {
		return ask(s, "POST", path, `{"input":{"prompt":"x"}`+version+`}`).status
	}
	byID := `,"version":"` + fluxCanary + `"`
	require.Equal(t, 201, create("/v1/predictions", byID))
	ask(s, "PUT", "/_upstream/versions/"+fluxCanary, `{"error_rate":1,"error_status":502}`)
	require.Equal(t, 502, create("/v1/predictions", byID))
	require.Equal(t, 201, create("/v1/deployments/acme/flux-stable/predictions", ""))
	ask(s, "PUT", "/_upstream/deployments/acme/flux-stable", `{"version":"`+fluxCanary+`"}`)
	require.Equal(t, 502, create("/v1/deployments/acme/flux-stable/predictions", ""))
	require.NoError(t, s.SetBehavior(fluxCanary, Behavior{}))
	require.Equal(t, 201, create("/v1/deployments/acme/flux-stable/predictions", ""))
}

func TestLogOverHTTP(t *testing.T) {
	s := demo(t, func(o *Options) { o.LogLimit = 3 })
	var last reply
	for range 5 {
		last = ask(s, "POST", "/v1/predictions", createBodyOf(fluxCanary), "X-Trace: abc", "Accept-Encoding: gzip")
	}
	var log struct {
		Entries []Entry
		Dropped int
	}
	require.NoError(t, json.Unmarshal(ask(s, "GET", "/_upstream/log", "").body, &log))
	require.Equal(t, 2, log.Dropped)
	require.Len(t, log.Entries, 3)
	for i, e := range log.Entries {
		require.Equal(t, 3+i, e.Seq)
		require.Equal(t, "POST", e.Method)
		require.Equal(t, "/v1/predictions", e.Path)
		require.Equal(t, fluxCanary, e.Version)
		require.Equal(t, "acme/flux", e.Model)
		require.JSONEq(t, `{"prompt":"hello there"}`, string(e.Input))
		require.Equal(t, "abc", e.Header.Get("x-trace"))
		require.NotContains(t, e.Header, "Accept-Encoding")
		require.EqualValues(t, len(createBodyOf(fluxCanary)), e.BodyBytes)
		require.Len(t, e.BodySHA256, 64)
		require.Equal(t, 201, e.Status)
		require.Len(t, e.AnswerSHA256, 64)
		require.Equal(t, "application/json", e.AnswerHeader.Get("Content-Type"))
		require.True(t, e.Done)
		require.WithinDuration(t, time.Now(), e.At, time.Minute)
	}
	require.Len(t, s.LogAfter(4), 1)
	sum := sha256.Sum256(last.body)
	require.Equal(t, hex.EncodeToString(sum[:]), s.LogAfter(4)[0].AnswerSHA256)
	require.Equal(t, 204, ask(s, "DELETE", "/_upstream/log", "").status)
	require.Empty(t, s.Log())
	ask(s, "GET", "/v1/account", "")
	require.Equal(t, 6, s.Log()[0].Seq, "numbers are never used twice")
}
