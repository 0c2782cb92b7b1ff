package upstream

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCreateRefuses(t *testing.T) {
	s := demo(t)
	const byVersion, byModel, byDeployment = "/v1/predictions", "/v1/models/acme/flux/predictions", "/v1/deployments/acme/flux-stable/predictions"
	tests := []struct {
		name, path, body string
		headers          []string
		status           int
		detail           string
	}{
		{"no token", byModel, `{"input":{"prompt":"x"}}`, []string{"Authorization: "}, 401, "You did not pass a valid authentication token"},
		{"not JSON", byModel, `{"input":`, nil, 400, "The body is not a JSON object"},
		{"no object", byModel, `null`, nil, 400, "The body is not a JSON object"},
		{"no input", byModel, `{}`, nil, 422, "- (root): input is required"},
		{"input is no object", byModel, `{"input":[]}`, nil, 422, "- input: Invalid type. Expected: object"},
		{"input is null", byModel, `{"input":null}`, nil, 422, "- input: Invalid type. Expected: object"},
		{"input lacks a key", byModel, `{"input":{}}`, nil, 422, "- input: prompt is required"},
		{"version missing", byVersion, `{"input":{}}`, nil, 422, "- (root): version is required"},
		{"version is no string", byVersion, `{"input":{},"version":7}`, nil, 422, "- version: Invalid type. Expected: string"},
		{"version is null", byVersion, `{"input":{},"version":null}`, nil, 422, "- version: Invalid type. Expected: string"},
		{"version unknown", byVersion, createBodyOf(VersionID("nobody")), nil, 422, problemVersion.Detail},
		{"version given to a model", byModel, createBodyOf(fluxStable), nil, 422, "- (root): Additional property version is not allowed"},
		{"version given to a deployment", byDeployment, createBodyOf(fluxStable), nil, 422, "- (root): Additional property version is not allowed"},
		{"unknown property", byModel, `{"input":{},"foo":1,"bar":2}`, nil, 422,
			"- (root): Additional property bar is not allowed\n- (root): Additional property foo is not allowed"},
		{"webhook", byModel, `{"input":{},"webhook":1}`, nil, 422, "- webhook: Invalid type. Expected: string"},
		{"webhook event", byModel, `{"input":{},"webhook_events_filter":["done"]}`, nil, 422,
			`- webhook_events_filter: "done" is none of start, output, logs, completed`},
		{"stream", byModel, `{"input":{},"stream":"yes"}`, nil, 422, "- stream: Invalid type. Expected: boolean"},
		{"unknown model", "/v1/models/acme/none/predictions", `{"input":{}}`, nil, 404, problemNotFound.Detail},
		{"unknown deployment", "/v1/deployments/acme/none/predictions", `{"input":{}}`, nil, 404, problemNotFound.Detail},
		{"short Cancel-After", byModel, `{"input":{"prompt":"x"}}`, []string{"Cancel-After: 4s"}, 422, "- Cancel-After: the minimum is 5 seconds"},
		{"wrong Cancel-After", byModel, `{"input":{"prompt":"x"}}`, []string{"Cancel-After: soon"}, 422,
			`- Cancel-After: "soon" is not a duration such as 30s, 5m or 1h30m45s`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(s, "POST", tt.path, tt.body, tt.headers...)
			require.Equal(t, tt.status, got.status)
			require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
			require.Equal(t, tt.detail, got.object(t)["detail"])
			require.EqualValues(t, tt.status, got.object(t)["status"])
		})
	}
	require.Zero(t, count(s), "a refused call creates nothing")
}

func TestCreateAnswers(t *testing.T) {
	tests := []struct {
		name, path, body, prefer string
		version                  string
		status                   int
		state                    string
		took                     time.Duration
		output                   any // absent is nil
	}{
		{"asynchronous", "/v1/predictions", createBodyOf(fluxCanary), "", fluxCanary, 201, "starting", 0, nil},
		{"synchronous", "/v1/predictions", createBodyOf("acme/flux:" + fluxCanary), "wait", fluxCanary, 201, "processing", time.Second,
			"acme/flux:" + fluxCanary + ": hello there"},
		{"official model", "/v1/models/acme/flux/predictions", `{"input":{"prompt":"hi"}}`, "wait=2", fluxStable, 201, "processing", time.Second,
			"acme/flux:" + fluxStable + ": hi"},
		{"deployment", "/v1/deployments/acme/flux-canary/predictions", `{"input":{"prompt":"hi"}}`, "respond-async, wait=60", fluxCanary, 201,
			"processing", time.Second, "acme/flux:" + fluxCanary + ": hi"},
		{"streaming model", "/v1/predictions", createBodyOf("acme/chat"), "wait", chatStable, 201, "processing", time.Second,
			[]any{"acme/chat:" + chatStable + ":", " hello", " there"}},
		{"wait runs out", "/v1/predictions", createBodyOf(fluxCanary), "wait=1", fluxCanary, 202, "starting", time.Second, nil},
		{"wait that is not allowed", "/v1/predictions", createBodyOf(fluxCanary), "wait=61", fluxCanary, 201, "starting", 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				if tt.status == 202 {
					require.NoError(t, s.SetBehavior(tt.version, Behavior{Latency: Fixed(time.Minute)}))
				}
				began := time.Now()
				got := ask(s, "POST", tt.path, tt.body, "Prefer: "+tt.prefer)
				require.Equal(t, tt.took, time.Since(began))
				require.Equal(t, tt.status, got.status, "%s", got.body)
				prediction := got.object(t)
				require.Equal(t, tt.state, prediction["status"])
				require.Equal(t, tt.version, prediction["version"])
				require.NotContains(t, prediction, "metrics")
				require.NotContains(t, prediction, "completed_at")
				require.Equal(t, tt.output != nil, prediction["output"] != nil)
				require.Equal(t, tt.output, prediction["output"])
				if tt.output == nil {
					require.NotContains(t, prediction, "output")
				}
				entry := s.Log()[0]
				require.Equal(t, tt.version, entry.Version)
				require.Equal(t, prediction["id"], entry.Prediction)
			})
		})
	}
}

func TestCreateScalesTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t, func(o *Options) { o.Scale = 60 })
		require.NoError(t, s.SetBehavior(fluxStable, Behavior{Latency: Fixed(time.Minute)}))
		began := time.Now()
		require.Equal(t, 202, ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait").status)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestCreateFails(t *testing.T) {
	tests := []struct {
		name     string
		behavior Behavior
		status   int
	}{
		{"5xx", Behavior{ErrorRate: 1}, 500},
		{"5xx of a kind", Behavior{ErrorRate: 1, ErrorStatus: 503}, 503},
		{"422", Behavior{RejectRate: 1}, 422},
		{"failed", Behavior{FailedRate: 1}, 201},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			require.NoError(t, s.SetBehavior(fluxStable, tt.behavior))
			got := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait")
			require.Equal(t, tt.status, got.status)
			require.Equal(t, tt.status, s.Log()[0].Status)
			require.Equal(t, fluxStable, s.Log()[0].Version, "the log names the version that refused")
			if tt.status != 201 {
				require.Empty(t, s.Log()[0].Prediction)
				require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
				return
			}
			require.Equal(t, "failed", got.object(t)["status"])
			require.Equal(t, failureText, got.object(t)["error"])
			require.Nil(t, got.object(t)["output"])
			require.Contains(t, got.object(t), "metrics")
		})
	}
}

func TestResetClosesTheConnection(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.SetBehavior(fluxStable, Behavior{ResetRate: 1}))
	require.NoError(t, s.Start(""))
	r, err := http.NewRequest("POST", s.URL()+"/v1/predictions", strings.NewReader(createBodyOf(fluxStable)))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer r8_test")
	_, err = http.DefaultClient.Do(r)
	require.ErrorContains(t, err, "EOF")
	require.Eventually(t, func() bool { return s.Log()[0].Done }, time.Second, time.Millisecond)
	require.True(t, s.Log()[0].Reset)
	require.Zero(t, s.Log()[0].Status)
}

func TestOutputIsPadded(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.SetBehavior(fluxStable, Behavior{OutputBytes: 1 << 20}))
	got := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait")
	require.Len(t, got.object(t)["output"], 1<<20)
}

func TestOnlyNamedTokensPass(t *testing.T) {
	s := demo(t, func(o *Options) { o.Tokens = []string{"good"} })
	for header, status := range map[string]int{"Bearer good": 200, "Token good": 200, "Bearer bad": 401, "good": 401, "Basic good": 401} {
		require.Equal(t, status, ask(s, "GET", "/v1/account", "", "Authorization: "+header).status, header)
	}
}

func BenchmarkCreate(b *testing.B) {
	s, err := New(Options{Catalog: DemoCatalog()})
	require.NoError(b, err)
	body := createBodyOf(fluxStable)
	for b.Loop() {
		if got := ask(s, "POST", "/v1/predictions", body); got.status != 201 {
			b.Fatalf("status %d", got.status)
		}
	}
}
