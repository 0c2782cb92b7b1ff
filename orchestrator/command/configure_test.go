package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// withEdge makes a policy file the one in force.
func (b *bench) withEdge(text string) {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "perch.yaml")
	require.NoError(b.t, os.WriteFile(path, []byte(text), 0o600))
	b.env["PERCH_POLICY"] = path
}

// TestValidateEdge: a whole section, and one with a mistake in each field.
func TestValidateEdge(t *testing.T) {
	b := newBench(t)
	golden(t, "validate_edge.txt", b.do(0, "validate", "testdata/edge.yaml").stdout)
	r := b.do(2, "validate", "testdata/edge_bad.yaml")
	for _, problem := range []string{"line 3: edge.outcome: is not known here", "line 7: edge.targets.canary.url: is named by --canary", "line 2: edge.timeout_ms: ", "line 4: edge.fallback.on: "} {
		require.Contains(t, r.stdout, "testdata/edge_bad.yaml: "+problem)
	}
}

// TestEdgeThroughARollout: start writes the section, everything after it keeps
// it, and the next start keeps what its file leaves out.
func TestEdgeThroughARollout(t *testing.T) {
	b := newBench(t)
	b.env["PERCH_POLICY"] = "testdata/edge.yaml"
	b.start()
	written := *b.document()
	require.Equal(t, document.OutcomesWebhook, written.Outcomes)
	require.EqualValues(t, 45000, written.Targets[1].TimeoutMS)
	require.Equal(t, "person", written.Rules[0].Use)
	require.Equal(t, "secret:PERSON_KEY", written.Targets[2].Headers[0].Value)
	golden(t, "status_edge.txt", b.do(0, "status", "acme/flux").stdout)

	kept := func(name string) {
		t.Helper()
		d := *b.document()
		require.Equal(t, []any{written.Fallback, written.TimeoutMS, written.IdleTimeoutMS, written.Outcomes, written.Access, written.Rules},
			[]any{d.Fallback, d.TimeoutMS, d.IdleTimeoutMS, d.Outcomes, d.Access, d.Rules}, name)
		require.GreaterOrEqual(t, d.Target("person"), 0, name)
	}
	delete(b.env, "PERCH_POLICY")
	b.do(0, "set", "--percentage", "30", "acme/flux")
	kept("set")
	b.do(0, "resume", "acme/flux")
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	kept("step")
	b.do(0, "promote", "acme/flux")
	kept("promote")
	require.EqualValues(t, 45000, b.document().Targets[0].TimeoutMS, "the canary keeps its own")
	b.do(0, "rollback", "acme/flux")
	kept("rollback")
	require.Zero(t, b.document().Targets[0].TimeoutMS)
	b.do(0, "start", "--canary", "deployment=acme/flux-next", "acme/flux")
	kept("the next start")
	require.Zero(t, b.document().Targets[1].TimeoutMS, "a new canary has nothing of the old one")
}

func TestStartRefusesAnEdgeThatDoesNotFit(t *testing.T) {
	b := newBench(t)
	b.withEdge("edge:\n  targets:\n    person: {model: acme/person}\n  rules:\n    - {header: x-kind, equals: person, use: person}\n")
	r := b.do(2, "start", "--stable", "url=https://old.example", "--canary", "url=https://new.example", "http:qwen")
	require.Contains(t, r.stderr, "line 3: edge.targets.person: an http service needs a url")
	require.Empty(t, b.kv.values)
}

// TestConfigure: at once, without a new step, and for the history.
func TestConfigure(t *testing.T) {
	b := newBench(t).start()
	before := b.state()
	b.clock.advance(10 * time.Minute)
	require.Contains(t, b.do(2, "configure", "acme/flux").stderr, "the policy file has no section edge")
	b.withEdge("edge: {timeout_ms: 5000, targets: {canary: {timeout_ms: 7000}}}")
	plan := b.do(0, "configure", "--dry-run", "acme/flux")
	require.Contains(t, plan.stdout, `"timeout_ms":5000`)
	require.Zero(t, b.document().TimeoutMS)
	r := b.do(0, "configure", "acme/flux")
	require.Contains(t, r.stdout, "configure at 5 %: edge settings changed: targets, timeout_ms")
	b.requireAt(rollout.Running, 500)
	require.EqualValues(t, 5000, b.document().TimeoutMS)
	require.EqualValues(t, 7000, b.document().Targets[1].TimeoutMS)
	require.Equal(t, before.StepSince, b.state().StepSince, "the bake goes on")
	require.Equal(t, []rollout.Action{"start", "configure"}, b.actions())
	b.clock.advance(6 * time.Minute)
	b.do(0, "step", "acme/flux")
	b.requireAt(rollout.Running, 2000)
	require.EqualValues(t, 7000, b.document().Targets[1].TimeoutMS)
}

// TestConfigureWithoutARollout: the document alone changes.
func TestConfigureWithoutARollout(t *testing.T) {
	b := newBench(t)
	b.withEdge("edge: {outcomes: webhook}")
	b.do(6, "configure", "acme/flux")
	first := document.Document{Service: flux, Rollout: "initial", Generation: 3, Mode: document.ModeCanary, Salt: "initial",
		Targets: []document.Target{{Name: "stable", Version: oldID}}, User: document.User{Header: "x-user-id", Cookie: "perch-user"}}
	b.kv.values[flux.RolloutKey()] = first.Encode()
	r := b.do(0, "configure", "--json", "acme/flux")
	require.Equal(t, document.OutcomesWebhook, b.document().Outcomes)
	require.EqualValues(t, 4, b.document().Generation)
	var status struct{ Edge map[string]any }
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &status))
	require.Equal(t, map[string]any{"outcomes": "webhook"}, status.Edge)

	b.start()
	b.do(0, "rollback", "acme/flux")
	b.withEdge("edge: {outcomes: null}")
	b.do(0, "configure", "acme/flux")
	require.Empty(t, b.document().Outcomes)
	require.Zero(t, b.document().BasisPoints)
	b.do(4, "step", "acme/flux")
	require.Empty(t, b.document().Outcomes, "after its end a document is a person's")
}
