package e2e

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/bucket"
	"perch/shared/document"
)

// TestUserIDs: the order in which a user is recognised, and that the worker
// splits by the same bucket as everybody else who knows the document.
func TestUserIDs(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/ids", "acme/token"}})
	w.write(rollout("acme/ids", 5000))
	token := rollout("acme/token", 5000)
	token.User.From = document.FromToken
	w.write(token)
	variantFor := func(user string) string {
		if bucket.Of("r1", user) < 5000 {
			return document.Canary
		}
		return document.Stable
	}
	ask := func(model string, headers map[string]string) reply {
		headers["prefer"] = "wait"
		return w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: headers})
	}
	for i := range 50 {
		user, other := "user-"+strconv.Itoa(i), "other-"+strconv.Itoa(i)
		byHeader := ask("acme/ids", map[string]string{"x-user-id": user, "cookie": "perch-user=" + other})
		require.Equal(t, variantFor(user), byHeader.variant(), "the header outranks the cookie")
		require.Empty(t, byHeader.Header.Get("set-cookie"))

		byCookie := ask("acme/ids", map[string]string{"cookie": "a=b; perch-user=" + user})
		require.Equal(t, variantFor(user), byCookie.variant())

		fresh := ask("acme/ids", map[string]string{})
		cookies := (&http.Response{Header: fresh.Header}).Cookies()
		require.Len(t, cookies, 1)
		require.Equal(t, variantFor(cookies[0].Value), fresh.variant(), "the cookie keeps the user where it was")

		byToken := ask("acme/token", map[string]string{"authorization": "Bearer " + user})
		require.Equal(t, variantFor("Bearer "+user), byToken.variant())
		require.Empty(t, byToken.Header.Get("set-cookie"))
	}
}

// TestBypass: PERCH_BYPASS=1 sends everybody to stable.
func TestBypass(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/bypass"}, Vars: map[string]string{"PERCH_BYPASS": "1"}})
	w.write(rollout("acme/bypass", 10_000))
	for user := range 50 {
		r := w.predict(0, "acme/bypass", "user-"+strconv.Itoa(user))
		require.Equal(t, document.Stable, r.variant())
		require.Contains(t, r.Body, versionID("acme/bypass", document.Stable))
	}
}

// TestServiceHeader: x-perch-service names the service where path and body do not.
func TestServiceHeader(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/named"}})
	w.write(rollout("acme/named", 10_000))
	w.write(w.httpRollout("qwen", 10_000))
	r := w.do(call{Path: "/v1/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: map[string]string{"x-perch-service": "acme/named", "prefer": "wait"}})
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, versionID("acme/named", document.Canary), last(w.upstream.Log()).Version)

	r = w.do(call{Path: "/generate/text", Headers: map[string]string{"x-perch-service": "http:qwen"}})
	require.Equal(t, 200, r.Status, r.Body)
	require.Contains(t, r.Body, `/generate/text`)
	require.Equal(t, document.Canary, r.variant())
}

// TestCredentials: a model server gets the client's credentials only if its target says so.
func TestCredentials(t *testing.T) {
	w := newWorld(t, worldOptions{})
	d := w.httpRollout("qwen", 10_000)
	d.Targets[0].Credentials = true
	for basisPoints, want := range map[int]string{10_000: "", 0: "Bearer test-token"} {
		d.BasisPoints = basisPoints
		d.Generation++
		w.write(d)
		w.awaitShown("http:qwen", document.FormatPercentage(basisPoints))
		w.do(call{Method: "GET", Path: "/qwen/x", Headers: map[string]string{"cookie": "session=1"}})
		entry := last(w.upstream.Log())
		require.Equal(t, want, entry.Header.Get("authorization"))
		require.Equal(t, want != "", entry.Header.Get("cookie") != "")
	}
}
