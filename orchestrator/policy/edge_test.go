package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

const edgeText = `
look: 30s
edge:
  timeout_ms: 5000
  idle_timeout_ms: 60000
  outcomes: webhook
  overrides: true
  user: {header: x-customer, from: token}
  fallback:
    on: [connect, 5xx, failed]
    breaker_failures: 0
  access:
    token: secret:REPLICATE_API_TOKEN
    keys:
      - {name: mobile, sha256: &digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    jwt: {algorithms: [RS256], jwks: https://issuer.example/jwks.json}
    rate_limit: LIMITER
  targets:
    canary:
      headers: {x-api-key: secret:NEXT_KEY}
      timeout_ms: 9000
    person: {url: https://person.example, headers: {x-api-key: secret:PERSON_KEY}, fallback: stable}
  rules:
    - {header: x-kind, equals: person, use: person}
`

func present() *document.Document {
	d := sample()
	d.TimeoutMS, d.Generation = 1234, 41
	d.Targets = append(d.Targets, document.Target{Name: "old", URL: "https://old.example"})
	return d
}

func TestEdge(t *testing.T) {
	p, err := Parse([]byte(edgeText))
	require.NoError(t, err)
	d, err := p.Edge.Apply(present())
	require.NoError(t, err)
	require.EqualValues(t, 41, d.Generation)
	require.EqualValues(t, 5000, d.TimeoutMS)
	require.EqualValues(t, 60000, d.IdleTimeoutMS)
	require.Equal(t, document.OutcomesWebhook, d.Outcomes)
	require.True(t, d.Overrides)
	require.Equal(t, document.User{Header: "x-customer", Cookie: document.DefaultUserCookie, From: document.FromToken}, d.User)
	require.Equal(t, document.OnConnect|document.On5xx|document.OnFailed, d.Fallback.On)
	require.Zero(t, d.Fallback.BreakerFailures)
	require.EqualValues(t, 1<<20, d.Fallback.MaxBodyBytes, "the rest of it is as by default")
	require.Equal(t, "secret:REPLICATE_API_TOKEN", d.Access.Token)
	require.Equal(t, "LIMITER", d.Access.RateLimit)
	require.Equal(t, []document.Target{
		{Name: "stable", URL: "https://stable.example"},
		{Name: "canary", URL: "https://canary.example", Headers: []document.Header{{Name: "x-api-key", Value: "secret:NEXT_KEY"}}, TimeoutMS: 9000},
		{Name: "old", URL: "https://old.example"},
		{Name: "person", URL: "https://person.example", Headers: []document.Header{{Name: "x-api-key", Value: "secret:PERSON_KEY"}}, Fallback: "stable"},
	}, d.Targets)
	again, err := p.Edge.Apply(d)
	require.NoError(t, err)
	require.Equal(t, d, again)
}

// TestEdgeKeeps: what is not given stays, and null takes away.
func TestEdgeKeeps(t *testing.T) {
	d := present()
	for _, text := range []string{"", "edge:\n", "edge: {}"} {
		p, err := Parse([]byte(text))
		require.NoError(t, err)
		require.True(t, p.Edge.IsEmpty())
		same, err := p.Edge.Apply(d)
		require.NoError(t, err)
		require.Same(t, d, same)
	}
	d.Outcomes, d.Access = document.OutcomesWebhook, &document.Access{RateLimit: "LIMITER"}
	d.Targets[1].TimeoutMS = 700
	p, err := Parse([]byte("edge: {timeout_ms: null, access: ~, targets: {old: null, canary: {timeout_ms: null}}}"))
	require.NoError(t, err)
	d, err = p.Edge.Apply(d)
	require.NoError(t, err)
	require.Zero(t, d.TimeoutMS)
	require.Nil(t, d.Access)
	require.Equal(t, document.OutcomesWebhook, d.Outcomes)
	require.Equal(t, sample().Targets, d.Targets)
}

// TestEdgeAfterAPromotion: settings of a canary that is not there wait for one.
func TestEdgeAfterAPromotion(t *testing.T) {
	p, err := Parse([]byte(edgeText))
	require.NoError(t, err)
	d := present()
	d.Targets = d.Targets[:1]
	d, err = p.Edge.Apply(d)
	require.NoError(t, err)
	require.Negative(t, d.Target(document.Canary))
}

func TestEdgeProblems(t *testing.T) {
	requireProblems(t, []problemCase{
		{"unknown field", "look: 1m\nedge:\n  timeout: 5s", "line 3: edge.timeout: is not known here; the fields are targets, rules, user"},
		{"the rollout's own field", "edge: {percentage: 50}", "line 1: edge.percentage: is not known here"},
		{"unknown nested field", "edge:\n  fallback:\n    onn: [connect]", "line 3: edge.fallback.onn: "},
		{"unknown cause", "edge:\n  fallback:\n    on: [connect,\n      4xx]", "line 3: edge.fallback.on: "},
		{"time out of range", "edge:\n\n  timeout_ms: 0", "line 3: edge.timeout_ms: "},
		{"time as a duration", "edge: {timeout_ms: 5s}", "line 1: edge.timeout_ms: "},
		{"held token without a door", "edge:\n  access: {token: secret:TOKEN}", "line 2: edge.access.token: "},
		{"the worker's own secret", "edge:\n  access:\n    token: secret:PERCH_SEAL_KEY", "line 3: edge.access.token: "},
		{"a key's digest", "edge:\n  access:\n    keys:\n      - name: a\n        sha256: abc", "line 5: edge.access.keys[0].sha256: "},
		{"a rule without its target", "edge:\n  rules:\n    - {header: a, equals: b, use: nobody}", "line 3: edge.rules[0].use: "},
		{"a target's header", "edge:\n  targets:\n    person:\n      url: https://a.example\n      headers:\n        host: b", "line 6: edge.targets.person.headers.host: "},
		{"canary named by file", "edge:\n  targets:\n    canary:\n      url: https://a.example", "line 4: edge.targets.canary.url: is named by --canary, not here"},
		{"outcomes", "edge: {outcomes: all}", "line 1: edge.outcomes: "},
		{"twice", "edge:\n  user: {header: a}\n  user: {header: b}", "line 3: edge.user: is there twice"},
		{"twice below", "edge:\n  user:\n    header: a\n    header: b", "line 4: edge.user.header: is there twice"},
		{"not a mapping", "edge: [1]", "line 1: edge: write fields and their values here"},
		{"a list for a field", "edge: {user: [1]}", "line 1: edge.user: "},
		{"targets not a mapping", "edge: {targets: 5}", "line 1: edge.targets: "},
		{"a target not a mapping", "edge: {targets: {canary: 5}}", "line 1: edge.targets.canary: "},
	})
}
