package replicate

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const secret = "r8_very-secret"

// serve answers every call alike, and gives the client for it.
func serve(t *testing.T, handle http.HandlerFunc) *Client {
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return New(Config{BaseURL: s.URL + "/v1/", Token: secret})
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestPrediction(t *testing.T) {
	var asked *http.Request
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		answer(200, `{"id":"abc","status":"failed","model":"acme/flux","version":"hidden","error":"CUDA out of memory","logs":"a\nb\n",
			"created_at":"2026-11-20T12:00:00.5Z","completed_at":"2026-11-20T12:00:03Z","metrics":{"predict_time":1.5},"urls":{}}`)(w, r)
	})
	p, err := c.Prediction(t.Context(), "abc", url.Values{"perch": {"p1.a.b.c"}})
	require.NoError(t, err)
	require.Equal(t, "/v1/predictions/abc?perch=p1.a.b.c", asked.RequestURI)
	require.Equal(t, "Bearer "+secret, asked.Header.Get("Authorization"))
	require.True(t, p.Ended())
	require.EqualValues(t, "CUDA out of memory", p.Error)
	require.EqualValues(t, "a\nb\n", p.Logs)
	require.InDelta(t, 1.5, p.Metrics.PredictTime, 0)
	require.Equal(t, time.Date(2026, 11, 20, 12, 0, 3, 0, time.UTC), p.CompletedAt)
	require.True(t, p.StartedAt.IsZero())
}

// TestOddAnswers: nulls, and an error that is an object.
func TestOddAnswers(t *testing.T) {
	c := serve(t, answer(200, `{"id":"a","status":"processing","error":null,"logs":null,"started_at":null,"metrics":null,"output":[1]}`))
	p, err := c.Prediction(t.Context(), "a", nil)
	require.NoError(t, err)
	require.False(t, p.Ended())
	require.Empty(t, p.Error)
	c = serve(t, answer(200, `{"id":"a","status":"failed","error":{"code":7}}`))
	p, err = c.Prediction(t.Context(), "a", nil)
	require.NoError(t, err)
	require.EqualValues(t, `{"code":7}`, p.Error)
}

// TestErrors: each says what the API said, and none the token or the query.
func TestErrors(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	cases := []struct {
		name   string
		client *Client
		want   string
	}{
		{"problem", serve(t, answer(401, `{"title":"Unauthenticated","detail":"You did not pass a valid authentication token","status":401}`)),
			"read prediction abc: status 401 Unauthorized: You did not pass a valid authentication token"},
		{"problem with a title alone", serve(t, answer(404, `{"title":"Not found"}`)), "read prediction abc: status 404 Not Found: Not found"},
		{"a page", serve(t, answer(502, "<html>\nbad")), "read prediction abc: status 502 Bad Gateway: <html>"},
		{"a long line", serve(t, answer(500, strings.Repeat("x", 999))), "status 500 Internal Server Error: " + strings.Repeat("x", 200) + "…"},
		{"a redirect", serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }), "status 302 Found"},
		{"no JSON", serve(t, answer(200, "hello")), "read prediction abc: read answer: invalid character"},
		{"no prediction", serve(t, answer(200, `{"ok":true}`)), "read prediction abc: the answer is no prediction"},
		{"nobody there", New(Config{BaseURL: gone.URL, Token: secret}), "read prediction abc: dial tcp"},
		{"no URL", New(Config{BaseURL: "::", Token: secret}), "read prediction abc: missing protocol scheme"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.client.Prediction(t.Context(), "abc", url.Values{"perch": {"p1.sealed"}})
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), "sealed")
		})
	}
}
