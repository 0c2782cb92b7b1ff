package e2e

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// clientService is one service that clients use, its canary at 100 %, and what is
// wrong with that canary.
type clientService struct {
	name   string
	kind   string                    // of the canary: version, deployment, url, refused
	fault  *upstream.Fault           // of the canary, for as long as it lasts
	on     document.Causes           // when stable answers in its place
	causes []string                  // that x-perch-fallback may name; none where the canary answers
	only   func(clientScenario) bool // that are tried
	hooks  bool                      // outcomes are learnt by webhook
}

func (s clientService) model() string { return "acme/" + s.name }

// clientWorld is what the clients run in.
type clientWorld struct {
	*world
	clients  *clients
	receiver *receiver
	refused  string // URL
}

// clientScale makes the second that the AI SDK is told to wait shorter than a prediction takes.
const clientScale = 20

func newClientWorld(t *testing.T, services []clientService) *clientWorld {
	t.Helper()
	w := &clientWorld{receiver: newReceiver(t)}
	known, err := upstream.New(upstream.Options{Seed: 1}) // whose secret is that of every seed 1
	require.NoError(t, err)
	o := worldOptions{
		Trust: w.receiver.trust, Vars: map[string]string{"PERCH_PRIVATE_WEBHOOKS": "1"},
		Secrets: map[string]string{"REPLICATE_WEBHOOK_SECRET": known.WebhookSecret()},
	}
	for _, s := range services {
		o.Models = append(o.Models, s.model(), s.model()+"-image")
	}
	o.Upstream = func(o *upstream.Options) {
		o.AllowHTTPWebhooks, o.WebhookClient, o.Scale, o.PageSize = true, w.receiver.server.Client(), clientScale, 20
		o.Tokens = []string{"test-token"}
		for i := range o.Catalog.Versions {
			v := &o.Catalog.Versions[i]
			v.Behavior = takes(150 * time.Millisecond)
			if strings.HasSuffix(v.Model, "-image") {
				v.Streams, v.MediaType = false, "image/png"
			}
			o.Catalog.HTTP = append(o.Catalog.HTTP, upstream.HTTPModel{Name: v.ID, Version: v.ID})
		}
	}
	w.world = newWorld(t, o)
	w.refused, err = w.upstream.RefusedURL()
	require.NoError(t, err)
	for _, s := range services {
		w.offer(s, s.model())
		w.offer(s, s.model()+"-image")
	}
	w.clients = startClients(t)
	return w
}

// offer writes the document of one of a service's models.
func (w *clientWorld) offer(s clientService, model string) {
	w.Helper()
	d := rollout(model, 10_000)
	canary := versionID(model, document.Canary)
	switch s.kind {
	case "deployment":
		d.Targets[1] = document.Target{Name: document.Canary, Deployment: model + "-canary"}
	case "url":
		d.Targets[1] = document.Target{Name: document.Canary, URL: w.upstream.URL() + "/http/" + canary + "/predictions"}
	case "refused":
		d.Targets[1] = document.Target{Name: document.Canary, URL: w.refused}
	}
	fallback := document.DefaultFallback()
	fallback.On |= s.on
	fallback.BreakerFailures = 0 // the canary is asked each time
	d.Fallback = &fallback
	if s.hooks {
		d.Outcomes = document.OutcomesWebhook
	}
	w.write(d)
	d.Service.Kind = document.KindDeployment // which clients may ask as well
	w.write(d)
	w.alias(model)
	if s.fault != nil {
		require.NoError(w, w.upstream.SetFault(canary, *s.fault))
	}
}

var (
	internalError = &upstream.Fault{Name: upstream.FaultStatus, Status: 500, On: []upstream.Call{upstream.CallCreate}}
	unavailable   = &upstream.Fault{Name: upstream.FaultStatus, Status: 503, On: []upstream.Call{upstream.CallCreate}}
	alwaysFailing = &upstream.Fault{Name: upstream.FaultFailed}
)

// TestClientScenarios: whatever sites do with the official clients, it works
// through the worker; and where the canary is out of order, it works from stable.
func TestClientScenarios(t *testing.T) {
	waits := func(s clientScenario) bool { return s.sync }
	services := []clientService{
		{name: "version", kind: "version", hooks: true},
		{name: "deployment", kind: "deployment"},
		{name: "url", kind: "url"},
		{name: "refused", kind: "refused", causes: []string{"connect", "reset"}}, // workerd cannot tell the two apart
		{name: "version-5xx", kind: "version", fault: internalError, causes: []string{"5xx"}, hooks: true},
		{name: "deployment-5xx", kind: "deployment", fault: unavailable, causes: []string{"5xx"}},
		{name: "url-5xx", kind: "url", fault: unavailable, causes: []string{"5xx"}},
		{name: "version-failed", kind: "version", fault: alwaysFailing, on: document.OnFailed, causes: []string{"failed"}, only: waits},
		{name: "deployment-failed", kind: "deployment", fault: alwaysFailing, on: document.OnFailed, causes: []string{"failed"}, only: waits, hooks: true},
		{name: "url-failed", kind: "url", fault: alwaysFailing, on: document.OnFailed, causes: []string{"failed"}, only: waits},
	}
	w := newClientWorld(t, services)
	t.Run("services", func(t *testing.T) {
		for _, service := range services {
			t.Run(service.name, func(t *testing.T) {
				t.Parallel()
				for i, s := range clientScenarios {
					if service.only == nil || service.only(s) {
						w.try(t, service, s, service.name+" one "+strconv.Itoa(i))
					}
				}
			})
		}
	})
	t.Run("pages", func(t *testing.T) { w.tryPages(t) })
	t.Run("files", func(t *testing.T) {
		var got struct {
			Listed, Found, Deleted bool
			Metadata               map[string]string
		}
		answer := w.clients.run(t, w.options(clientScenario{client: "replicate", name: "files"}, "", "content"))
		require.Empty(t, answer.Error)
		require.NoError(t, json.Unmarshal(answer.Result, &got))
		require.True(t, got.Listed && got.Found && got.Deleted, "%s", answer.Result)
		require.Equal(t, map[string]string{"of": "perch"}, got.Metadata)
	})
}

func takes(d time.Duration) upstream.Behavior { return upstream.Behavior{Latency: upstream.Fixed(d)} }

func (w *clientWorld) options(s clientScenario, model, prompt string) map[string]any {
	return map[string]any{
		"client": s.client, "scenario": s.name, "baseUrl": w.stack.Places[0].URL + "/v1",
		"model": model, "prompt": prompt, "user": prompt, "webhook": w.receiver.url(),
	}
}

// try runs a scenario, by the model's name and where it can by the version that
// the client has pinned.
func (w *clientWorld) try(t *testing.T, service clientService, s clientScenario, prompt string) {
	forms := []string{"name"}
	if s.sync {
		forms = append(forms, "version")
	}
	for _, form := range forms {
		name := s.name + " by " + form
		if s.fault == throttled {
			name += " throttled"
		}
		t.Run(s.client+" "+name, func(t *testing.T) {
			r := &scenarioRun{T: t, clientWorld: w, service: service, prompt: prompt + " " + form}
			model := r.modelOf(s.image)
			if s.fault != nil {
				require.NoError(t, w.upstream.SetFault(versionID(model, r.variant()), *s.fault))
			}
			if form == "version" {
				model += ":" + versionID(model, document.Stable)
			}
			if s.long {
				short, err := w.upstream.Behavior(versionID(model, r.variant()))
				require.NoError(t, err)
				require.NoError(t, w.upstream.SetBehavior(versionID(model, r.variant()), takes(time.Hour)))
				defer func() { require.NoError(t, w.upstream.SetBehavior(versionID(model, r.variant()), short)) }()
			}
			r.answer = w.clients.run(t, w.options(s, model, r.prompt))
			s.check(r)
			r.requireCalls(s)
			r.requireSent(s)
		})
	}
}

// tryPages: going through all pages finds each of Replicate's predictions once.
func (w *clientWorld) tryPages(t *testing.T) {
	answer := w.clients.run(t, w.options(clientScenario{client: "replicate", name: "pages"}, "", "pages"))
	require.Empty(t, answer.Error)
	var pages [][]string
	require.NoError(t, json.Unmarshal(answer.Result, &pages))
	require.Greater(t, len(pages), 3)
	require.Len(t, answer.Asked, len(pages))
	listed := map[string]bool{}
	for _, page := range pages {
		for _, id := range page {
			require.False(t, listed[id], "listed twice")
			listed[id] = true
		}
	}
	for _, e := range w.upstream.Log() {
		isMade := e.Method == http.MethodPost && e.Status < 300 && strings.HasPrefix(e.Path, "/v1/") && strings.HasSuffix(e.Path, "/predictions")
		require.True(t, !isMade || listed[e.Prediction], "%s is missing", e.Prediction)
	}
	for _, a := range answer.Asked {
		require.True(t, strings.HasPrefix(a.URL, w.stack.Places[0].URL+"/v1/predictions"), a.URL)
	}
}
