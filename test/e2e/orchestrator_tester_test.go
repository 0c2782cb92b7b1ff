package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/seal"
)

// TestTesterTokens: what orchestrator tester prints chooses the variant, until it
// expires, for its service alone, and only with the worker's key.
func TestTesterTokens(t *testing.T) {
	const model = "acme/tested"
	w := newWorld(t, worldOptions{Models: []string{model, "acme/other"}})
	for _, model := range []string{model, "acme/other"} {
		d := rollout(model, 0)
		d.Overrides = true
		w.write(d)
		w.awaitVariant(0, model, "user", document.Stable)
	}
	ask := func(model, token string) reply {
		return w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"x"}}`,
			Headers: map[string]string{"prefer": "wait", "x-user-id": "user", "x-perch-tester": token}})
	}
	tester := func(args ...string) string {
		return strings.TrimSpace(w.orchestrate(exitDone, wide, append([]string{"tester"}, args...)...).stdout)
	}
	token := tester("--variant", "canary", "--for", "1h", model)
	require.Equal(t, document.Canary, ask(model, token).variant())
	require.Equal(t, versionID(model, document.Canary), last(w.upstream.Log()).Version)
	cookie := w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: map[string]string{"cookie": "perch-tester=" + token}})
	require.Equal(t, document.Canary, cookie.variant())

	brief := tester("--for", "1s", model)
	var other string
	cmd := w.command(w.stack.API, wide, "tester", "--json", model)
	cmd.Env = append(cmd.Env, "PERCH_SEAL_KEY="+seal.NewKey([seal.KeyBytes]byte{9}).Text())
	var printed struct{ Token string }
	require.NoError(t, json.Unmarshal([]byte(w.finish(cmd).stdout), &printed))
	other = printed.Token
	require.Eventually(t, func() bool { return ask(model, brief).Status == 403 }, 5*time.Second, 50*time.Millisecond)
	for _, tt := range []struct{ name, model, token, why string }{
		{"expired", model, brief, "expired"},
		{"another service's", "acme/other", token, "another service"},
		{"made with another key", model, other, "a key that this worker does not hold"},
		{"altered", model, token[:len(token)-2] + "AA", "altered"},
		{"none", model, "let-me-in", "not a seal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := len(w.upstream.Log())
			r := ask(tt.model, tt.token)
			require.Equal(t, 403, r.Status, r.Body)
			require.Contains(t, r.Body, tt.why)
			require.Len(t, w.upstream.Log(), asked, "nothing reaches an upstream")
		})
	}
}
