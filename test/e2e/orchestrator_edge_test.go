package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/seal"
)

// TestDoctorLooksAtTheEdge: the keys on both sides, and what documents name.
func TestDoctorLooksAtTheEdge(t *testing.T) {
	const model = "acme/looked"
	w := newWorld(t, worldOptions{Models: []string{model}, Limits: []string{"LIMITER:100:60"},
		Secrets: map[string]string{"REPLICATE_TOKEN": "test-token"}})
	whole := wide + `edge:
  targets: {canary: {headers: {x-api-key: secret:REPLICATE_TOKEN}}}
  access: {rate_limit: LIMITER}
`
	w.begin(model, whole)
	w.predict(0, model, "user")
	w.points(w.predict(0, model, "user").Header.Get("x-perch-trace"))
	r := w.orchestrate(exitDone, whole, "doctor")
	require.Contains(t, r.stdout, "key "+sealKey.ID()+", here and in the worker\n")
	require.Contains(t, r.stdout, "the worker has REPLICATE_TOKEN\n")
	require.Contains(t, r.stdout, "the worker has LIMITER\n")

	broken := wide + `edge:
  outcomes: webhook
  targets: {canary: {headers: {x-api-key: secret:ABSENT}}}
  access: {rate_limit: NOWHERE}
`
	w.orchestrate(exitDone, broken, "configure", model)
	cmd := w.command(w.stack.API, broken, "doctor")
	cmd.Env = append(cmd.Env, "PERCH_SEAL_KEY="+seal.NewKey([seal.KeyBytes]byte{9}).Text())
	r = w.finish(cmd)
	require.Equal(t, 1, r.exit)
	for _, text := range []string{
		"is not the worker's, " + sealKey.ID(), "no secret ABSENT, which model:" + model + " names", "no secret REPLICATE_WEBHOOK_SECRET", "no rate limit NOWHERE",
	} {
		require.Contains(t, r.stdout, text)
	}
	require.NotContains(t, r.stdout, sealKey.Text())
}

// TestInitRotatesTheKey: through Cloudflare's API, the former key first.
func TestInitRotatesTheKey(t *testing.T) {
	w := newWorld(t, worldOptions{})
	r := w.orchestrate(exitDone, wide, "init")
	require.Contains(t, r.stdout, "the worker has a key that seals what clients bring back\n")
	r = w.orchestrate(exitDone, wide, "init", "--rotate-seal-key")
	require.Contains(t, r.stdout, "set the worker's secret PERCH_SEAL_KEY: key ")
	require.Contains(t, r.stdout, "the former key is kept as PERCH_SEAL_KEY_PREVIOUS")
	require.NotContains(t, r.stdout, sealKey.Text())
}

// TestEdgeSettingsReachTheEdge: a time limit that configure writes holds.
func TestEdgeSettingsReachTheEdge(t *testing.T) {
	const model = "acme/edged"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.begin(model, wide)
	before := w.document(model)
	w.orchestrate(exitDone, wide+"edge: {overrides: true, rules: [{header: x-tier, equals: gold, use: canary}]}\n", "configure", model)
	after := w.document(model)
	require.Equal(t, before.BasisPoints, after.BasisPoints)
	require.Equal(t, before.Rollout, after.Rollout)
	require.Greater(t, after.Generation, before.Generation)
	require.Eventually(t, func() bool {
		r := w.do(call{Method: "GET", Path: "/_perch/variant?service=" + model, Headers: map[string]string{"x-tier": "gold"}})
		return strings.Contains(r.Body, `"reason":"rule"`) && strings.Contains(r.Body, `"variant":"`+document.Canary+`"`)
	}, 2*settled, settled/20)
	status := w.orchestrate(exitDone, wide, "status", model)
	require.Contains(t, status.stdout, "edge        x-tier: gold goes to canary\n")
}
