package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// asked is a request that a client sent.
type asked struct {
	Method, URL string
	Authorized  bool
	Status      int
}

// runScenario runs one of testdata/clients.mjs through the first place.
func (w *world) runScenario(scenario, model string, into any) []asked {
	w.Helper()
	place := w.stack.Places[0].URL
	cmd := exec.CommandContext(w.Context(), "../../node_modules/.bin/node", "testdata/clients.mjs", place+"/v1", scenario, model)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(w, err, stderr.String())
	var got struct {
		Result json.RawMessage
		Asked  []asked
	}
	require.NoError(w, json.Unmarshal(out, &got))
	require.NoError(w, json.Unmarshal(got.Result, into), string(got.Result))
	for _, a := range got.Asked {
		if strings.HasPrefix(a.URL, "data:") {
			continue
		}
		require.True(w, strings.HasPrefix(a.URL, place+"/"), "the client left the worker: %s %s", a.Method, a.URL)
		require.Less(w, a.Status, 300, a.URL)
	}
	return got.Asked
}

// slow makes predictions of both arms take a while.
func (w *world) slow(model string, latency time.Duration) {
	for _, arm := range []string{document.Stable, document.Canary} {
		require.NoError(w, w.upstream.SetBehavior(versionID(model, arm), upstream.Behavior{Latency: upstream.Fixed(latency)}))
	}
}

// links are the URLs of a prediction, as a client gets them.
type links struct {
	ID, Status string
	URLs       struct{ Get, Cancel, Stream, Web string }
}

// TestUnmodifiedClients: whatever the official client does, it comes back through
// the worker, and gets what it asked for.
func TestUnmodifiedClients(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}, Upstream: func(o *upstream.Options) { o.PageSize = 2 }})
	w.write(rollout(model, 10_000))
	canary := model + ":" + versionID(model, document.Canary) + ":"
	w.slow(model, 50*time.Millisecond)

	t.Run("synchronous", func(t *testing.T) {
		var output []string
		asked := w.within(t).runScenario("sync", model, &output)
		require.Equal(t, []string{canary, " one", " two", " three"}, output)
		require.Len(t, asked, 1)
	})
	t.Run("asynchronous", func(t *testing.T) {
		var output []string
		asked := w.within(t).runScenario("async", model, &output)
		require.Equal(t, []string{canary, " one", " two", " three"}, output)
		require.Greater(t, len(asked), 1, "it did not poll")
	})
	t.Run("stream", func(t *testing.T) {
		w.upstream.ClearLog()
		var events []struct{ Event, Data string }
		asked := w.within(t).runScenario("stream", model, &events)
		text := ""
		for _, e := range events[:len(events)-1] {
			require.Equal(t, "output", e.Event)
			text += e.Data
		}
		require.Equal(t, canary+" one two three", text)
		require.Equal(t, "done", events[len(events)-1].Event)
		require.Contains(t, asked[1].URL, "/_perch/at/p1.")
		log := w.upstream.Log()
		require.Len(t, log, 2)
		require.Equal(t, log[0].Prediction, log[1].Prediction)
	})
	t.Run("cancel", func(t *testing.T) {
		w.slow(model, 5*time.Second)
		defer w.slow(model, 50*time.Millisecond)
		var status string
		w.within(t).runScenario("cancel", model, &status)
		require.Equal(t, "canceled", status)
	})
	t.Run("absolute URLs", func(t *testing.T) {
		w.slow(model, 5*time.Second)
		defer w.slow(model, 50*time.Millisecond)
		w.upstream.ClearLog()
		var got struct {
			links
			Polled, Canceled links
		}
		w.within(t).runScenario("links", model, &got)
		require.Equal(t, "canceled", got.Canceled.Status)
		require.Equal(t, got.URLs, got.Polled.URLs)
		require.Equal(t, got.URLs, got.Canceled.URLs)
		require.Equal(t, w.upstream.URL()+"/p/"+got.ID, got.URLs.Web)
		for _, e := range w.upstream.Log() {
			require.Equal(t, got.ID, e.Prediction)
			require.NotContains(t, e.Query, "perch", "the seal was passed on")
		}
	})
	t.Run("pages", func(t *testing.T) {
		var pages [][]string
		asked := w.within(t).runScenario("pages", model, &pages)
		require.Equal(t, len(pages), len(asked))
		require.Greater(t, len(pages), 2)
		seen := map[string]bool{}
		for _, page := range pages {
			for _, id := range page {
				require.False(t, seen[id], "listed twice")
				seen[id] = true
			}
		}
		created := 0
		require.GreaterOrEqual(t, len(seen), 5, created)
	})
}

// gateway stands before Replicate under a path of its own, as AI Gateway does.
// change may alter an answer's body on its way.
func gateway(t *testing.T, to string, prefix string, change func([]byte) []byte) *httptest.Server {
	target, err := url.Parse(to)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.Path = "/v1" + strings.TrimPrefix(r.In.URL.Path, prefix)
		},
		ModifyResponse: func(r *http.Response) error {
			if change == nil {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			body = change(body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.ContentLength = int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, prefix+"/") {
			http.Error(rw, "outside of the gateway: "+r.URL.Path, http.StatusTeapot)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestGateway: with AI Gateway between the worker and Replicate, whose answers
// name Replicate's own hosts, clients still poll and cancel through both. The AI
// SDK drops its credentials where a poll's origin differs from its base URL's.
func TestGateway(t *testing.T) {
	const model, prefix = "acme/flux", "/gateway/acct/replicate"
	var behind string
	asImage := func(body []byte) []byte {
		var prediction map[string]any
		if json.Unmarshal(body, &prediction) != nil || prediction["output"] == nil {
			return body
		}
		text, err := json.Marshal(prediction["output"])
		require.NoError(t, err)
		prediction["output"] = "data:image/png;base64," + base64.StdEncoding.EncodeToString(text)
		body, err = json.Marshal(prediction)
		require.NoError(t, err)
		return body
	}
	front := httptest.NewUnstartedServer(nil)
	front.Start()
	t.Cleanup(front.Close)
	w := newWorld(t, worldOptions{
		Models: []string{model},
		Vars:   map[string]string{"REPLICATE_BASE_URL": front.URL + prefix},
		Upstream: func(o *upstream.Options) {
			o.BaseURL, o.Tokens = "https://api.replicate.com", []string{"test-token"}
		},
	})
	behind = w.upstream.URL()
	front.Config.Handler = gateway(t, behind, prefix, asImage).Config.Handler
	w.write(rollout(model, 10_000))
	canary := model + ":" + versionID(model, document.Canary) + ":"
	w.slow(model, 1500*time.Millisecond) // longer than the AI SDK is told to wait

	t.Run("AI SDK", func(t *testing.T) {
		var images []string
		asked := w.within(t).runScenario("image", model, &images)
		require.Len(t, images, 1)
		require.Contains(t, images[0], canary)
		polls := 0
		for _, a := range asked {
			if strings.HasPrefix(a.URL, "data:") {
				continue
			}
			require.True(t, a.Authorized, a.URL)
			if a.Method == http.MethodGet {
				require.Contains(t, a.URL, "perch=p1.")
				polls++
			}
		}
		require.Greater(t, polls, 0, "it did not poll")
	})
	t.Run("replicate", func(t *testing.T) {
		var got struct {
			links
			Canceled links
		}
		w.within(t).runScenario("links", model, &got)
		require.Equal(t, "canceled", got.Canceled.Status)
		stream, err := url.Parse(got.URLs.Stream)
		require.NoError(t, err)
		require.Contains(t, stream.Path, "/_perch/at/p1.")
	})
}

// TestForeignStreamHost: a stream on a host that is neither Replicate's nor a
// target's is left to the client.
func TestForeignStreamHost(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{
		Models:   []string{model},
		Upstream: func(o *upstream.Options) { o.StreamURL = "http://streams.invalid" },
	})
	w.write(rollout(model, 10_000))
	r := w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"hello"}}`})
	require.Equal(t, 201, r.Status, r.Body)
	var got links
	require.NoError(t, json.Unmarshal([]byte(r.Body), &got))
	require.True(t, strings.HasPrefix(got.URLs.Stream, "http://streams.invalid/v1/streams/"), got.URLs.Stream)
	require.Contains(t, got.URLs.Get, "?perch=p1.")
}

// TestCompressedAnswers: an answer whose URLs must change is decompressed, any
// other passes as it is.
func TestCompressedAnswers(t *testing.T) {
	const body = `{"id":"abc","status":"starting","urls":{"get":"%/predictions/abc"},"more":"` + "\u00e9\\u00e9" + `"}`
	var o *origin
	replicate := &world{T: t}
	o = replicate.origin(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("content-type", "application/json")
		text := strings.ReplaceAll(body, "%", o.url+"/v1")
		if strings.HasSuffix(r.URL.Path, "/untouched") {
			text = `{"results":[]}`
		}
		if r.URL.Query().Has("big") {
			text = strings.Replace(text, `"more":"`, `"more":"`+pad(200_000), 1)
		}
		if strings.Contains(r.Header.Get("accept-encoding"), "gzip") {
			rw.Header().Set("content-encoding", "gzip")
			text = zipped(t, text)
		}
		rw.WriteHeader(201)
		_, _ = io.WriteString(rw, text)
	})
	w := newWorld(t, worldOptions{Models: []string{"acme/a"}, Vars: map[string]string{"REPLICATE_BASE_URL": o.url + "/v1"}})
	w.write(rollout("acme/a", 10_000))
	for _, query := range []string{"", "?big"} {
		for _, encoding := range []string{"gzip", "identity"} {
			t.Run(encoding+query, func(t *testing.T) {
				r := w.do(call{Path: "/v1/models/acme/a/predictions" + query, Body: "{}", Headers: map[string]string{"accept-encoding": encoding}})
				require.Equal(t, 201, r.Status)
				require.Empty(t, r.Header.Get("content-encoding"))
				var got links
				require.NoError(t, json.Unmarshal([]byte(r.Body), &got), r.Body)
				require.True(t, strings.HasPrefix(got.URLs.Get, w.stack.Places[0].URL+"/v1/predictions/abc?perch=p1."), got.URLs.Get)
				require.Contains(t, r.Body, `é\u00e9"}`, "what was not rewritten changed")
			})
		}
	}
	r := w.do(call{Method: "GET", Path: "/v1/files/untouched", Headers: map[string]string{"accept-encoding": "gzip"}})
	require.Equal(t, "gzip", r.Header.Get("content-encoding"))
	require.Equal(t, zipped(t, `{"results":[]}`), r.Body)
}

// TestAbandonedAnswers: clients that go away while a long answer is rewritten
// leave nothing open in the core; those that stay get all of it.
func TestAbandonedAnswers(t *testing.T) {
	const model = "acme/long"
	w := newWorld(t, worldOptions{Worker: preludeWorker(t, "handles.js"), Models: []string{model}})
	w.write(rollout(model, 10_000))
	w.awaitVariant(0, model, "user", document.Canary)
	require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Canary), upstream.Behavior{OutputBytes: 8 << 20}))
	long := call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"a"}}`, Headers: map[string]string{"prefer": "wait"}}
	w.parallel(20, func(i int) {
		response := w.open(long, strings.NewReader(long.Body))
		if i%2 == 0 {
			_, err := io.ReadFull(response.Body, make([]byte, 100_000))
			require.NoError(w, err)
		}
		require.NoError(w, response.Body.Close())
	})
	r := w.do(long)
	var got links
	require.NoError(t, json.Unmarshal([]byte(r.Body), &got))
	require.Greater(t, len(r.Body), 8<<20)
	require.Contains(t, got.URLs.Get, "?perch=p1.")
	require.Contains(t, got.URLs.Stream, "/_perch/at/p1.")
	require.Eventually(t, func() bool {
		w.predict(0, model, "user")
		return w.handles().Answers == 0
	}, 10*time.Second, 100*time.Millisecond, "handles stayed open")
}

// TestCutLongAnswer: a long answer that breaks off while it is rewritten ends as
// an error, for the client and in the request's point.
func TestCutLongAnswer(t *testing.T) {
	var o *origin
	replicate := &world{T: t}
	o = replicate.origin(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("content-type", "application/json")
		rw.WriteHeader(201)
		_, _ = io.WriteString(rw, `{"id":"abc","status":"starting","urls":{"get":"`+o.url+`/v1/predictions/abc"},"output":"`+pad(200_000))
		panic(http.ErrAbortHandler)
	})
	w := newWorld(t, worldOptions{Models: []string{"acme/cut"}, Vars: map[string]string{"REPLICATE_BASE_URL": o.url + "/v1"}})
	w.write(rollout("acme/cut", 10_000))
	response := w.open(call{Path: "/v1/models/acme/cut/predictions"}, strings.NewReader("{}"))
	defer response.Body.Close()
	require.Equal(t, 201, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Contains(t, string(body), "/v1/predictions/abc?perch=p1.")
	rows := w.points(response.Header.Get("x-perch-trace"))
	require.Len(t, rows, 1)
	class, err := rows[0].Text(string(telemetry.ErrorClass))
	require.NoError(t, err)
	require.Equal(t, telemetry.ClassCut, class)
}
