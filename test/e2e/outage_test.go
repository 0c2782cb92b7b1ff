package e2e

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/stack"
)

// keeping is a bundle whose isolates keep so many entries. With 0 each request
// meets an isolate that is as good as new. It logs its handles.
func keeping(t *testing.T, entries int) string {
	t.Helper()
	prelude, err := os.ReadFile("testdata/handles.js")
	require.NoError(t, err)
	return bundle(t, func(file string, text []byte) []byte {
		if !strings.HasSuffix(file, ".js") {
			return text
		}
		require.Contains(t, string(text), "maxEntries = 1e3")
		text = bytes.Replace(text, []byte("maxEntries = 1e3"), []byte("maxEntries = "+strconv.Itoa(entries)), 1)
		return append(prelude, text...)
	})
}

// TestNewIsolateWithKVAway: an isolate that starts while KV is away, or while KV
// holds nothing of use, goes by the colo's copy, and by the halt in it.
func TestNewIsolateWithKVAway(t *testing.T) {
	w := newWorld(t, worldOptions{Worker: keeping(t, 0), Models: []string{"acme/copied", "acme/halted", "acme/broken"}})
	w.write(rollout("acme/copied", 10_000))
	w.write(rollout("acme/broken", 10_000))
	halted := rollout("acme/halted", 10_000)
	w.put(halted.Service.HaltKey(), halted.Rollout)
	w.write(halted)
	w.awaitVariant(0, "acme/copied", "user", document.Canary)
	w.awaitVariant(0, "acme/halted", "user", document.Stable)
	w.awaitVariant(0, "acme/broken", "user", document.Canary)

	w.put(document.Service{Kind: document.KindModel, Name: "acme/broken"}.RolloutKey(), "{")
	require.Eventually(t, func() bool {
		require.Equal(t, document.Canary, w.predict(0, "acme/broken", "user").variant())
		return contains(w.stack.Log(), `"trouble":"unexpected end of JSON","using":"last good"`)
	}, 4*settled, cacheTime/20)

	require.NoError(t, w.stack.SetKV(t.Context(), stack.KVUpdate{Reads: "error"}))
	require.Eventually(t, func() bool {
		require.Equal(t, document.Canary, w.predict(0, "acme/copied", "user").variant())
		require.Equal(t, document.Stable, w.predict(0, "acme/halted", "user").variant(), "a halted rollout came back")
		return contains(w.stack.Log(), `"trouble":"unreachable","using":"last good"`)
	}, 4*settled, cacheTime/20)
}

// TestAliasesWithKVAway: names that lead to a service go on leading there.
func TestAliasesWithKVAway(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/aliased"}})
	w.write(rollout("acme/aliased", 10_000))
	w.alias("acme/aliased")
	w.put(document.AliasKey("model", "acme/other"), `{"service":"model:acme/aliased","variant":"canary"}`)
	byVersion := call{Path: "/v1/predictions", Body: `{"input":{"prompt":"x"},"version":"` + versionID("acme/aliased", document.Stable) + `"}`,
		Headers: map[string]string{"prefer": "wait", "x-user-id": "me"}}
	byModel := byVersion
	byModel.Path, byModel.Body = "/v1/models/acme/other/predictions", `{"input":{"prompt":"x"}}`
	require.Equal(t, document.Canary, w.do(byVersion).variant())
	require.Equal(t, document.Canary, w.do(byModel).variant())

	require.NoError(t, w.stack.SetKV(t.Context(), stack.KVUpdate{Reads: "error"}))
	require.Eventually(t, func() bool {
		require.Equal(t, document.Canary, w.do(byVersion).variant())
		require.Equal(t, document.Canary, w.do(byModel).variant())
		return strings.Count(w.stack.Log(), `"unreachable"`) >= 3 // the version, the other model, the service
	}, 4*settled, cacheTime/20)

	require.Equal(t, document.Canary, w.do(byVersion).variant())
	require.Equal(t, document.Canary, w.do(byModel).variant())
	unknown := byVersion
	unknown.Body = strings.Replace(unknown.Body, versionID("acme/aliased", document.Stable), versionID("acme/aliased", document.Canary), 1)
	require.Equal(t, "no-document", w.do(unknown).Header.Get("x-perch-unrouted"))
	shown := w.do(call{Method: "GET", Path: "/_perch/variant?service=acme/never-seen"})
	require.Equal(t, 503, shown.Status, shown.Body)
}

// TestRefreshInTheBackground: a place that serves follows KV without any request
// that has to wait for it.
func TestRefreshInTheBackground(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/fresh"}, Vars: map[string]string{"PERCH_MAX_AGE_MS": "3600000"}})
	d := rollout("acme/fresh", 0)
	w.write(d)
	w.awaitVariant(0, "acme/fresh", "user", document.Stable)
	d.Generation, d.BasisPoints = 2, 10_000
	w.write(d)
	w.awaitVariant(0, "acme/fresh", "user", document.Canary)

	require.NoError(t, w.stack.SetKV(t.Context(), stack.KVUpdate{Reads: "hang"}))
	for started := time.Now(); time.Since(started) < 2*cacheTime; {
		asked := time.Now()
		require.Equal(t, document.Canary, w.predict(0, "acme/fresh", "user").variant())
		require.Less(t, time.Since(asked), time.Second, "a request waited for KV")
	}
}

// TestDocumentThatTraps: a document on which the core traps is not used, and the
// last good one goes on.
func TestDocumentThatTraps(t *testing.T) {
	const mark = "salt-of-the-trap"
	trapping := bundle(t, func(file string, text []byte) []byte {
		return bytes.Replace(text, []byte("core.exports.load("),
			[]byte(`(text.includes("`+mark+`") ? () => { throw new Error("unreachable"); } : core.exports.load)(`), 1)
	})
	w := newWorld(t, worldOptions{Worker: trapping, Models: []string{"acme/trapping", "acme/first"}})
	d := rollout("acme/trapping", 10_000)
	w.write(d)
	w.awaitVariant(0, "acme/trapping", "user", document.Canary)
	d.Generation, d.BasisPoints, d.Salt = 2, 0, mark
	w.write(d)
	require.Eventually(t, func() bool {
		r := w.predict(0, "acme/trapping", "user")
		require.Equal(t, 201, r.Status, r.Body)
		require.Equal(t, document.Canary, r.variant())
		return contains(w.stack.Log(), `"using":"last good"`)
	}, 4*settled, cacheTime/20)
	require.NotContains(t, strings.ToLower(w.stack.Log()), "uncaught")

	first := rollout("acme/first", 10_000)
	first.Salt = mark
	w.write(first)
	r := w.predict(0, "acme/first", "user")
	require.Equal(t, 201, r.Status, r.Body)
	require.Empty(t, r.variant())
}

// TestFloodOfNames: asking for names that nobody has pushes no document out, and
// leaves nothing behind.
func TestFloodOfNames(t *testing.T) {
	const entries = 20
	hour := map[string]string{"PERCH_REFRESH_MS": "3600000", "PERCH_MAX_AGE_MS": "3600000"}
	w := newWorld(t, worldOptions{Worker: keeping(t, entries), Models: []string{"acme/kept"}, Vars: hour})
	w.write(rollout("acme/kept", 10_000))
	require.Equal(t, document.Canary, w.predict(0, "acme/kept", "user").variant())
	require.Equal(t, handles{Documents: 1, Loads: 1}, w.handles())
	w.parallel(3*entries, func(i int) {
		r := w.do(call{Path: "/v1/models/acme/nobody-" + strconv.Itoa(i) + "/predictions", Body: "{}"})
		require.Equal(t, "no-rollout", r.Header.Get("x-perch-unrouted"))
	})
	require.Equal(t, document.Canary, w.predict(0, "acme/kept", "user").variant())
	require.Equal(t, handles{Documents: 1, Loads: 1}, w.handles())
}

// TestDocumentsDoNotPile: documents that were replaced are given back to the core.
func TestDocumentsDoNotPile(t *testing.T) {
	w := newWorld(t, worldOptions{Worker: preludeWorker(t, "handles.js"), Models: []string{"acme/often"}})
	d := rollout("acme/often", 0)
	for generation := range 5 {
		d.Generation, d.BasisPoints = int64(generation+1), 100*generation
		w.write(d)
		w.awaitShown("model:acme/often", document.FormatPercentage(d.BasisPoints))
		w.parallel(50, func(i int) { w.predict(0, "acme/often", "user-"+strconv.Itoa(i)) })
	}
	h := w.handles()
	require.GreaterOrEqual(t, h.Loads, 5)
	require.Equal(t, 1, h.Documents)
}
