package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// TestTraceTellsTheStory: of a request that stable rescued, by the trace that its
// answer names; and of a prediction that failed, by its id, with the logs that
// Replicate keeps.
func TestTraceTellsTheStory(t *testing.T) {
	const model = "acme/story"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	w.awaitVariant(0, model, "user", document.Canary)
	canary := versionID(model, document.Canary)

	require.NoError(t, w.upstream.SetFault(canary, upstream.Fault{Name: upstream.FaultStatus, Status: 503}))
	r := w.predict(0, model, "user")
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, document.Stable, r.Header.Get("x-perch-served-by"))
	w.upstream.ClearFaults()
	id := r.Header.Get("x-perch-trace")
	story := w.traced(id, "canary (percentage), served by stable")
	require.Contains(t, story.stdout, "error: http, status 503")
	require.Contains(t, story.stdout, "trace "+id+"\n  model:"+model+"  rollout r1\n")

	require.NoError(t, w.upstream.SetFault(canary, upstream.Fault{Name: upstream.FaultFailed}))
	made := w.createAt(0, model, map[string]string{"x-user-id": "user"})
	w.awaitEnd(made.ID)
	require.Equal(t, 200, w.do(call{Method: "GET", Path: "/v1/predictions/" + made.ID}).Status)
	story = w.traced(made.ID, "prediction "+made.ID+" failed")
	require.Contains(t, story.stdout, "prediction "+made.ID+" at Replicate: failed\n")
	require.Regexp(t, `(?m)^  error +\S`, story.stdout)
	var all struct {
		Points      []struct{ Kind, Variant, Ended, Trace string }
		Predictions []struct{ Prediction struct{ Status string } }
	}
	asJSON := w.orchestrate(exitDone, wide, "trace", "--json", made.ID)
	require.NoError(t, json.Unmarshal([]byte(asJSON.stdout), &all))
	require.Len(t, all.Points, 2)
	require.Equal(t, "failed", all.Predictions[0].Prediction.Status)
	require.Equal(t, all.Points[0].Trace, all.Points[1].Trace, "the end is a part of the create's trace")
	require.NotContains(t, story.stdout+asJSON.stdout, "test-token")

	gone := w.finish(w.command(w.stack.API, wide, "trace", strings.Repeat("0", 32)))
	require.Equal(t, 1, gone.exit)
	require.Contains(t, gone.stderr, "nothing is known of trace 0000")
}

// traced is what the command trace says, once it says the text: points come a
// little after their answers.
func (w *world) traced(id, text string) (r result) {
	w.Helper()
	require.Eventually(w, func() bool {
		r = w.finish(w.command(w.stack.API, wide, "trace", id))
		return strings.Contains(r.stdout, text)
	}, 10*time.Second, 50*time.Millisecond, "trace %s never says %q: %s%s", id, text, r.stdout, r.stderr)
	return r
}
