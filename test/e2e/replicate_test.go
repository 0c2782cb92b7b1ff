package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// TestReplicateClient: the unmodified npm client works through the worker, by
// model and by pinned version, and canary users' predictions run on the canary.
func TestReplicateClient(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/flux"}})
	w.write(rollout("acme/flux", 5000))
	w.alias("acme/flux")
	for _, form := range []string{"acme/flux", "acme/flux:" + versionID("acme/flux", document.Stable)} {
		t.Run(form, func(t *testing.T) {
			w.upstream.ClearLog()
			const users = 40
			outputs := w.runClient(form, users)
			require.Len(t, outputs, users)
			ran := w.ranOn(w.upstream.Log())
			canaries := 0
			for user, output := range outputs {
				variant := w.variantOf("model:acme/flux", user)
				require.Equal(t, versionID("acme/flux", variant), ran[user], "%s is on %s", user, variant)
				require.Contains(t, output, ran[user], "the client got another version's output")
				if variant == document.Canary {
					canaries++
				}
			}
			require.Greater(t, canaries, 0)
			require.Less(t, canaries, users)
		})
	}
}

// runClient runs a model once per user through npm's replicate and returns the outputs.
func (w *world) runClient(form string, users int) map[string]string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "../../node_modules/.bin/node", "testdata/run.mjs", w.stack.Places[0].URL+"/v1", form, strconv.Itoa(users))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(w, err, stderr.String())
	var outputs map[string]string
	require.NoError(w, json.Unmarshal(out, &outputs))
	return outputs
}

// variantOf asks the worker who would serve a user.
func (w *world) variantOf(service, user string) string {
	w.Helper()
	r := w.do(call{Method: "GET", Path: "/_perch/variant?service=" + service, Headers: map[string]string{"x-user-id": user}})
	require.Equal(w, 200, r.Status, r.Body)
	var answer struct{ Variant string }
	require.NoError(w, json.Unmarshal([]byte(r.Body), &answer))
	return answer.Variant
}
