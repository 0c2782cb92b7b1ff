package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/stack"
)

// unusable are the values that KV may hold by accident.
func unusable(good string) map[string]string {
	return map[string]string{
		"empty":          "",
		"truncated":      good[:len(good)/2],
		"unknown schema": strings.Replace(good, `"schema":1`, `"schema":99`, 1),
		"percentage 250": regexp.MustCompile(`"percentage":[0-9]+`).ReplaceAllString(good, `"percentage":250`),
		"no JSON":        "<html>",
		"too large":      `{"schema":1,"salt":"` + pad(document.MaxBytes) + `"}`,
	}
}

// TestUnusableDocument: the last good document goes on, with a logged reason,
// and no request fails.
func TestUnusableDocument(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/bad"}})
	d := rollout("acme/bad", 10_000)
	good := string(d.Encode())
	for name, value := range unusable(good) {
		t.Run(name, func(t *testing.T) {
			w.write(d)
			w.awaitVariant(0, "acme/bad", "user", document.Canary)
			before := strings.Count(w.stack.Log(), `"perch":"document"`)
			w.put(d.Service.RolloutKey(), value)
			require.Eventually(t, func() bool {
				r := w.predict(0, "acme/bad", "user")
				require.Equal(t, 201, r.Status, r.Body)
				require.Equal(t, document.Canary, r.variant())
				return strings.Count(w.stack.Log(), `"perch":"document"`) > before
			}, 4*settled, cacheTime/20, "no reason was logged")
		})
	}
	t.Run("missing", func(t *testing.T) {
		require.NoError(t, w.kv.Delete(t.Context(), d.Service.RolloutKey()))
		require.Eventually(t, func() bool {
			r := w.predict(0, "acme/bad", "user")
			require.Equal(t, 201, r.Status, r.Body)
			require.Equal(t, document.Canary, r.variant())
			return contains(w.stack.Log(), `"trouble":"missing"`)
		}, 4*settled, cacheTime/20)
	})
}

// TestUnusableFromTheStart: with no good document ever, requests go where the
// client meant them to go.
func TestUnusableFromTheStart(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/never"}})
	d := rollout("acme/never", 10_000)
	w.put(d.Service.RolloutKey(), "{")
	r := w.predict(0, "acme/never", "user")
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, "no-rollout", r.Header.Get("x-perch-unrouted"))
	require.Empty(t, r.variant())
	require.Contains(t, w.stack.Log(), "unexpected end of JSON")
}

// TestKVAway: with KV failing or hanging, running places go on by their last
// good document, and a place that starts anew by the colo's copy.
func TestKVAway(t *testing.T) {
	for _, how := range []string{"error", "hang"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, worldOptions{Models: []string{"acme/away", "acme/unknown"}})
			w.write(rollout("acme/away", 10_000))
			w.awaitVariant(0, "acme/away", "user", document.Canary)
			require.NoError(t, w.stack.SetKV(t.Context(), stack.KVUpdate{Reads: how}))
			require.Eventually(t, func() bool {
				r := w.predict(0, "acme/away", "user")
				require.Equal(t, 201, r.Status, r.Body)
				require.Equal(t, document.Canary, r.variant())
				return contains(w.stack.Log(), `"trouble":"unreachable"`)
			}, 4*settled+maxAge, cacheTime/20)

			r := w.predict(0, "acme/unknown", "user")
			require.Equal(t, 201, r.Status, r.Body)
			require.Equal(t, "no-document", r.Header.Get("x-perch-unrouted"))
		})
	}
}
