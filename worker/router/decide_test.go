package router

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/worker/wasmtest/scenario"
)

func parse(t testing.TB, text string) *document.Document {
	t.Helper()
	d, err := document.Parse([]byte(text))
	require.NoError(t, err, text)
	return d
}

func TestDecide(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "decide.txt"), scenario.DecideFields...) {
		t.Run(c.Intent, func(t *testing.T) {
			s := c.Decide(t)
			state := State{Document: parse(t, s.Document), Halted: s.Halted}
			q := Request{Identity: s.Identity, Header: s.Header, Cookie: s.Cookie, Client: s.Client, Random: s.Random, Override: s.Override, Rules: s.Rules}
			d := Decide(state, &q, s.NowMS)
			target := &state.Targets[d.Target]
			got := []string{target.Name, d.Reason, "bucket", strconv.Itoa(d.Bucket)}
			if d.New {
				got = append(got, "new")
			}
			if edit := EditFor(target, Endpoint(s.Endpoint), s.Version); edit == EditSet {
				got = append(got, "set")
			}
			require.Equal(t, c.Want, strings.Join(got, " "), c.Where)
		})
	}
}

// TestDecideRulesUnread: a host that hands over fewer values than there are
// rules loses the rules, not the request.
func TestDecideRulesUnread(t *testing.T) {
	d := parse(t, `{"schema":1,"service":"acme/flux","rollout":"r","mode":"canary","percentage":0,"salt":"s",
		"targets":{"stable":{"model":"acme/flux"},"canary":{"model":"acme/next"}},"rules":[{"header":"x","equals":"1","use":"canary"}]}`)
	require.Equal(t, 1, Decide(State{Document: d}, &Request{Rules: []string{"1"}}, 0).Target)
	require.Equal(t, 0, Decide(State{Document: d}, &Request{}, 0).Target)
}

func TestEditFor(t *testing.T) {
	id, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	full, bare := document.Target{Version: "acme/flux:" + id}, document.Target{Version: id}
	deployment, model := document.Target{Deployment: "acme/next"}, document.Target{Model: "acme/next"}
	url := document.Target{URL: "https://flux.example"}
	tests := []struct {
		name     string
		target   document.Target
		endpoint Endpoint
		version  string
		want     Edit
	}{
		{"the same version", full, EndpointPredictions, "acme/flux:" + id, EditNone},
		{"the same id", full, EndpointPredictions, id, EditNone},
		{"the same id under a bare target", bare, EndpointPredictions, "acme/flux:" + id, EditNone},
		{"another id", full, EndpointPredictions, other, EditSet},
		{"another id of the model", full, EndpointPredictions, "acme/flux:" + other, EditSet},
		{"the model alone", full, EndpointPredictions, "acme/flux", EditSet},
		{"unread", full, EndpointPredictions, "", EditSet},
		{"named has no version to begin with", full, EndpointNamed, "", EditSet},
		{"a deployment takes no version", deployment, EndpointPredictions, id, EditRemove},
		{"a deployment, unread", deployment, EndpointPredictions, "", EditRemove},
		{"a model takes no version", model, EndpointPredictions, id, EditRemove},
		{"a deployment by its own path", deployment, EndpointNamed, "", EditNone},
		{"a model by its own path", model, EndpointNamed, "", EditNone},
		{"a model server instead of a version", url, EndpointPredictions, id, EditRemove},
		{"a model server instead of a model", url, EndpointNamed, "", EditNone},
		{"bodies of http services are their own", url, EndpointHTTP, "", EditNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, EditFor(&tt.target, tt.endpoint, tt.version))
		})
	}
}

func TestReplicatePath(t *testing.T) {
	tests := []struct {
		name   string
		target document.Target
		want   string
	}{
		{"version", document.Target{Version: "acme/flux:" + strings.Repeat("a", 64)}, "/predictions"},
		{"deployment", document.Target{Deployment: "acme/flux"}, "/deployments/acme/flux/predictions"},
		{"model", document.Target{Model: "acme/flux"}, "/models/acme/flux/predictions"},
		{"model server", document.Target{URL: "https://flux.example"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, ReplicatePath(&tt.target))
		})
	}
}
