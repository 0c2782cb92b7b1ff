package e2e

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// arrived is a request as a model server got it.
type arrived struct {
	*http.Request
	body string
}

// origin is a model server of the test's own, which keeps what it got.
type origin struct {
	url string

	mu  sync.Mutex
	got []arrived
}

func (w *world) origin(serve http.HandlerFunc) *origin {
	o := new(origin)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		o.mu.Lock()
		o.got = append(o.got, arrived{r, string(body)})
		o.mu.Unlock()
		serve(rw, r)
	}))
	w.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// last is the newest request.
func (o *origin) last(t *testing.T) arrived {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.NotEmpty(t, o.got, "nothing arrived")
	return o.got[len(o.got)-1]
}

func (o *origin) arrivals() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.got)
}

// through sends everything of the http service own through a canary at the origin,
// which nobody stands in for.
func (w *world) through(serve http.HandlerFunc) *origin {
	w.Helper()
	o := w.origin(serve)
	d := w.httpRollout("own", 10_000)
	d.Targets[1].URL = o.url + "/base"
	failover := document.DefaultFallback()
	failover.On = 0
	d.Fallback = &failover
	w.write(d)
	return o
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

// TestAnswersPass: status, headers and bytes of an answer reach the client as they
// left the model server, with Perch's own headers beside them.
func TestAnswersPass(t *testing.T) {
	w := newWorld(t, worldOptions{})
	zip := zipped(t, strings.Repeat("tokens ", 10_000))
	tests := []struct {
		name, method string
		status       int
		header       http.Header
		body         string
	}{
		{"gzip", "GET", 200, http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(zip))}}, zip},
		{"an encoding that nobody knows", "GET", 200, http.Header{"Content-Encoding": {"perch"}, "Content-Type": {"text/plain"}}, "\x00\x01\xff"},
		{"HEAD", "HEAD", 200, http.Header{"Content-Length": {"12345"}, "Content-Type": {"text/plain"}}, ""},
		{"no content", "POST", 204, http.Header{"X-Own": {"a"}}, ""},
		{"not modified", "GET", 304, http.Header{"Etag": {`"v1"`}}, ""},
		{"redirect of a POST, not followed", "POST", 307, http.Header{"Location": {"https://other.example/"}}, "moved"},
		{"cookies", "GET", 200, http.Header{"Set-Cookie": {"a=1; Path=/", "b=2; Secure"}}, "x"},
		{"error with a body", "POST", 503, http.Header{"Retry-After": {"7"}, "Content-Type": {"application/problem+json"}}, `{"status":503}`},
		{"timing of its own", "GET", 200, http.Header{"Server-Timing": {"model;dur=5"}}, "x"},
	}
	var now int
	o := w.through(func(rw http.ResponseWriter, _ *http.Request) {
		tt := tests[now]
		rw.Header()["Date"] = nil
		rw.Header().Set("x-perch-variant", "stable")
		rw.Header().Set("x-perch-trace", "forged")
		rw.Header().Set("x-perch-served-by", "forged")
		for name, values := range tt.header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(tt.status)
		_, _ = io.WriteString(rw, tt.body)
	})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now = i
			r := w.do(call{Method: tt.method, Path: "/own/x", Headers: map[string]string{"accept-encoding": "gzip", "x-user-id": "me"}})
			require.Equal(t, tt.status, r.Status, r.Body)
			require.Equal(t, tt.body, r.Body)
			for name, values := range tt.header {
				require.Subset(t, r.Header[name], values, name)
				require.True(t, name == "Server-Timing" || len(values) == len(r.Header[name]), "%s: %q", name, r.Header[name])
			}
			require.Equal(t, []string{document.Canary}, r.Header["X-Perch-Variant"])
			require.Equal(t, []string{document.Canary}, r.Header["X-Perch-Served-By"])
			require.Equal(t, []string{"r1"}, r.Header["X-Perch-Rollout"])
			require.Regexp(t, "^[0-9a-f]{32}$", r.Header.Get("x-perch-trace"))
			require.Regexp(t, `perch;dur=\d+, upstream;dur=\d+$`, strings.Join(r.Header["Server-Timing"], ", "))
			require.Equal(t, tt.method, o.last(t).Method)
		})
	}
	t.Run("a status that cannot be passed on", func(t *testing.T) {
		before := o.arrivals()
		now = len(tests)
		tests = append(tests, tests[0])
		tests[now].status = 999
		r := w.do(call{Path: "/own/x"})
		require.Equal(t, 502, r.Status, r.Body)
		require.Equal(t, before+1, o.arrivals(), "asked twice")
	})
	t.Run("a redirect to its own host, not followed, comes back through the worker", func(t *testing.T) {
		now = len(tests)
		tests = append(tests, tests[0])
		tests[now].status, tests[now].header, tests[now].body = 302, http.Header{"Location": {"/elsewhere?a=b"}}, ""
		r := w.do(call{Method: "GET", Path: "/own/x"})
		require.Equal(t, 302, r.Status, r.Body)
		location := r.Header.Get("location")
		require.Contains(t, location, w.stack.Places[0].URL+"/_perch/at/")
		r = w.do(call{Method: "GET", Path: requestURI(t, location)})
		require.Equal(t, 302, r.Status, r.Body)
		require.Equal(t, "/elsewhere?a=b", o.last(t).RequestURI)
	})
	t.Run("cookies beside the user's", func(t *testing.T) {
		now = 6
		r := w.do(call{Method: "GET", Path: "/own/x"})
		require.Len(t, r.Header["Set-Cookie"], 3)
		require.Equal(t, tests[now].header["Set-Cookie"], r.Header["Set-Cookie"][:2])
		require.Regexp(t, `^perch-user=[0-9a-f-]{36}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax$`, r.Header["Set-Cookie"][2])
	})
}

// TestRequestsPass: method, path, query, headers and bytes of a request reach the
// model server as the client sent them, Perch's own headers taken out.
func TestRequestsPass(t *testing.T) {
	w := newWorld(t, worldOptions{})
	o := w.through(func(http.ResponseWriter, *http.Request) {})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	tests := []struct {
		name    string
		call    call
		uri     string // that must arrive
		absent  []string
		chunked bool
	}{
		{name: "escapes and query", call: call{Method: "GET", Path: "/own/a%2Fb/%E2%82%AC%20c//d?q=%26a+b&q=&x"}, uri: "/base/a%2Fb/%E2%82%AC%20c//d?q=%26a+b&q=&x"},
		{name: "the prefix alone", call: call{Method: "GET", Path: "/own"}, uri: "/base/"},
		{name: "bytes that are no text", call: call{Path: "/own/x", Body: "\x00\xff\xfe{"}, uri: "/base/x"},
		{name: "compressed", call: call{Path: "/own/x", Body: zipped(t, "hello"), Headers: map[string]string{"content-encoding": "gzip"}}, uri: "/base/x"},
		{name: "chunked", call: call{Path: "/own/x", Body: pad(300_000)}, uri: "/base/x", chunked: true},
		{name: "a large body of known length", call: call{Path: "/own/x", Body: pad(300_000)}, uri: "/base/x"},
		{name: "DELETE with a body", call: call{Method: "DELETE", Path: "/own/x", Body: "why"}, uri: "/base/x"},
		{name: "headers", call: call{Path: "/own/x", Body: "b", Headers: map[string]string{
			"traceparent": trace, "x-own": "kept", "x-perch-secret": "1", "x-perch-served-by": "me", "X-Perch-Variant": "stable"}},
			uri: "/base/x", absent: []string{"x-perch-secret", "x-perch-served-by", "x-perch-variant"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(tt.call.Body)
			if tt.chunked {
				body = struct{ io.Reader }{body}
			}
			response := w.open(tt.call, body)
			defer response.Body.Close()
			require.Equal(t, 200, response.StatusCode)
			got := o.last(t)
			require.Equal(t, tt.uri, got.RequestURI)
			require.Equal(t, tt.call.Body, got.body)
			if !tt.chunked {
				require.EqualValues(t, len(tt.call.Body), got.ContentLength)
			}
			for name, value := range tt.call.Headers {
				if !strings.HasPrefix(strings.ToLower(name), "x-perch-") {
					require.Equal(t, []string{value}, got.Header.Values(name), name)
				}
			}
			for _, name := range tt.absent {
				require.Empty(t, got.Header.Values(name), name)
			}
		})
	}
	t.Run("GET with a body", func(t *testing.T) {
		r := w.do(call{Method: "GET", Path: "/own/search", Body: `{"q":1}`})
		require.Equal(t, 200, r.Status, r.Body)
		require.Equal(t, "/base/search", o.last(t).RequestURI)
		require.JSONEq(t, `{"q":1}`, o.last(t).body)
		require.Empty(t, o.last(t).Header.Get("x-perch-variant"))
		require.NotEmpty(t, o.last(t).Header.Get("traceparent"))
	})
}

// TestTraces: a client's trace is kept, a new one is made where there is none.
func TestTraces(t *testing.T) {
	w := newWorld(t, worldOptions{})
	o := w.through(func(http.ResponseWriter, *http.Request) {})
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, tt := range []struct {
		name, parent string
		kept         bool
	}{
		{"kept", "00-" + id + "-b7ad6b7169203331-00", true},
		{"absent", "", false},
		{"of no known form", "00-" + id, false},
		{"all zero", "00-00000000000000000000000000000000-b7ad6b7169203331-00", false},
		{"span all zero", "00-" + id + "-0000000000000000-00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			headers := map[string]string{"x-user-id": "me"}
			if tt.parent != "" {
				headers["traceparent"] = tt.parent
			}
			r := w.do(call{Method: "GET", Path: "/own/x", Headers: headers})
			parent := o.last(t).Header.Get("traceparent")
			require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", parent)
			require.Equal(t, parent[3:35], r.Header.Get("x-perch-trace"))
			require.NotContains(t, parent, "-0000000000000000")
			require.Equal(t, tt.kept, parent == tt.parent, parent)
		})
	}
}
