package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// TestResentBodies: what stable gets in the canary's place is the body that the
// client sent, edited for stable, however it was sent and found.
func TestResentBodies(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/again"}})
	failover := document.DefaultFallback()
	failover.BreakerFailures = 0
	byVersion, plain := rollout("acme/again", 10_000), w.httpRollout("qwen", 10_000)
	byVersion.Fallback, plain.Fallback = &failover, &failover
	w.write(byVersion)
	w.alias("acme/again")
	w.write(plain)
	canary, stable := versionID("acme/again", document.Canary), versionID("acme/again", document.Stable)
	refuse := upstream.Fault{Name: upstream.FaultStatus, Status: 503}
	require.NoError(t, w.upstream.SetFault(canary, refuse))
	require.NoError(t, w.upstream.SetFault("qwen-canary", refuse))
	small, large, over := `"input":{"prompt":"hello"}`, `"input":{"prompt":"`+pad(600_000)+`"}`, `"input":{"prompt":"`+pad(1_200_000)+`"}`
	named := `"version":"acme/again:` + stable + `"`
	tests := []struct {
		name, path, body, want string
		chunked                bool
		kept                   bool
	}{
		{"small", "/v1/models/acme/again/predictions", "{" + small + "}", "{" + named + "," + small + "}", false, true},
		{"small and chunked", "/v1/models/acme/again/predictions", "{" + small + "}", "{" + named + "," + small + "}", true, true},
		{"large", "/v1/models/acme/again/predictions", "{" + large + "}", "{" + named + "," + large + "}", false, true},
		{"large and chunked", "/v1/models/acme/again/predictions", "{" + large + "}", "{" + named + "," + large + "}", true, true},
		{"found by its version", "/v1/predictions", "{" + large + `,"version":"` + canary + `"}`, "{" + named + "," + large + "}", false, true},
		{"found by its version, chunked", "/v1/predictions", `{"version":"` + canary + `",` + large + "}", "{" + named + "," + large + "}", true, true},
		{"beyond what is kept", "/v1/models/acme/again/predictions", "{" + over + "}", "", false, false},
		{"beyond what is kept, chunked", "/v1/models/acme/again/predictions", "{" + over + "}", "", true, false},
		{"untouched", "/qwen/x", pad(600_000), pad(600_000), false, true},
		{"untouched and chunked", "/qwen/x", pad(600_000), pad(600_000), true, true},
		{"untouched and small", "/qwen/x", "hello", "hello", false, true},
		{"untouched, beyond what is kept", "/qwen/x", pad(1_200_000), "", false, false},
		{"untouched, beyond what is kept, chunked", "/qwen/x", pad(1_200_000), "", true, false},
		{"none", "/qwen/x", "", "", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.upstream.ClearLog()
			var body io.Reader = strings.NewReader(tt.body)
			if tt.chunked {
				body = struct{ io.Reader }{body}
			}
			user := map[string]string{"content-type": "application/json", "x-user-id": tt.name}
			response := w.open(call{Path: tt.path, Headers: user}, body)
			defer response.Body.Close()
			_, err := io.Copy(io.Discard, response.Body)
			require.NoError(t, err)
			entries := w.upstream.Log()
			if !tt.kept {
				require.Equal(t, 503, response.StatusCode)
				require.Equal(t, document.Canary, response.Header.Get("x-perch-served-by"))
				require.Len(t, entries, 1)
				return
			}
			require.Less(t, response.StatusCode, 300)
			require.Equal(t, document.Stable, response.Header.Get("x-perch-served-by"))
			require.Len(t, entries, 2, "once to each side")
			require.EqualValues(t, len(tt.want), entries[1].BodyBytes)
			if tt.want != "" {
				sum := sha256.Sum256([]byte(tt.want))
				require.Equal(t, hex.EncodeToString(sum[:]), entries[1].BodySHA256)
			}
			require.Empty(t, entries[1].Header.Get("x-perch-variant"))
			require.Equal(t, entries[0].Header.Get("traceparent"), entries[1].Header.Get("traceparent"))
		})
	}
}

// TestEarlyRefusal: a canary that refuses a body before it has come does not keep
// stable from getting all of it.
func TestEarlyRefusal(t *testing.T) {
	w := newWorld(t, worldOptions{})
	d := w.httpRollout("qwen", 10_000)
	d.Targets[1].URL = w.unread(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.write(d)
	for _, first := range []int{10, 100_000, 500_000} {
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			w.upstream.ClearLog()
			body, writer := io.Pipe()
			go func() {
				_, _ = io.WriteString(writer, pad(first)) // the reading end fails the test
				time.Sleep(300 * time.Millisecond)        // the client is slow; the refusal comes meanwhile
				_, _ = io.WriteString(writer, pad(600_000-first))
				writer.Close()
			}()
			response := w.open(call{Path: "/qwen/x", Headers: map[string]string{"x-user-id": "user"}}, body)
			defer response.Body.Close()
			require.Equal(t, 200, response.StatusCode)
			require.Equal(t, document.Stable, response.Header.Get("x-perch-served-by"))
			require.Len(t, w.upstream.Log(), 1)
			require.EqualValues(t, 600_000, w.upstream.Log()[0].BodyBytes)
		})
	}
}

// TestBreaker: after five failures in a row the canary is left alone; what is not
// sent to it says nothing of it. It is tried again later, and taken back when it answers.
func TestBreaker(t *testing.T) {
	w := newWorld(t, worldOptions{})
	d := w.httpRollout("qwen", 10_000)
	failover := document.DefaultFallback()
	failover.BreakerRetryMS = 1_000
	d.Fallback = &failover
	w.write(d)
	require.NoError(t, w.upstream.SetFault("qwen-canary", upstream.Fault{Name: upstream.FaultStatus, Status: 503}))
	ask := func() reply {
		return w.do(call{Path: "/qwen/x", Body: "{}", Headers: map[string]string{"x-user-id": "user"}})
	}
	for range failover.BreakerFailures {
		require.Equal(t, "5xx", ask().Header.Get("x-perch-fallback"))
	}
	w.upstream.ClearLog()
	r := ask()
	require.Equal(t, 200, r.Status)
	require.Equal(t, document.Canary, r.variant())
	require.Equal(t, document.Stable, r.Header.Get("x-perch-served-by"))
	require.Equal(t, "breaker", r.Header.Get("x-perch-fallback"))
	require.Len(t, w.upstream.Log(), 1, "the canary was asked")
	rows := w.points(r.Header.Get("x-perch-trace"))
	require.Len(t, rows, 1)
	for column, want := range map[telemetry.Column]string{
		telemetry.Outcome: telemetry.OutcomeExcluded, telemetry.ErrorClass: telemetry.ClassBreaker,
		telemetry.Variant: document.Canary, telemetry.ServedBy: document.Stable,
	} {
		got, err := rows[0].Text(string(column))
		require.NoError(t, err)
		require.Equal(t, want, got, column)
	}
	w.upstream.ClearFaults()
	require.Eventually(t, func() bool { return ask().Header.Get("x-perch-served-by") == document.Canary }, 10*time.Second, 50*time.Millisecond)
	for range 5 {
		require.Equal(t, document.Canary, ask().Header.Get("x-perch-served-by"))
	}
}

// leave sends a request, waits, and resets the connection.
func (w *world) leave(method, path, body string, wait func(io.Reader)) {
	w.Helper()
	host := strings.TrimPrefix(w.stack.Places[0].URL, "http://")
	conn, err := net.Dial("tcp", host)
	require.NoError(w, err)
	defer conn.Close()
	require.NoError(w, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer test-token\r\nx-user-id: user\r\nTraceparent: 00-%s-b7ad6b7169203331-00\r\nContent-Length: %d\r\n\r\n%s",
		method, path, host, goneTrace, len(body), body)
	require.NoError(w, err)
	wait(conn)
	require.NoError(w, conn.(*net.TCPConn).SetLinger(0)) // so that it is a reset, which is noticed at once
}

const goneTrace = "0af7651916cd43dd8448eb211c80319c"

// TestClientGone: a client that goes away ends what was done for it, nobody else
// is asked in its place, and it is nobody's error.
func TestClientGone(t *testing.T) {
	for _, tt := range []struct {
		name, path, body string
		fault            upstream.FaultName
	}{
		{"while it waits", "/qwen/x", "{}", upstream.FaultSilence},
		{"while a create runs", "/v1/models/acme/gone/predictions", `{"input":{"prompt":"x"}}`, upstream.FaultSilence},
		{"while events come", "/qwen/x?sse=100000&gap_ms=5", "{}", ""},
		{"while an answer comes", "/qwen/x?bytes=500000000", "{}", ""},
		{"while a stream stalls", "/qwen/x?sse=4&gap_ms=1", "{}", upstream.FaultStreamStall},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Models: []string{"acme/gone"}})
			w.write(rollout("acme/gone", 10_000))
			w.write(w.httpRollout("qwen", 10_000))
			if tt.fault != "" {
				require.NoError(t, w.upstream.SetFault("qwen-canary", upstream.Fault{Name: tt.fault}))
				require.NoError(t, w.upstream.SetFault(versionID("acme/gone", document.Canary), upstream.Fault{Name: tt.fault}))
			}
			w.leave("POST", tt.path, tt.body, func(answer io.Reader) {
				if tt.fault != upstream.FaultSilence {
					response, err := http.ReadResponse(bufio.NewReader(answer), nil)
					require.NoError(t, err)
					_, err = io.ReadFull(response.Body, make([]byte, 20))
					require.NoError(t, err)
				}
				require.Eventually(t, func() bool { return len(w.upstream.Log()) == 1 }, 5*time.Second, 5*time.Millisecond)
			})
			require.Eventually(t, func() bool { return w.upstream.Log()[0].Done }, 5*time.Second, 5*time.Millisecond, "the upstream goes on")
			require.True(t, w.upstream.Log()[0].Gone)
			rows := w.points(goneTrace)
			require.Len(t, rows, 1)
			outcome, err := rows[0].Text(string(telemetry.Outcome))
			require.NoError(t, err)
			class, err := rows[0].Text(string(telemetry.ErrorClass))
			require.NoError(t, err)
			require.Equal(t, []string{telemetry.OutcomeExcluded, telemetry.ClassClient}, []string{outcome, class})
			require.Len(t, w.upstream.Log(), 1, "asked again for nobody")
		})
	}
}

// line is a request's line in the log.
type line map[string]any

func (w *world) lines() (found []line) {
	for text := range strings.Lines(w.stack.Log()) {
		i := strings.Index(text, `{"perch":"request"`)
		if i < 0 {
			continue
		}
		var l line
		require.NoError(w, json.Unmarshal([]byte(text[i:]), &l))
		found = append(found, l)
	}
	return found
}

// TestRequestLines: one line for each request, with what is needed to find it
// again and nothing that only the client should know.
func TestRequestLines(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/line"}})
	w.write(rollout("acme/line", 10_000))
	require.NoError(t, w.upstream.SetFault(versionID("acme/line", document.Canary), upstream.Fault{Name: upstream.FaultStatus, Status: 503, Times: 1}))
	first, second := w.predict(0, "acme/line", "user"), w.predict(0, "acme/line", "user")
	poll := w.do(call{Method: "GET", Path: "/v1/account?secret=s3cr3t", Headers: map[string]string{"authorization": "Bearer hidden"}})
	var lines []line
	require.Eventually(t, func() bool { lines = w.lines(); return len(lines) == 3 }, 5*time.Second, 10*time.Millisecond)
	byTrace := map[any]line{}
	for _, l := range lines {
		byTrace[l["trace"]] = l
	}
	var made struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(second.Body), &made))
	for _, tt := range []struct {
		r    reply
		want line
	}{
		{first, line{"method": "POST", "status": 201.0, "service": "model:acme/line", "variant": "canary", "served_by": "stable", "reason": "percentage", "rollout": "r1", "cause": "5xx"}},
		{second, line{"method": "POST", "status": 201.0, "service": "model:acme/line", "variant": "canary", "served_by": "canary", "reason": "percentage", "rollout": "r1", "prediction": made.ID}},
		{poll, line{"method": "GET", "status": 200.0}},
	} {
		got := byTrace[tt.r.Header.Get("x-perch-trace")]
		require.NotNil(t, got)
		for name, value := range tt.want {
			require.Equal(t, value, got[name], name)
		}
		require.Contains(t, got, "first_byte_ms")
	}
	require.NotContains(t, byTrace[first.Header.Get("x-perch-trace")], "prediction", "it counts for nobody")
	for _, secret := range []string{"hidden", "test-token", "s3cr3t", "hello", "user"} {
		for _, l := range lines {
			text, err := json.Marshal(l)
			require.NoError(t, err)
			require.NotContains(t, string(text), secret)
		}
	}
	t.Run("switched off", func(t *testing.T) {
		quiet := newWorld(t, worldOptions{Models: []string{"acme/line"}, Vars: map[string]string{"PERCH_LOG": "0"}})
		quiet.write(rollout("acme/line", 10_000))
		quiet.awaitVariant(0, "acme/line", "user", document.Canary)
		quiet.points(quiet.predict(0, "acme/line", "user").Header.Get("x-perch-trace"))
		require.Empty(t, quiet.lines())
	})
}

// TestTrapAmidStreams: a trap of the core loses no other request: neither those
// that wait nor those that stream.
func TestTrapAmidStreams(t *testing.T) {
	w := newWorld(t, worldOptions{Worker: trapWorker(t), Models: []string{"acme/trap"}})
	w.write(rollout("acme/trap", 10_000))
	w.write(w.httpRollout("qwen", 10_000))
	w.awaitVariant(0, "acme/trap", "user", document.Canary)
	const requests = 40
	w.parallel(requests, func(i int) {
		switch i % 4 {
		case 0:
			require.Equal(t, document.Stable, w.predict(0, "acme/trap", "perch-trap").variant())
		case 1:
			require.Equal(t, document.Canary, w.predict(0, "acme/trap", "user").variant())
		default:
			r := w.do(call{Method: "GET", Path: "/qwen/x?sse=40&gap_ms=10", Headers: map[string]string{"x-user-id": "user"}})
			require.Equal(t, 40, strings.Count(r.Body, "data: {"), r.Body)
			require.NotContains(t, r.Body, "event: error")
		}
	})
	health := w.do(call{Method: "GET", Path: "/_perch/health"})
	require.Contains(t, health.Body, fmt.Sprintf(`"traps":%d,`, requests/4))
}

// number reads a column of a point.
func number(t *testing.T, row cloudflare.Row, column telemetry.Column) float64 {
	t.Helper()
	got, err := row.Float(string(column))
	require.NoError(t, err)
	return got
}
