package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// api is a scripted API: each call takes the next answer, and is remembered.
type api struct {
	t       *testing.T
	mu      sync.Mutex
	calls   []call
	answers []answer
	server  *httptest.Server
}

type call struct {
	Method, Path, Query, ContentType, Authorization, Body string
}

// answer is what one call gets; hang and cut get none.
type answer struct {
	status    int
	body      string
	header    http.Header
	cut, hang bool
}

func newAPI(t *testing.T, answers ...answer) *api {
	a := &api{t: t, answers: answers}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	return a
}

func (a *api) config() Config {
	return Config{
		BaseURL: a.server.URL + "/client/v4", Account: "acct", Token: "secret", Namespace: "space", Dataset: "requests",
		Timeout: 5 * time.Second,
	}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	n := len(a.calls)
	a.calls = append(a.calls, call{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		ContentType: r.Header.Get("Content-Type"), Authorization: r.Header.Get("Authorization"), Body: string(body),
	})
	a.mu.Unlock()
	if n >= len(a.answers) {
		a.t.Errorf("unexpected call %d: %s %s", n+1, r.Method, r.URL)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	answer := a.answers[n]
	switch {
	case answer.hang:
		<-r.Context().Done()
		return
	case answer.cut:
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body)
}

func (a *api) kv() *KV {
	s := NewKV(a.config())
	s.retrier.backoff = time.Millisecond
	return s
}

func (a *api) analytics() *Analytics {
	s := NewAnalytics(a.config())
	s.retrier.backoff = time.Millisecond
	return s
}

func (a *api) account() *Account {
	s := NewAccount(a.config())
	s.retrier.backoff = time.Millisecond
	return s
}

func ok(result string) answer {
	return answer{status: 200, body: `{"success":true,"errors":[],"messages":[],"result":` + result + `}`}
}

func refused(status, code int, message string) answer {
	return answer{status: status, body: fmt.Sprintf(
		`{"success":false,"errors":[{"code":%d,"message":%q}],"messages":[],"result":null}`, code, message)}
}

var (
	noKey       = refused(404, 10009, "get: 'key not found'")
	noNamespace = refused(404, 10013, "get: 'namespace not found'")
	throttled   = answer{status: 429, header: http.Header{"Retry-After": {"0"}},
		body: `{"success":false,"errors":[{"code":10048,"message":"limit exceeded"}]}`}
	html = answer{status: 502, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>bad gateway</html>\nmore"}
)

// TestErrors: what went wrong is told in one line, by the same phrase for each
// kind of call, and only a missing thing is ErrNotFound.
func TestErrors(t *testing.T) {
	get := func(a *api) error { _, err := a.kv().Get(t.Context(), "rollout:model:acme:flux"); return err }
	put := func(a *api) error { return a.kv().Put(t.Context(), "rollout:model:acme:flux", []byte("{}")) }
	query := func(a *api) error { _, err := a.analytics().Query(t.Context(), "SELECT 1"); return err }
	tests := []struct {
		name    string
		do      func(*api) error
		answers []answer
		want    string
		is      error
	}{
		{"key absent", get, []answer{noKey},
			"read KV key rollout:model:acme:flux: status 404 Not Found: get: 'key not found' (code 10009)", ErrNotFound},
		{"namespace absent is not a key absent", get, []answer{noNamespace},
			"read KV key rollout:model:acme:flux: status 404 Not Found: get: 'namespace not found' (code 10013)", nil},
		{"404 of something else", get, []answer{{status: 404, body: "404 page not found"}},
			"read KV key rollout:model:acme:flux: status 404 Not Found: 404 page not found", nil},
		{"token refused", put, []answer{refused(403, 10000, "Authentication error")},
			"write KV key rollout:model:acme:flux: status 403 Forbidden: Authentication error (code 10000)", nil},
		{"throttled to the end", put, []answer{throttled, throttled, throttled, throttled},
			"write KV key rollout:model:acme:flux: status 429 Too Many Requests: limit exceeded (code 10048)", nil},
		{"proxy's page", put, []answer{html, html, html, html},
			"write KV key rollout:model:acme:flux: status 502 Bad Gateway: <html>bad gateway</html>", nil},
		{"dataset never written", query, []answer{{status: 422, body: "Error: unable to find type of column: blob1"}},
			"query analytics: no data was written yet", ErrNoData},
		{"bad SQL", query, []answer{{status: 422, body: "unknown function: log2"}},
			"query analytics: status 422 Unprocessable Entity: unknown function: log2", nil},
		{"query refused", query, []answer{refused(403, 10000, "Authentication error")},
			"query analytics: status 403 Forbidden: Authentication error (code 10000)", nil},
		{"answer cut short", query, []answer{{status: 200, body: `{"data":[`}},
			"query analytics: read answer: unexpected EOF", nil},
		{"answer of another kind", query, []answer{{status: 200, body: `{"rows":0}`}},
			"query analytics: read answer: it has no data member", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, test.answers...)
			err := test.do(a)
			require.EqualError(t, err, test.want)
			require.NotContains(t, err.Error(), "secret")
			for _, sentinel := range []error{ErrNotFound, ErrNoData} {
				require.Equal(t, sentinel == test.is, errors.Is(err, sentinel), "errors.Is %v", sentinel)
			}
			require.Len(t, a.calls, len(test.answers))
		})
	}
}

// TestRetries: throttled, failed and unanswered calls are repeated with the same
// body; refused ones are not.
func TestRetries(t *testing.T) {
	for name, first := range map[string]answer{
		"throttled":  throttled,
		"failed":     html,
		"unanswered": {cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, first, first, ok(`{}`), first, answer{status: 200, body: `{"data":[{"n":1}]}`})
			require.NoError(t, a.kv().Put(t.Context(), "k", []byte("value")))
			rows, err := a.analytics().Query(t.Context(), "SELECT 1")
			require.NoError(t, err)
			require.Len(t, rows, 1)
			for i, want := range []string{"value", "value", "value", "SELECT 1", "SELECT 1"} {
				require.Equal(t, want, a.calls[i].Body, "call %d", i)
			}
		})
	}
}

// TestHang: a try that gets no answer is given up in time for another.
func TestHang(t *testing.T) {
	a := newAPI(t, answer{hang: true}, ok(`{}`), answer{hang: true}, answer{status: 200, body: `{"data":[]}`})
	store, source := a.kv(), a.analytics()
	store.retrier.client, source.retrier.client = newClient(50*time.Millisecond), newClient(50*time.Millisecond)
	require.NoError(t, store.Put(t.Context(), "k", []byte("value")))
	_, err := source.Query(t.Context(), "SELECT 1")
	require.NoError(t, err)
	require.Equal(t, "value", a.calls[1].Body)
	require.Len(t, a.calls, 4)
}

// TestDeadline: no call outlasts Config.Timeout, and a pause that would is not
// begun, so that the reason stays known.
func TestDeadline(t *testing.T) {
	t.Run("no answer", func(t *testing.T) {
		a := newAPI(t, answer{hang: true})
		config := a.config()
		config.Timeout = 50 * time.Millisecond
		_, err := NewKV(config).Get(t.Context(), "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "read KV key k: ")
	})
	t.Run("told to wait longer", func(t *testing.T) {
		later := throttled
		later.header = http.Header{"Retry-After": {"3600"}}
		a := newAPI(t, later)
		err := a.kv().Put(t.Context(), "k", nil)
		require.ErrorContains(t, err, "status 429 Too Many Requests")
	})
	t.Run("caller gives up", func(t *testing.T) {
		later := throttled
		later.header = http.Header{"Retry-After": {time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)}}
		a := newAPI(t, later)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		begin := time.Now()
		require.ErrorIs(t, a.kv().Put(ctx, "k", nil), context.Canceled)
		require.Less(t, time.Since(begin), time.Second)
	})
}
