package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/seal"
)

func newSealKey(first byte) seal.Key { return seal.NewKey([seal.KeyBytes]byte{first, 1, 2, 3}) }

// create makes an asynchronous prediction and returns its links.
func (w *world) create(model string, headers map[string]string) links {
	w.Helper()
	r := w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"one two three"}}`, Headers: headers})
	require.Equal(w, 201, r.Status, r.Body)
	var got links
	require.NoError(w, json.Unmarshal([]byte(r.Body), &got))
	return got
}

// follow asks for an absolute URL that the worker gave out.
func (w *world) follow(method, link string, headers map[string]string) reply {
	w.Helper()
	path, found := strings.CutPrefix(link, w.stack.Places[0].URL)
	require.True(w, found, link)
	return w.do(call{Method: method, Path: path, Headers: headers})
}

// TestSealsRefused: seals that were forged, altered, taken from elsewhere or kept
// too long open nothing; the refusal says why, and the upstream hears nothing.
func TestSealsRefused(t *testing.T) {
	const model = "acme/flux"
	key := sealKey
	stranger := newSealKey(9)
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	one, other := w.create(model, nil), w.create(model, nil)
	_, good, _ := strings.Cut(one.URLs.Get, "?perch=")
	_, stream, _ := strings.Cut(one.URLs.Stream, "/_perch/at/")
	now := time.Now()
	made := func(k seal.Key, c seal.Context) string {
		text, err := k.Seal(c)
		require.NoError(t, err)
		return text
	}
	at := func(l string) string {
		return made(key, seal.Context{Purpose: seal.At, Service: "model:" + model, Variant: document.Canary, URL: l})
	}
	poll := "/v1/predictions/" + one.ID
	w.upstream.ClearLog()
	for _, tt := range []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"not a seal", "GET", poll + "?perch=x", 403, "not a seal"},
		{"an altered payload", "GET", poll + "?perch=" + alter(good, 2), 403, "altered"},
		{"an altered mac", "GET", poll + "?perch=" + alter(good, 3), 403, "altered"},
		{"a stranger's key", "GET", poll + "?perch=" + made(stranger, seal.Context{Purpose: seal.Prediction, Prediction: one.ID}), 403, "a key that this worker does not hold"},
		{"too long", "GET", poll + "?perch=p1." + pad(7000), 403, "too long"},
		{"behind the id", "GET", poll + "~" + alter(good, 2), 403, "altered"},
		{"another prediction's", "GET", "/v1/predictions/" + other.ID + "?perch=" + good, 403, "another prediction"},
		{"another prediction's, to cancel", "POST", "/v1/predictions/" + other.ID + "/cancel?perch=" + good, 403, "another prediction"},
		{"a stream's, to poll", "GET", poll + "?perch=" + stream, 403, "another purpose"},
		{"a poll's, as a URL", "GET", "/_perch/at/" + good, 403, "another purpose"},
		{"a stream with another method", "POST", one.URLs.Stream[len(w.stack.Places[0].URL):], 405, "GET and HEAD only"},
		{"a stream that has expired", "GET", "/_perch/at/" + made(key, seal.Context{Purpose: seal.Stream, URL: w.upstream.URL() + "/v1/streams/x", ExpiresAt: now.Unix() - 1}), 403, "expired"},
		{"a bare URL", "GET", "/_perch/at/http://169.254.169.254/latest", 0, ""},
		{"a foreign host, even if sealed", "GET", "/_perch/at/" + at("https://evil.example/"), 404, "no longer a target"},
		{"this machine, even if sealed", "GET", "/_perch/at/" + at("http://127.0.0.1:1/"), 404, "no longer a target"},
		{"a file, even if sealed", "GET", "/_perch/at/" + at("file:///etc/passwd"), 404, "no longer a target"},
		{"credentials in a URL, even if sealed", "GET", "/_perch/at/" + at("http://a:b@"+w.upstream.URL()[len("http://"):]+"/v1/account"), 404, "no longer a target"},
		{"a webhook's", "GET", "/_perch/at/" + made(key, seal.Context{Purpose: seal.Webhook, URL: w.upstream.URL() + "/v1/account"}), 403, "another purpose"},
		{"nothing", "GET", "/_perch/at/", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(call{Method: tt.method, Path: tt.path})
			if tt.status == 0 {
				require.Contains(t, []int{403, 404}, r.Status, r.Body)
			} else {
				require.Equal(t, tt.status, r.Status, r.Body)
			}
			require.Equal(t, "application/problem+json", r.Header.Get("content-type"))
			require.Contains(t, r.Body, tt.want)
			require.NotContains(t, r.Body, key.Text())
		})
	}
	require.Empty(t, w.upstream.Log())
	t.Run("an expired seal of the client's own prediction is a bare poll", func(t *testing.T) {
		old := made(key, seal.Context{Purpose: seal.Prediction, Service: "model:" + model, Prediction: one.ID, ExpiresAt: now.Unix() - 1})
		require.Equal(t, 200, w.do(call{Method: "GET", Path: poll + "?perch=" + old}).Status)
	})
}

// alter changes a character in one of a seal's parts.
func alter(text string, part int) string {
	parts := strings.Split(text, ".")
	b := []byte(parts[part])
	if b[5] == 'A' {
		b[5] = 'B'
	} else {
		b[5] = 'A'
	}
	parts[part] = string(b)
	return strings.Join(parts, ".")
}

// TestKeyRotation: seals made before a key was changed open while it is kept as
// the previous one, and no longer.
func TestKeyRotation(t *testing.T) {
	const model = "acme/flux"
	first, second, third := newSealKey(1), newSealKey(2), newSealKey(3)
	context := seal.Context{Purpose: seal.Prediction, Service: "model:" + model, Variant: document.Canary, Prediction: "none"}
	w := newWorld(t, worldOptions{Models: []string{model}, Secrets: map[string]string{
		"PERCH_SEAL_KEY": second.Text(), "PERCH_SEAL_KEY_PREVIOUS": first.Text(),
	}})
	w.write(rollout(model, 10_000))
	_, fresh, _ := strings.Cut(w.create(model, nil).URLs.Get, "?perch=")
	_, err := seal.Open(fresh, seal.Prediction, time.Now(), second)
	require.NoError(t, err, "the current key seals")
	for _, key := range []seal.Key{first, second} {
		text, err := key.Seal(context)
		require.NoError(t, err)
		require.Equal(t, 404, w.do(call{Method: "GET", Path: "/v1/predictions/none?perch=" + text}).Status, "Replicate's own answer")
	}
	text, err := third.Seal(context)
	require.NoError(t, err)
	require.Equal(t, 403, w.do(call{Method: "GET", Path: "/v1/predictions/none?perch=" + text}).Status)
}

// TestWithoutSealKey: polls and cancels come back through the worker all the
// same; what would need a seal stays where it is.
func TestWithoutSealKey(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}, Secrets: map[string]string{"PERCH_SEAL_KEY": ""}})
	w.write(rollout(model, 10_000))
	for range 2 {
		got := w.create(model, nil)
		require.Equal(t, w.stack.Places[0].URL+"/v1/predictions/"+got.ID, got.URLs.Get)
		require.Equal(t, got.URLs.Get+"/cancel", got.URLs.Cancel)
		require.True(t, strings.HasPrefix(got.URLs.Stream, w.upstream.URL()), got.URLs.Stream)
		require.Equal(t, 200, w.follow("GET", got.URLs.Get, nil).Status)
	}
	require.Equal(t, 1, strings.Count(w.stack.Log(), "PERCH_SEAL_KEY is not set"), "logged once")
}

// TestModelServersPredictions: a plain model server that answers as Replicate
// does is polled and cancelled on its own host through the worker, with the
// target's secret and without the client's token.
func TestModelServersPredictions(t *testing.T) {
	const model = "acme/flux"
	var o *origin
	server := &world{T: t}
	o = server.origin(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-key") != "the secret of the person server" {
			http.Error(rw, "who are you", http.StatusForbidden)
			return
		}
		status := map[string]string{"/predictions": "starting", "/predictions/p1": "succeeded", "/predictions/p1/cancel": "canceled"}[r.URL.Path]
		rw.Header().Set("content-type", "application/json")
		_, _ = io.WriteString(rw, `{"id":"p1","status":"`+status+`","output":null,"urls":{"get":"`+o.url+`/predictions/p1","cancel":"`+o.url+`/predictions/p1/cancel"}}`)
	})
	w := newWorld(t, worldOptions{Models: []string{model}, Secrets: map[string]string{"SERVER_KEY": "the secret of the person server"}})
	d := rollout(model, 10_000)
	d.Targets[1] = document.Target{Name: document.Canary, URL: o.url + "/predictions", Headers: []document.Header{{Name: "x-key", Value: "secret:SERVER_KEY"}}}
	w.write(d)
	r := w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{}}`})
	require.Equal(t, 200, r.Status, r.Body)
	var made links
	require.NoError(t, json.Unmarshal([]byte(r.Body), &made))
	require.True(t, strings.HasPrefix(made.ID, "p1~p1."), made.ID)
	place := w.stack.Places[0].URL
	for _, tt := range []struct{ name, method, link, path, status string }{
		{"by id", "GET", place + "/v1/predictions/" + made.ID, "/predictions/p1", "succeeded"},
		{"cancelled by id", "POST", place + "/v1/predictions/" + made.ID + "/cancel", "/predictions/p1/cancel", "canceled"},
		{"by URL", "GET", made.URLs.Get, "/predictions/p1", "succeeded"},
		{"cancelled by URL", "POST", made.URLs.Cancel, "/predictions/p1/cancel", "canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.within(t).follow(tt.method, tt.link, map[string]string{"cookie": "session=mine"})
			require.Equal(t, 200, r.Status, r.Body)
			require.Equal(t, document.Canary, r.variant())
			got := o.last(t)
			require.Equal(t, tt.path, got.URL.Path)
			require.Empty(t, got.Header.Get("authorization"), "the client's token went to a foreign host")
			require.Empty(t, got.Header.Get("cookie"))
			var again links
			require.NoError(t, json.Unmarshal([]byte(r.Body), &again))
			require.Equal(t, tt.status, again.Status)
			require.Equal(t, made.ID, again.ID)
			require.Equal(t, made.URLs, again.URLs)
		})
	}
	t.Run("a target that is none any more", func(t *testing.T) {
		before := o.arrivals()
		d.Targets[1], d.Generation = rollout(model, 0).Targets[1], 2
		w.write(d)
		require.Eventually(t, func() bool { return w.follow("GET", made.URLs.Get, nil).Status == 404 }, 2*settled, 50*time.Millisecond)
		w.follow("GET", place+"/v1/predictions/"+made.ID, nil)
		r := w.follow("GET", made.URLs.Get, nil)
		require.Contains(t, r.Body, "no longer a target of model:acme/flux")
		before = max(before, o.arrivals()) // what came before the document was seen
		w.follow("GET", made.URLs.Get, nil)
		require.Equal(t, before, o.arrivals())
	})
}
