package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// raw sends bytes to a worker over a connection of their own and returns its
// first answer, or none where the connection was closed.
func (w *world) raw(text string) reply {
	w.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.stack.Places[0].URL, "http://"))
	require.NoError(w, err)
	defer conn.Close()
	require.NoError(w, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	require.NoError(w, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return reply{}
	}
	require.NoError(w, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(w, err)
	return reply{Status: response.StatusCode, Header: response.Header, Body: string(body)}
}

// request is what a client sends, byte for byte: a line, headers beside those
// that every request has, and what follows them.
func request(line, headers, rest string) string {
	return line + " HTTP/1.1\r\nHost: perch.example\r\nAuthorization: Bearer client-token\r\nCookie: session=client\r\nConnection: close\r\n" + headers + "\r\n" + rest
}

// TestSmuggling: no bytes of a client become another request, another header or
// a header of Perch's behind the worker.
func TestSmuggling(t *testing.T) {
	w := newWorld(t, worldOptions{})
	o := w.through(func(http.ResponseWriter, *http.Request) {})
	const post, get = "POST /own/x", "GET /own/x"
	hidden := "GET /own/smuggled HTTP/1.1\r\nHost: perch.example\r\n\r\n"
	for _, tt := range []struct {
		name, text string
		passes     bool
		body       string
	}{
		{"nothing wrong", request(post, "Content-Length: 4\r\n", "abcd"), true, "abcd"},
		{"two hosts", request(get, "Host: evil.example\r\n", ""), false, ""},
		{"no host", "GET /own/x HTTP/1.1\r\n\r\n", false, ""},
		{"a line break amid a header", request(get, "X-A: a\rX-Perch-Service: http:other\r\n", ""), false, ""},
		{"a folded header", request(get, "X-A: a\r\n X-Perch-Service: http:other\r\n", ""), false, ""},
		{"a line feed alone", request(get, "X-A: a\nX-Perch-Secret: 1\r\n", ""), true, ""},
		{"a zero byte", request(get, "X-A: a\x00b\r\n", ""), false, ""},
		{"a blank before the colon", request(get, "X-Perch-Secret : 1\r\n", ""), false, ""},
		{"two lengths", request(post, "Content-Length: 4\r\nContent-Length: 3\r\n", "abcd"), false, ""},
		{"two lengths in one", request(post, "Content-Length: 4, 3\r\n", "abcd"), false, ""},
		{"a length with a sign", request(post, "Content-Length: +4\r\n", "abcd"), false, ""},
		{"length and chunks", request(post, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+hidden), true, ""},
		{"chunks of another name", request(post, "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+hidden), false, ""},
		{"chunks twice", request(post, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+hidden), false, ""},
		{"headers that the connection names", request(get, "Connection: traceparent\r\nX-Perch-Secret: 1\r\n", ""), true, ""},
		{"headers of Perch's own", request(get, "X-Perch-Served-By: me\r\nx-PERCH-trace: 1\r\nX_Perch_Variant: canary\r\nX-Perch_Tester: a\r\n", ""), true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := o.arrivals()
			r := w.raw(tt.text)
			if !tt.passes {
				require.True(t, r.Status == 0 || r.Status >= 400, "%d %s", r.Status, r.Body)
				require.Equal(t, before, o.arrivals(), "it went on")
				return
			}
			require.Equal(t, 200, r.Status, r.Body)
			require.Equal(t, before+1, o.arrivals())
			got := o.last(t)
			require.Equal(t, "/base/x", got.RequestURI)
			require.Equal(t, tt.body, got.body)
			require.NotEmpty(t, got.Header.Get("traceparent"))
			for name := range got.Header {
				require.NotRegexp(t, "(?i)^x[-_]perch", name)
			}
		})
	}
}

// TestForgedTargets: whatever a client writes as a path, a query or a host, its
// request goes to Replicate's base or its service's target, and its credentials
// to nobody else.
func TestForgedTargets(t *testing.T) {
	outside := &world{T: t}
	replicate := outside.origin(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "{}") })
	evil := outside.origin(func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t, worldOptions{Vars: map[string]string{"REPLICATE_BASE_URL": replicate.url + "/gateway/replicate"}})
	o := w.through(func(http.ResponseWriter, *http.Request) {})
	host := strings.TrimPrefix(evil.url, "http://")
	for _, tt := range []struct{ name, line, replicate, own string }{
		{"nothing wrong", "GET /v1/account", "/gateway/replicate/account", ""},
		{"nothing wrong with a service", "GET /own/x?a=b", "", "/base/x?a=b"},
		{"a whole URL", "GET http://" + host + "/v1/account", "/gateway/replicate/account", ""},
		{"a whole URL of a service", "GET http://" + host + "/own/x", "", "/base/x"},
		{"a URL without scheme", "GET //" + host + "/v1/account", "", ""},
		{"a host behind v1", "GET /v1//" + host + "/", "/gateway/replicate//" + host + "/", ""},
		{"a host behind backslashes", `GET /v1/\\` + host + "/", "/gateway/replicate///" + host + "/", ""},
		{"a host behind an at sign", "GET /v1@" + host + "/x", "", ""},
		{"an at sign behind v1", "GET /v1/@" + host + "/x", "/gateway/replicate/@" + host + "/x", ""},
		{"a host behind a variant", "GET /@canary//" + host + "/v1/account", "", ""},
		{"a host behind a service", "GET /own//" + host + "/x", "", "/base//" + host + "/x"},
		{"up from v1", "GET /v1/../../secret", "", ""},
		{"up from v1, escaped", "GET /v1/%2e%2e/%2E./secret", "", ""},
		{"up from v1, slashes escaped", "GET /v1/..%2f..%2fsecret", "/gateway/replicate/..%2f..%2fsecret", ""},
		{"up from a service", "GET /own/../../secret", "", ""},
		{"up from a service, escaped", "GET /own/%2e%2e/secret", "", ""},
		{"a URL as query", "GET /own/x?url=" + evil.url, "", "/base/x?url=" + evil.url},
		{"a fragment", "GET /own/x#@" + host, "", "/base/x"},
		{"an upstream's answer of what it got", "TRACE /own/x", "", ""},
		{"a tunnel", "CONNECT " + host, "", ""},
		{"a seal of nobody's", "GET /_perch/at/p1.00000000.eyJwIjoiYXQifQ.AAAA", "", ""},
		{"a URL for a seal", "GET /_perch/at/" + evil.url, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			toReplicate, toOwn := replicate.arrivals(), o.arrivals()
			r := w.raw(request(tt.line, "", ""))
			if tt.replicate == "" && tt.own == "" {
				require.True(t, r.Status == 0 || r.Status >= 400, "%d %s", r.Status, r.Body)
				require.Equal(t, toReplicate, replicate.arrivals())
				require.Equal(t, toOwn, o.arrivals())
				return
			}
			require.Equal(t, 200, r.Status, r.Body)
			if tt.own != "" {
				require.Equal(t, toOwn+1, o.arrivals())
				require.Equal(t, tt.own, o.last(t).RequestURI)
				require.Empty(t, o.last(t).Header.Values("authorization"))
				require.Empty(t, o.last(t).Header.Values("cookie"))
				return
			}
			require.Equal(t, toReplicate+1, replicate.arrivals())
			require.Equal(t, tt.replicate, replicate.last(t).RequestURI)
			require.Equal(t, "Bearer client-token", replicate.last(t).Header.Get("authorization"))
		})
	}
	require.Zero(t, evil.arrivals(), "somebody else was asked")
}

// TestCredentialsStayHome: what is meant for one host reaches no other one,
// though an upstream sends the client there; and it is not told back.
func TestCredentialsStayHome(t *testing.T) {
	outside := &world{T: t}
	evil := outside.origin(func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t, worldOptions{Secrets: map[string]string{"PERSON_KEY": "person-secret-key"}})
	o := w.origin(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("location", evil.url+"/next")
		rw.Header().Set("x-echo", "you sent "+r.Header.Get("x-api-key"))
		rw.Header().Set("x-api-key", r.Header.Get("x-api-key"))
		rw.WriteHeader(http.StatusTemporaryRedirect)
	})
	d := w.httpRollout("own", 10_000)
	d.Targets[0].Headers = []document.Header{{Name: "x-api-key", Value: "secret:PERSON_KEY"}}
	d.Targets[1] = document.Target{Name: document.Canary, URL: o.url, Headers: d.Targets[0].Headers, Credentials: true}
	w.write(d)
	for _, method := range []string{"GET", "POST"} {
		r := w.do(call{Method: method, Path: "/own/x", Headers: map[string]string{
			"x-user-id": "me", "x-api-key": "client", "x_api_key": "client", "X-Perch-Authorization": "Bearer x"}})
		require.Equal(t, 307, r.Status, r.Body)
		require.Equal(t, evil.url+"/next", r.Header.Get("location"), "a host that is neither Replicate's nor a target's is the client's affair")
		require.Empty(t, r.Header.Values("x-echo"))
		require.Empty(t, r.Header.Values("x-api-key"))
		got := o.last(t)
		require.Equal(t, []string{"person-secret-key"}, got.Header.Values("x-api-key"), "Perch's outranks the client's")
		require.Empty(t, got.Header.Values("x_api_key"))
		require.Equal(t, "Bearer test-token", got.Header.Get("authorization"))
	}
	require.Zero(t, evil.arrivals())
}
