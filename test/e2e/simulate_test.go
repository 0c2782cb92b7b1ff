package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// replayPolicy judges by evidence, in seconds for minutes. Its latency limits are
// wide, because a busy machine makes latencies of its own.
const replayPolicy = `steps: [20, 50, 100]
interval: 1s
look: 1s
bake: 5s
window: 5s
reference: 5s
history: 1m
cold_start: 0s
spread: 2s
lag: 1s
deadline: 60s
unattended_after: 60s
edge: {fallback: {breaker_failures: 0}}
metrics:
  latency_p50: {rollback: {relative: 50}, promote: {relative: 40}}
  latency_p95: {rollback: {relative: 50}, promote: {relative: 40}}
  total_p50: {rollback: {relative: 50}, promote: {relative: 40}}
  total_p95: {rollback: {relative: 50}, promote: {relative: 40}}
`

// TestReplay: simulate judges a recorded rollout that nobody judged while it ran,
// and tries its traffic with other canaries.
func TestReplay(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/replayed"}})
	bad := upstream.Behavior{Latency: upstream.Fixed(2 * time.Millisecond), ErrorRate: 0.3}
	require.NoError(t, w.upstream.SetBehavior(versionID("acme/replayed", document.Canary), bad))
	from := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	w.begin("acme/replayed", replayPolicy)
	w.traffic("acme/replayed")

	var got struct {
		Rollout string `json:"rollout"`
		Events  []struct {
			Percentage float64 `json:"percentage"`
			Decision   string  `json:"decision"`
			Reason     string  `json:"reason"`
		} `json:"events"`
		Rows []struct {
			Scenario   string  `json:"scenario"`
			Rate       float64 `json:"requests_per_minute"`
			Runs       int     `json:"runs"`
			RolledBack int     `json:"rolled_back"`
		} `json:"rows"`
	}
	require.Eventually(t, func() bool {
		r := w.finish(w.command(w.stack.API, replayPolicy, "simulate", "--replay", "--json", "--runs", "5", "--from", from, "acme/replayed"))
		if r.exit == exitRefused { // no traffic has been seen yet
			return false
		}
		require.Equal(t, exitDone, r.exit, r.stderr)
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &got), r.stdout)
		return len(got.Events) > 0
	}, 60*time.Second, time.Second)
	require.Equal(t, w.document("acme/replayed").Rollout, got.Rollout)
	require.Equal(t, "rollback", got.Events[0].Decision)
	require.Equal(t, 20.0, got.Events[0].Percentage)
	require.Contains(t, got.Events[0].Reason, "error rate")
	require.Equal(t, "healthy", got.Rows[0].Scenario)
	require.Equal(t, 5, got.Rows[0].Runs)
	require.Greater(t, got.Rows[0].Rate, 1_000.0)
	require.Equal(t, 2000, w.document("acme/replayed").BasisPoints, "a replay changes nothing")
}
