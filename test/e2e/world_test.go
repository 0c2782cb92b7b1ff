// Package e2e proves Perch end to end: the bundled worker in real workerd, a
// real client before it, the stand-in upstream behind it.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/seal"
	"perch/test/stack"
	"perch/test/upstream"
)

// Production's times, divided by timeScale in the stack and given to the worker.
const (
	timeScale = 30
	cacheTime = 30 * time.Second / timeScale // KV's cacheTtl
	maxAge    = 15 * time.Second / timeScale // after which a document is read anew
	refresh   = 5 * time.Second / timeScale
	// settled is when a write has reached every place, an idle one included.
	settled = cacheTime + maxAge + 500*time.Millisecond
)

// world is a local Cloudflare with an upstream behind it.
type world struct {
	*testing.T
	upstream *upstream.Server
	stack    *stack.Stack
	kv       *cloudflare.KV
}

type worldOptions struct {
	Worker   string
	Places   int
	Vars     map[string]string
	Secrets  map[string]string // beside the key that seals
	Limits   []string          // rate-limit bindings, as stack.Options has them
	Trust    string            // file of certificates that the worker trusts
	Models   []string          // owner/name, each with a stable and a canary version
	Upstream func(*upstream.Options)
}

// sealKey is the one that workers seal with, unless a test's secrets say otherwise.
var sealKey = seal.NewKey([seal.KeyBytes]byte{1, 2, 3})

// newWorld starts one. Tests mostly wait, so those with a world of their own run
// side by side.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	t.Parallel()
	asked := upstream.Options{Catalog: catalog(o.Models), Seed: 1}
	if o.Upstream != nil {
		o.Upstream(&asked)
	}
	up, err := upstream.New(asked)
	require.NoError(t, err)
	require.NoError(t, up.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, up.Close()) })

	vars := map[string]string{
		"REPLICATE_BASE_URL": up.URL() + "/v1",
		"PERCH_REFRESH_MS":   millis(refresh),
		"PERCH_MAX_AGE_MS":   millis(maxAge),
	}
	for name, value := range o.Vars {
		vars[name] = value
	}
	_, err = os.Stat("../../.build/worker/index.js")
	require.NoError(t, err, "the worker is not built: run make bundle")
	secrets := map[string]string{"PERCH_SEAL_KEY": sealKey.Text()}
	for name, value := range o.Secrets {
		secrets[name] = value
	}
	s, err := stack.Start(t.Context(), stack.Options{
		Worker: o.Worker, Places: o.Places, Vars: vars, Secrets: secrets, Limits: o.Limits, Trust: o.Trust, TimeScale: timeScale,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	kv := cloudflare.NewKV(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	return &world{T: t, upstream: up, stack: s, kv: kv}
}

func catalog(models []string) upstream.Catalog {
	c := upstream.Catalog{Deployments: map[string]string{}}
	quick := upstream.Behavior{Latency: upstream.Fixed(10 * time.Millisecond)}
	for _, model := range models {
		c.Models = append(c.Models, upstream.Model{Name: model, Official: true})
		for _, arm := range []string{document.Stable, document.Canary} {
			c.Versions = append(c.Versions, upstream.Version{Model: model, ID: versionID(model, arm), Streams: true, Behavior: quick})
			c.Deployments[model+"-"+arm] = versionID(model, arm)
		}
	}
	for _, arm := range []string{document.Stable, document.Canary} {
		c.HTTP = append(c.HTTP, upstream.HTTPModel{Name: "qwen-" + arm})
	}
	return c
}

func versionID(model, arm string) string { return upstream.VersionID(model, arm) }

// rollout is a document for a model whose targets are its two versions.
func rollout(model string, basisPoints int) document.Document {
	service, err := document.ParseService(model)
	if err != nil {
		panic(err)
	}
	return document.Document{
		Service: service, Rollout: "r1", Generation: 1, Mode: document.ModeCanary, BasisPoints: basisPoints, Salt: "r1",
		Targets: []document.Target{
			{Name: document.Stable, Version: model + ":" + versionID(model, document.Stable)},
			{Name: document.Canary, Version: model + ":" + versionID(model, document.Canary)},
		},
		User: document.User{Header: document.DefaultUserHeader, Cookie: document.DefaultUserCookie},
	}
}

// httpRollout is a document for the plain model server qwen.
func (w *world) httpRollout(name string, basisPoints int) document.Document {
	d := rollout("acme/any", basisPoints)
	d.Service = document.Service{Kind: document.KindHTTP, Name: name}
	d.Targets = []document.Target{
		{Name: document.Stable, URL: w.upstream.URL() + "/http/qwen-stable/"},
		{Name: document.Canary, URL: w.upstream.URL() + "/http/qwen-canary/"},
	}
	return d
}

// write puts a document into KV.
func (w *world) write(d document.Document) {
	w.Helper()
	require.NoError(w, d.Validate())
	w.put(d.Service.RolloutKey(), string(d.Encode()))
}

func (w *world) put(key, value string) {
	w.Helper()
	require.NoError(w, w.kv.Put(w.Context(), key, []byte(value)))
}

// alias makes a model's version ids lead to its service.
func (w *world) alias(model string) {
	for _, arm := range []string{document.Stable, document.Canary} {
		w.put(document.AliasKey("version", versionID(model, arm)), `{"service":"model:`+model+`","variant":"`+arm+`"}`)
	}
}

// call is one request of a client.
type call struct {
	Place   int
	Method  string // POST unless given
	Path    string
	Headers map[string]string
	Body    string
}

type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) variant() string { return r.Header.Get("x-perch-variant") }

// client follows no redirects and keeps no cookies.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (w *world) do(c call) reply {
	w.Helper()
	response := w.open(c, strings.NewReader(c.Body))
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w, err)
	return reply{Status: response.StatusCode, Header: response.Header, Body: string(body)}
}

// open sends a call and returns before the answer's body has come.
func (w *world) open(c call, body io.Reader) *http.Response {
	w.Helper()
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	w.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, c.Method, w.stack.Places[c.Place].URL+c.Path, body)
	require.NoError(w, err)
	request.Header.Set("authorization", "Bearer test-token")
	for name, value := range c.Headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	require.NoError(w, err)
	return response
}

// predict creates a prediction of a model and waits for its output.
func (w *world) predict(place int, model, user string) reply {
	w.Helper()
	return w.do(call{
		Place: place, Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"hello"}}`,
		Headers: map[string]string{"content-type": "application/json", "prefer": "wait", "x-user-id": user},
	})
}

// awaitVariant asks until a user's prediction is answered by the variant.
func (w *world) awaitVariant(place int, model, user, variant string) {
	w.Helper()
	require.Eventually(w, func() bool { return w.predict(place, model, user).variant() == variant }, 10*time.Second, 20*time.Millisecond,
		"user %s never reached %s", user, variant)
}

// ranOn returns the version that each user's newest prediction ran on, as the
// upstream saw it: the user is the prompt.
func (w *world) ranOn(entries []upstream.Entry) map[string]string {
	versions := map[string]string{}
	for _, e := range entries {
		var input struct{ User string }
		if e.Version != "" && json.Unmarshal(e.Input, &input) == nil && input.User != "" {
			versions[input.User] = e.Version
		}
	}
	return versions
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func pad(n int) string { return string(bytes.Repeat([]byte("x"), n)) }
