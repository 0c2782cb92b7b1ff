package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/process"
)

// TestAnswersAreNotHeldBack: what a model server has sent reaches the client before
// it sends more, whatever its form.
func TestAnswersAreNotHeldBack(t *testing.T) {
	w := newWorld(t, worldOptions{})
	seen := make(chan string)
	o := w.through(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("content-type", r.URL.Query().Get("type"))
		if length := r.URL.Query().Get("length"); length != "" {
			rw.Header().Set("content-length", length)
		}
		for i := range 3 {
			_, _ = io.WriteString(rw, part(i))
			_ = http.NewResponseController(rw).Flush()
			select {
			case got := <-seen:
				if got != part(i) {
					return
				}
			case <-time.After(5 * time.Second):
				panic(http.ErrAbortHandler)
			}
		}
	})
	for _, tt := range []struct{ name, query string }{
		{"events", "type=text/event-stream"},
		{"lines", "type=application/x-ndjson"},
		{"bytes of a length that is known", "type=application/octet-stream&length=" + strconv.Itoa(3*len(part(0)))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := w.open(call{Method: "GET", Path: "/own/x?" + tt.query}, nil)
			defer response.Body.Close()
			for i := range 3 {
				got := make([]byte, len(part(i)))
				_, err := io.ReadFull(response.Body, got)
				require.NoError(t, err)
				seen <- string(got)
			}
			rest, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Empty(t, rest)
		})
	}
	require.Equal(t, 3, o.arrivals())
}

// part is one of the parts of an answer: an event of 30 KB, so that three are more than is read whole.
func part(i int) string { return fmt.Sprintf("data: %d%s\n\n", i, pad(30_000)) }

// TestStreamsAreMeasured: the time to the first token, and how fast they came.
func TestStreamsAreMeasured(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write(w.httpRollout("qwen", 10_000))
	const events, gap = 6, 200 * time.Millisecond
	response := w.open(call{Method: "GET", Path: fmt.Sprintf("/qwen/chat?sse=%d&gap_ms=%d", events, gap.Milliseconds()), Headers: map[string]string{"last-event-id": "1:2"}}, nil)
	defer response.Body.Close()
	count := 0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			count++
		}
	}
	require.Equal(t, events, count)
	require.Equal(t, "1:2", last(w.upstream.Log()).Header.Get("last-event-id"))
	rows := w.points(response.Header.Get("x-perch-trace"))
	require.Len(t, rows, 1)
	firstToken, duration := number(t, rows[0], telemetry.FirstTokenMS), number(t, rows[0], telemetry.DurationMS)
	require.Positive(t, firstToken)
	require.Less(t, firstToken, float64(gap.Milliseconds()*(events-1)))
	require.GreaterOrEqual(t, duration, float64(gap.Milliseconds()*(events-1)))
	require.InDelta(t, 1/gap.Seconds(), number(t, rows[0], telemetry.EventsPerSecond), 1.5)
}

// TestHugeEvent: an event that is too large to be held passes as it comes.
func TestHugeEvent(t *testing.T) {
	w := newWorld(t, worldOptions{})
	huge := "data: " + pad(600_000) + "\n\ndata: next\n\n"
	w.through(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("content-type", "text/event-stream")
		if r.URL.Query().Has("cut") {
			_, _ = io.WriteString(rw, huge[:400_000])
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(rw, huge)
	})
	r := w.do(call{Method: "GET", Path: "/own/x"})
	require.True(t, r.Body == huge, "%d bytes of %d", len(r.Body), len(huge))
	response := w.open(call{Method: "GET", Path: "/own/x?cut"}, nil)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "half an event must not look whole")
	require.NotContains(t, string(body), "event: error")
}

// TestUpstreamsHaveNoSay: a model server cannot set Perch's own headers.
func TestUpstreamsHaveNoSay(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.through(func(rw http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"x-perch-variant", "x-perch-served-by", "x-perch-fallback", "x-perch-other", "x-perch-unrouted"} {
			rw.Header().Set(name, "forged")
		}
		rw.Header().Set("x-own", "kept")
	})
	r := w.do(call{Path: "/own/x", Headers: map[string]string{"x-user-id": "user"}})
	require.Equal(t, "kept", r.Header.Get("x-own"))
	for name, values := range r.Header {
		require.NotContains(t, values, "forged", name)
	}
	require.Equal(t, document.Canary, r.variant())
}

// TestCompressedBytesPass: compressed bytes reach the client as the model server sent them.
func TestCompressedBytesPass(t *testing.T) {
	w := newWorld(t, worldOptions{})
	small, large := zipped(t, "hello"), zipped(t, random(300_000))
	w.through(func(rw http.ResponseWriter, r *http.Request) {
		body := small
		if r.URL.Query().Has("large") {
			body = large
		}
		rw.Header().Set("content-encoding", "gzip")
		rw.Header().Set("etag", `"strong"`)
		if !r.URL.Query().Has("chunked") {
			rw.Header().Set("content-length", strconv.Itoa(len(body)))
		}
		_, _ = io.WriteString(rw, body)
	})
	for _, tt := range []struct{ name, query, want string }{
		{"small", "", small}, {"large", "large", large}, {"chunked", "large&chunked", large}, {"small and chunked", "chunked", small},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A client that asks by itself gets the bytes as they are.
			r := w.do(call{Method: "GET", Path: "/own/x?" + tt.query, Headers: map[string]string{"accept-encoding": "gzip"}})
			require.Equal(t, "gzip", r.Header.Get("content-encoding"))
			require.Equal(t, `"strong"`, r.Header.Get("etag"))
			require.True(t, r.Body == tt.want, "%d bytes of %d", len(r.Body), len(tt.want))
		})
	}
}

// random is a text that does not shrink much.
func random(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256([]byte(strconv.Itoa(i)))
		b.WriteString(hex.EncodeToString(sum[:]))
	}
	return b.String()
}

// TestOtherCalls: methods, ranges, conditions and paths of any kind reach a model
// server, and what it answers reaches the client.
func TestOtherCalls(t *testing.T) {
	w := newWorld(t, worldOptions{})
	content := random(200_000)
	o := w.through(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" || r.Method == "HEAD" {
			rw.Header().Set("etag", `"e1"`)
			http.ServeContent(rw, r, "x.txt", time.Unix(1_700_000_000, 0), strings.NewReader(content))
		}
	})
	for _, tt := range []struct {
		name, method, path string
		headers            map[string]string
		body               string
		status             int
		want, uri          string
	}{
		{"QUERY", "QUERY", "/own/search", nil, "find", 200, "", "/base/search"},
		{"PATCH", "PATCH", "/own/x", nil, "change", 200, "", "/base/x"},
		{"range", "GET", "/own/x", map[string]string{"range": "bytes=5-9"}, "", 206, content[5:10], "/base/x"},
		{"long range", "GET", "/own/x", map[string]string{"range": "bytes=1-150000"}, "", 206, content[1:150001], "/base/x"},
		{"no such range", "GET", "/own/x", map[string]string{"range": "bytes=900000-"}, "", 416, "invalid range: failed to overlap\n", "/base/x"},
		{"not modified", "GET", "/own/x", map[string]string{"if-none-match": `"e1"`}, "", 304, "", "/base/x"},
		{"modified", "GET", "/own/x", map[string]string{"if-none-match": `"e0"`}, "", 200, content, "/base/x"},
		{"head", "HEAD", "/own/x", nil, "", 200, "", "/base/x"},
		{"slashes", "GET", "/own//a//b/", nil, "", 200, content, "/base//a//b/"},
		{"escapes", "GET", "/own/a%2Fb%2e%41/%E2%82%AC;x=1", nil, "", 200, content, "/base/a%2Fb%2e%41/%E2%82%AC;x=1"},
		{"query", "GET", "/own/x?a=%20+b&&=&c[]=%5B%5D&q=%", nil, "", 200, content, "/base/x?a=%20+b&&=&c[]=%5B%5D&q=%"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(call{Method: tt.method, Path: tt.path, Headers: tt.headers, Body: tt.body})
			require.Equal(t, tt.status, r.Status, r.Body)
			require.True(t, r.Body == tt.want, "%.80q", r.Body)
			got := o.last(t)
			require.Equal(t, tt.method, got.Method)
			require.Equal(t, tt.uri, got.RequestURI)
			require.Equal(t, tt.body, got.body)
			if tt.method == "HEAD" || tt.status == 200 && tt.method == "GET" {
				require.Equal(t, strconv.Itoa(len(content)), r.Header.Get("content-length"))
				require.Equal(t, `"e1"`, r.Header.Get("etag"))
			}
		})
	}
}

// zeros is a body that no test could hold.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

// TestHugeBodies: 100 MB pass in both directions, of services and of the rest of the
// API, and the worker's memory does not know it.
func TestHugeBodies(t *testing.T) {
	const size = 100 << 20
	replicate := &world{T: t}
	sum := sha256.New()
	_, err := io.Copy(sum, &zeros{size})
	require.NoError(t, err)
	want := hex.EncodeToString(sum.Sum(nil))
	var got string
	o := replicate.unread(func(rw http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		_, err := io.Copy(hash, r.Body)
		if err == nil {
			got = hex.EncodeToString(hash.Sum(nil))
		}
		rw.Header().Set("content-length", strconv.Itoa(size))
		_, _ = io.Copy(rw, &zeros{size})
	})
	w := newWorld(t, worldOptions{Vars: map[string]string{"REPLICATE_BASE_URL": o + "/v1"}})
	d := w.httpRollout("own", 10_000)
	d.Targets[1].URL = o
	w.write(d)
	before, err := process.PeakBytes(w.stack.Places[0].PID)
	require.NoError(t, err)
	for _, path := range []string{"/own/x", "/v1/files"} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chunked=%v", path, chunked), func(t *testing.T) {
				var body io.Reader = &zeros{size}
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.stack.Places[0].URL+path, body)
				require.NoError(t, err)
				if !chunked {
					request.ContentLength = size
				}
				request.Header.Set("authorization", "Bearer test-token")
				response, err := client.Do(request)
				require.NoError(t, err)
				defer response.Body.Close()
				hash := sha256.New()
				n, err := io.Copy(hash, response.Body)
				require.NoError(t, err)
				require.EqualValues(t, size, n)
				require.Equal(t, want, hex.EncodeToString(hash.Sum(nil)))
				require.Equal(t, want, got)
			})
		}
	}
	after, err := process.PeakBytes(w.stack.Places[0].PID)
	require.NoError(t, err)
	require.Less(t, after-before, int64(64<<20), "bodies are held")
}

// unread is a server that is handed bodies as they come, and returns its URL.
func (w *world) unread(serve http.HandlerFunc) string {
	server := httptest.NewServer(serve)
	w.Cleanup(server.Close)
	return server.URL
}
