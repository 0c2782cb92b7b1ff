package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// TestContractLinks: the URLs and ids in answers lead through the worker to just
// what those of a direct call lead to.
func TestContractLinks(t *testing.T) {
	const model = "acme/flux"
	w := newTwins(t, worldOptions{Models: []string{model}}, withModelServers)
	for _, form := range w.forms(model, document.Stable) {
		d := rollout("acme/"+form.name, 0)
		form.target.Name = document.Stable
		d.Targets[0] = form.target
		w.write(d)
	}
	for _, form := range w.forms(model, document.Stable) {
		t.Run(form.name, func(t *testing.T) {
			inner := w.within(t)
			inner.pace(model, forever)
			inner.requireLinks(form)
			inner.pace(model, upstream.Behavior{Latency: upstream.Fixed(20 * time.Millisecond)})
			inner.requireStream(form)
		})
	}
}

// pace says how long predictions take.
func (w *twins) pace(model string, b upstream.Behavior) {
	w.Helper()
	for _, side := range []*tap{w.behind, w.beside} {
		require.NoError(w, side.upstream.SetBehavior(versionID(model, document.Stable), b))
	}
}

// createBoth makes a prediction of the form through the worker and directly.
func (w *twins) createBoth(form targetForm) (through, direct links) {
	w.Helper()
	body := unversioned[0].fill(form.name, "")
	a := apiCall{Method: http.MethodPost, Target: "/v1/models/acme/" + form.name + "/predictions", Header: jsonType(), Body: body.client}
	created := w.through(a)
	require.NoError(w, json.Unmarshal(created.Body, &through), "%s", created.Body)
	created = w.directly(form.direct(jsonType(), body))
	require.NoError(w, json.Unmarshal(created.Body, &direct), "%s", created.Body)
	return through, direct
}

// requireLinks polls and cancels a prediction by its URLs, and by its id as far
// as the client knows a way to ask by it.
func (w *twins) requireLinks(form targetForm) {
	w.Helper()
	through, direct := w.createBoth(form)
	here, there := w.stack.Places[0].URL, w.beside.url
	require.Equal(w, direct.URLs.Web, strings.Replace(through.URLs.Web, w.behind.url, there, 1), "a page for people")
	home := strings.TrimSuffix(form.path, "/predictions") + "/predictions/" + direct.ID
	if form.target.URL == "" {
		home = "/v1/predictions/" + direct.ID
	}
	require.Equal(w, there+home, direct.URLs.Get)
	for _, tt := range []struct{ method, through, direct string }{
		{"GET", strings.TrimPrefix(through.URLs.Get, here), home},
		{"GET", "/v1/predictions/" + through.ID, home},
		{"POST", strings.TrimPrefix(through.URLs.Cancel, here), home + "/cancel"},
		{"GET", strings.TrimPrefix(through.URLs.Get, here), home},
		{"POST", "/v1/predictions/" + through.ID + "/cancel", home + "/cancel"},
	} {
		w.Run(tt.method, func(t *testing.T) {
			w := w.within(t)
			header := withToken("accept-encoding", "gzip", "cookie", "a=b", "x-own", "kept")
			got := w.through(apiCall{Method: tt.method, Target: tt.through, Header: header})
			reference := w.directly(apiCall{Method: tt.method, Target: tt.direct, Header: form.direct(header, createBody{}).Header})
			require.Equal(t, 200, reference.Status, "%s", reference.Body)
			w.requireSameRequest(got, reference)
			w.requireSameAnswer(got, reference)
			var again links
			require.NoError(t, json.Unmarshal(got.Body, &again))
			require.Equal(t, [2]string{through.ID, through.URLs.Get}, [2]string{again.ID, again.URLs.Get}, "they changed on the way")
		})
	}
}

// requireStream reads a prediction's stream, all of it and from the middle on.
func (w *twins) requireStream(form targetForm) {
	w.Helper()
	through, direct := w.createBoth(form)
	here, there := w.stack.Places[0].URL, w.beside.url
	header := http.Header{"Accept": {"text/event-stream"}, "User-Agent": {"contract"}, "Accept-Encoding": {"identity"}}
	for range 2 {
		got := w.through(apiCall{Method: "GET", Target: strings.TrimPrefix(through.URLs.Stream, here), Header: header})
		reference := w.directly(apiCall{Method: "GET", Target: strings.TrimPrefix(direct.URLs.Stream, there), Header: header})
		w.requireSameRequest(got, reference)
		require.Equal(w, 200, got.Status)
		require.Equal(w, without(reference.Answer, differs), without(got.Answer, differs, addedToAnswers))
		require.Equal(w, got.Entry.AnswerBytes, int64(len(got.Body)))
		require.Equal(w, got.Entry.AnswerSHA256, digest(got.Body), "%s", got.Body)
		require.Contains(w, string(got.Body), "event: done")
		ids := strings.Split(string(got.Body), "id: ")
		id, _, found := strings.Cut(ids[len(ids)/2], "\n")
		require.True(w, found && len(ids) > 2, "%s", got.Body)
		header.Set("last-event-id", id)
	}
}
