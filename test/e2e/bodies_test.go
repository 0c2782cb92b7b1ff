package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// TestLargeBodies: bodies go through whole, whichever way the service is found.
func TestLargeBodies(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/large"}})
	w.write(rollout("acme/large", 10_000))
	w.alias("acme/large")
	w.write(w.httpRollout("qwen", 10_000))
	input := `"input":{"prompt":"` + pad(5<<20) + `"}`
	stable, canary := versionID("acme/large", document.Stable), versionID("acme/large", document.Canary)
	tests := []struct {
		name, path, body, want string // want is the body that the upstream must get
	}{
		{"http service, untouched", "/qwen/generate", pad(5 << 20), pad(5 << 20)},
		{"model, version set while it streams", "/v1/models/acme/large/predictions", "{" + input + "}",
			`{"version":"acme/large:` + canary + `",` + input + "}"},
		{"version behind the input, as the npm client writes it", "/v1/predictions", "{" + input + `,"version":"` + stable + `"}`,
			`{"version":"acme/large:` + canary + `",` + input + "}"},
		{"version before the input", "/v1/predictions", `{"version":"` + stable + `",` + input + "}",
			`{"version":"acme/large:` + canary + `",` + input + "}"},
		{"version that needs no change", "/v1/predictions", "{" + input + `,"version":"` + canary + `"}`,
			"{" + input + `,"version":"` + canary + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.upstream.ClearLog()
			headers := map[string]string{"content-type": "application/json", "prefer": "wait"}
			r := w.do(call{Path: tt.path, Body: tt.body, Headers: headers})
			require.Less(t, r.Status, 300, r.Body)
			require.Equal(t, document.Canary, r.variant())
			sum := sha256.Sum256([]byte(tt.want))
			entry := last(w.upstream.Log())
			require.EqualValues(t, len(tt.want), entry.BodyBytes)
			require.Equal(t, hex.EncodeToString(sum[:]), entry.BodySHA256)
		})
	}
}

// TestBodyTooLargeIsUnrouted: past 8 MiB without a version the body goes on as it came.
func TestBodyTooLargeIsUnrouted(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/huge"}})
	w.write(rollout("acme/huge", 10_000))
	w.alias("acme/huge")
	stable := versionID("acme/huge", document.Stable)
	body := `{"input":{"prompt":"` + pad(9<<20) + `"},"version":"` + stable + `"}`
	r := w.do(call{Path: "/v1/predictions", Body: body, Headers: map[string]string{"content-type": "application/json", "prefer": "wait"}})
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, "body-too-large", r.Header.Get("x-perch-unrouted"))
	entry := last(w.upstream.Log())
	require.Equal(t, stable, entry.Version)
	require.EqualValues(t, len(body), entry.BodyBytes)
	require.Contains(t, w.stack.Log(), "body-too-large")
}

// TestLargeAnswer: an answer of 1 MB comes whole.
func TestLargeAnswer(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write(w.httpRollout("qwen", 10_000))
	path := "/generate?bytes=1048576"
	r := w.do(call{Method: "GET", Path: "/qwen" + path})
	require.Equal(t, 200, r.Status)
	direct, err := http.Get(w.upstream.URL() + "/http/qwen-canary" + path)
	require.NoError(t, err)
	defer direct.Body.Close()
	want, err := io.ReadAll(direct.Body)
	require.NoError(t, err)
	require.Equal(t, 1<<20, len(r.Body))
	require.Equal(t, string(want), r.Body)
}

// TestStreamIsNotHeldBack: the first event arrives long before the stream ends.
func TestStreamIsNotHeldBack(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write(w.httpRollout("qwen", 10_000))
	const events, gap = 5, time.Second
	asked := time.Now()
	response := w.open(call{Method: "GET", Path: "/qwen/chat?sse=5&gap_ms=" + strconv.Itoa(int(gap.Milliseconds()))}, nil)
	defer response.Body.Close()
	require.Equal(t, "text/event-stream", strings.Split(response.Header.Get("content-type"), ";")[0])
	var arrived []time.Time
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			arrived = append(arrived, time.Now())
		}
	}
	require.GreaterOrEqual(t, len(arrived), events)
	require.Less(t, arrived[0].Sub(asked), gap, "the first event was held back until the second")
	require.Greater(t, arrived[events-1].Sub(asked), (events-1)*gap, "the upstream did not take its time")
}

// TestWhatPasses: what must not be decided goes to stable or to Replicate as it is.
func TestWhatPasses(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/pass"}})
	w.write(w.httpRollout("qwen", 10_000))
	w.write(rollout("acme/pass", 10_000))

	t.Run("OPTIONS of an http service", func(t *testing.T) {
		r := w.do(call{Method: "OPTIONS", Path: "/qwen/generate"})
		require.Equal(t, 204, r.Status)
		require.NotEmpty(t, r.Header.Get("allow"))
		require.Equal(t, document.Stable, r.variant())
	})
	t.Run("WebSocket", func(t *testing.T) {
		url := "ws" + strings.TrimPrefix(w.stack.Places[0].URL, "http") + "/qwen/socket"
		conn, _, err := websocket.Dial(t.Context(), url, nil)
		require.NoError(t, err)
		require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
		_, message, err := conn.Read(t.Context())
		require.NoError(t, err)
		require.Contains(t, string(message), "hello")
		require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
	})
	t.Run("the rest of the API", func(t *testing.T) {
		w.upstream.ClearLog()
		for _, path := range []string{"/v1/account", "/v1/models/acme/pass", "/v1/account?x=a%2Fb"} {
			r := w.do(call{Method: "GET", Path: path})
			require.Equal(t, 200, r.Status, "%s: %s", path, r.Body)
			require.Empty(t, r.variant())
			entry := last(w.upstream.Log())
			require.Equal(t, path, pathOf(entry))
			require.Equal(t, "Bearer test-token", entry.Header.Get("authorization"))
		}
	})
	t.Run("a path of nobody", func(t *testing.T) {
		r := w.do(call{Method: "GET", Path: "/wp-admin/setup.php"})
		require.Equal(t, 404, r.Status)
		require.Contains(t, r.Body, "no rollout document for http:wp-admin")
	})
}

func pathOf(e upstream.Entry) string {
	if e.Query == "" {
		return e.Path
	}
	return e.Path + "?" + e.Query
}

func last(entries []upstream.Entry) upstream.Entry { return entries[len(entries)-1] }
