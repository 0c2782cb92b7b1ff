package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/plan"
	rules "perch/orchestrator/policy"
	"perch/shared/document"
)

// scaled judges seconds as others do minutes.
const scaled = `interval: 1s
look: 200ms
bake: 6s
window: 3s
reference: 6s
history: 12s
cold_start: 0s
spread: 0s
lag: 1s
expire: 2s
deadline: 5m
steps: auto
`

// TestPlanOfTraffic: start measures what stable served through the worker, says
// what the steps can detect, and lays them by it.
func TestPlanOfTraffic(t *testing.T) {
	const model = "acme/planned"
	w := newWorld(t, worldOptions{Models: []string{model}})
	stable, canary := model+":"+versionID(model, document.Stable), model+":"+versionID(model, document.Canary)
	w.orchestrate(exitDone, scaled, "init", "--stable", "version="+stable, model)
	start := []string{"start", "--canary", "version=" + canary, "--json"}

	quiet := w.planOf(scaled, append(start, "--dry-run", model)...)
	require.Zero(t, quiet.Plan.Traffic.PerMinute)
	require.Equal(t, rules.ApproveInstead, quiet.Plan.Steps[0].Approve, "nothing is known: a person decides")

	w.traffic(model)
	var seen started
	require.Eventually(t, func() bool {
		r := w.finish(w.command(w.stack.API, scaled, append(start, "--dry-run", model)...))
		if r.exit == exitRefused { // before the first whole interval
			return false
		}
		return r.exit == exitDone && json.Unmarshal([]byte(r.stdout), &seen) == nil && seen.Plan.Traffic.PerMinute > 2_500
	}, 60*time.Second, 200*time.Millisecond)
	require.Greater(t, seen.Plan.Traffic.Users, 10.0)
	require.Less(t, seen.Plan.Traffic.TopUser, 0.5)
	require.Positive(t, seen.Plan.Steps[0].LeastErrors)

	begun := w.planOf(scaled, append(start, model)...)
	require.Empty(t, begun.Plan.Steps[0].Approve)
	require.Equal(t, begun.Policy.Steps[0].BasisPoints, w.document(model).BasisPoints, "the laid steps are those of the rollout")
	require.Equal(t, begun.Plan.Steps[0].BasisPoints, begun.Policy.Steps[0].BasisPoints)
}

// started is what start tells in JSON.
type started struct {
	Plan   plan.Plan    `json:"plan"`
	Policy rules.Policy `json:"policy"`
}

func (w *world) planOf(policy string, args ...string) (s started) {
	w.Helper()
	r := w.orchestrate(exitDone, policy, args...)
	require.NoError(w, json.Unmarshal([]byte(r.stdout), &s), r.stdout)
	require.Empty(w, s.Plan.Problem)
	return s
}
