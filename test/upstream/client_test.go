package upstream

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runClient runs a script of testdata with the Node and the replicate package of the tree, which `npm ci` installs.
func runClient(t *testing.T, script string, args ...string) []byte {
	t.Helper()
	node, err := filepath.Abs("../../node_modules/.bin/node")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{filepath.Join("testdata", script)}, args...)...)
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		t.Fatalf("%s: %v\n%s", script, err, exit.Stderr)
	}
	require.NoError(t, err, "run `npm ci` first")
	return out
}

func TestOfficialClient(t *testing.T) {
	failing := VersionID("acme/flux", "failing")
	s := demo(t, func(o *Options) {
		o.Catalog.Versions = append(o.Catalog.Versions, Version{Model: "acme/flux", ID: failing, Behavior: Behavior{FailedRate: 1}})
		for i := range o.Catalog.Versions {
			o.Catalog.Versions[i].Behavior.Latency = Fixed(30 * time.Millisecond)
			if o.Catalog.Versions[i].Streams {
				o.Catalog.Versions[i].Behavior.Latency = Fixed(600 * time.Millisecond)
			}
		}
	})
	require.NoError(t, s.Start(""))
	var seen struct {
		Official, ByVersion, Polled, Failed, FailedPolled, Models string
		Deployment, Canceled                                      struct{ ID, Status, Output, Version string }
		Streamed                                                  []struct {
			Event, Data string
			At          float64
		}
		Refused, Listed int
		Account         struct{ Username string }
		Versions        []string
	}
	require.NoError(t, json.Unmarshal(runClient(t, "client.mjs", s.URL()+"/v1", fluxStable, fluxCanary, failing), &seen))

	require.Equal(t, "acme/flux:"+fluxStable+": hello there", seen.Official)
	require.Equal(t, "acme/flux:"+fluxCanary+": hello there", seen.ByVersion)
	require.Equal(t, seen.ByVersion, seen.Polled)
	require.Equal(t, seen.ByVersion, seen.Deployment.Output)
	require.Equal(t, "succeeded", seen.Deployment.Status)
	require.Equal(t, "canceled", seen.Canceled.Status)
	require.Equal(t, "Prediction failed: "+failureText, seen.Failed)
	require.Equal(t, seen.Failed, seen.FailedPolled)
	require.Equal(t, 422, seen.Refused)
	require.Equal(t, "acme", seen.Account.Username)
	require.Equal(t, fluxStable, seen.Models)
	require.Equal(t, []string{fluxStable, fluxCanary, failing}, seen.Versions)
	require.Equal(t, 8, seen.Listed)

	var text string
	require.Len(t, seen.Streamed, 4)
	for _, e := range seen.Streamed[:3] {
		require.Equal(t, "output", e.Event)
		text += e.Data
	}
	require.Equal(t, "acme/chat:"+chatStable+": hello there", text)
	require.Equal(t, "done", seen.Streamed[3].Event)
	require.Greater(t, seen.Streamed[2].At-seen.Streamed[0].At, 100.0, "tokens come 200 ms apart, not all at the end")

	first := s.Log()[0]
	require.Equal(t, "/v1/models/acme/flux/predictions", first.Path)
	require.Equal(t, "wait", first.Header.Get("Prefer"))
	require.Equal(t, "Bearer r8_test", first.Header.Get("Authorization"))
}

// The client asks for everything else too, page by page, and believes the webhooks.
func TestOfficialClientWithoutModels(t *testing.T) {
	s := demo(t, func(o *Options) { o.PageSize, o.AllowHTTPWebhooks = 2, true })
	require.NoError(t, s.SetBehavior(fluxCanary, Behavior{Queue: Fixed(20 * time.Millisecond), Latency: Fixed(50 * time.Millisecond)}))
	require.NoError(t, s.Start(""))
	require.JSONEq(t, `{
		"file": {"size": 5, "type": "text/plain", "customer": 7}, "files": 1, "sameFile": true, "deleted": true,
		"updated": {
			"number": 2, "model": "acme/flux", "version": "`+fluxCanary+`", "created_at": "T",
			"created_by": {"type": "organization", "username": "acme", "name": "Acme, Inc.",
				"avatar_url": "https://github.com/acme.png", "github_url": "https://github.com/acme"},
			"configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
		},
		"deployments": 2, "undeployed": true, "hardware": 6, "collections": 2, "collection": 2, "model": "new", "models": 2,
		"found": ["flux"], "training": "canceled", "trainings": 1, "paged": 5,
		"webhooks": [{"genuine": true, "status": "starting"}, {"genuine": true, "status": "succeeded"}]
	}`, anyTime.ReplaceAllString(string(runClient(t, "account.mjs", s.URL()+"/v1", fluxStable, fluxCanary)), `"created_at":"T"`))
}

var anyTime = regexp.MustCompile(`"created_at":"[^"]*"`)
