package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
)

// TestSecretsStaySecret: whatever clients do and upstreams fail at, neither
// Perch's secrets nor what clients prove themselves with shows in an answer, in
// the log, in analytics or in KV.
func TestSecretsStaySecret(t *testing.T) {
	const hmacSecret = "an-hmac-secret-of-more-than-32-bytes"
	secrets := map[string]string{
		"JWT_KEY": hmacSecret, "GATEWAY_KEY": "gateway-secret", "MODEL_KEY": "model-secret",
		"PERCH_SEAL_KEY_PREVIOUS": sealed32("previous"),
	}
	w := heldWorld(t, worldOptions{
		Models: []string{"acme/held", "acme/own", "acme/gone"}, Secrets: secrets, Limits: []string{"LIMITER:2:60"},
		Vars: map[string]string{"REPLICATE_HEADERS": `{"cf-aig-authorization":"secret:GATEWAY_KEY"}`},
	})
	i := w.newIssuer()
	o := w.origin(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("x-echo", fmt.Sprint(r.Header))
		if strings.HasSuffix(r.URL.Path, "/reset") {
			panic(http.ErrAbortHandler)
		}
	})
	held := rollout("acme/held", 5000)
	held.Access = heldAccess("mobile")
	held.Access.JWT = i.jwtAccess().JWT
	gone := rollout("acme/gone", 10_000)
	gone.Access = heldAccess("mobile")
	gone.Access.RateLimit = "LIMITER"
	gone.Access.Token = "secret:LOST_TOKEN"
	own := w.httpRollout("own", 10_000)
	own.Targets[1] = document.Target{Name: document.Canary, URL: o.url, Headers: []document.Header{{Name: "x-model-key", Value: "secret:MODEL_KEY"}}}
	own.Targets[0] = own.Targets[1]
	own.Targets[0].Name = document.Stable
	own.Overrides = true
	for _, d := range []document.Document{held, gone, own} {
		w.write(d)
	}
	alice, stranger := i.token("RS256", "one", nil), i.token("RS256", "two", nil)
	tokens := []string{"mobile-key", alice, stranger, i.token("none", "one", nil), "client-token-of-nobody", "client-key-" + pad(9_000)}
	testers := []string{tester("http:own", ""), tester("http:other", ""), tester("http:own", "canary") + "x"}
	var seen []string
	see := func(c call) reply {
		r := w.do(c)
		text, err := json.Marshal(r)
		require.NoError(t, err)
		seen = append(seen, string(text))
		return r
	}
	for _, token := range tokens {
		for _, header := range []string{"authorization", "x-api-key", "x-perch-authorization", "cookie"} {
			headers := map[string]string{"authorization": "", "prefer": "wait"}
			headers[header] = token
			if header != "x-api-key" {
				headers[header] = "Bearer " + token
			}
			for _, c := range []call{
				{Path: "/v1/models/acme/held/predictions", Body: `{"input":{"prompt":"x"}}`},
				{Path: "/v1/models/acme/held/predictions", Body: `{"input":`},
				{Path: "/v1/models/acme/gone/predictions", Body: `{"input":{}}`},
				{Path: "/own/x"}, {Path: "/own/reset"},
				{Method: "GET", Path: "/v1/predictions/abc?perch=" + testers[0]},
				{Method: "GET", Path: "/_perch/variant?service=acme/held"},
			} {
				c.Headers = headers
				see(c)
			}
		}
	}
	for _, token := range testers {
		see(call{Path: "/@canary/own/x", Headers: map[string]string{"x-perch-tester": token}})
		see(call{Path: "/own/x", Headers: map[string]string{"cookie": "perch-tester=" + token}})
	}
	made := see(call{Path: "/v1/models/acme/held/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: bearer(alice)})
	require.Equal(t, 201, made.Status, made.Body)
	require.Positive(t, o.arrivals())
	w.awaitLog(made.Header.Get("x-perch-trace"))

	told := map[string]string{"answers": strings.Join(seen, "\n"), "log": w.stack.Log(), "points": w.allPoints(), "KV": w.allKeys()}
	require.Less(t, len(told["log"]), 64<<10, "the log is kept whole")
	for name, want := range map[string]string{"answers": "an API key or a JWT that Perch knows", "log": "LOST_TOKEN", "points": "model:acme/held", "KV": "secret:MODEL_KEY"} {
		require.Contains(t, told[name], want, "%s say nothing at all", name)
	}
	hidden := map[string]string{"the held token": heldToken, "the sealing key": sealKey.Text()}
	for name, value := range secrets {
		hidden[name] = value
	}
	for n, token := range tokens {
		hidden[fmt.Sprintf("token %d", n)] = token[:min(len(token), 600)]
		if parts := strings.Split(token, "."); len(parts) == 3 && parts[2] != "" {
			hidden[fmt.Sprintf("signature %d", n)] = parts[2]
		}
	}
	for where, text := range told {
		for what, secret := range hidden {
			require.NotContains(t, text, secret, "%s shows in %s", what, where)
		}
		if where != "KV" {
			require.NotContains(t, text, "alice", "a user's ID shows in %s", where)
		}
	}
}

func sealed32(text string) string { return encoded([]byte((text + strings.Repeat(".", 32))[:32])) }

// allPoints are the analytics points as SQL gives them, once all are there.
func (w *world) allPoints() string {
	w.Helper()
	_, err := w.stack.Flush(w.Context())
	require.NoError(w, err)
	s := w.stack
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Dataset: s.Dataset})
	var text string
	require.Eventually(w, func() bool {
		rows, err := analytics.Query(w.Context(), "SELECT * FROM "+s.Dataset)
		text = fmt.Sprint(rows)
		return err == nil && len(rows) > 0
	}, 5*time.Second, 20*time.Millisecond)
	return text
}

func (w *world) allKeys() string {
	w.Helper()
	values, err := w.stack.KVValues(w.Context())
	require.NoError(w, err)
	return fmt.Sprint(values)
}
