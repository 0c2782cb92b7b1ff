package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func TestPlainEchoesWhoItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		body := strings.Repeat("x", 5<<20)
		sum := sha256.Sum256([]byte(body))
		began := time.Now()
		got := ask(s, "PUT", "/http/qwen-canary/v1/chat%2Fx//y?a=b", body)
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, 200, got.status)
		require.Equal(t, "qwen-canary", got.header.Get("x-model"))
		require.Equal(t, map[string]any{
			"model": "qwen-canary", "method": "PUT", "path": "/v1/chat%2Fx//y", "query": "a=b",
			"bytes": float64(5 << 20), "sha256": hex.EncodeToString(sum[:]),
		}, got.object(t))
		entry := s.Log()[0]
		require.Equal(t, "qwen-canary", entry.Model)
		require.EqualValues(t, 5<<20, entry.BodyBytes)
		require.Equal(t, hex.EncodeToString(sum[:]), entry.BodySHA256)
	})
}

func TestPlainAnswersAsTheQueryAsks(t *testing.T) {
	tests := []struct {
		name, method, path string
		status             int
		check              func(*testing.T, reply)
	}{
		{"no path", "GET", "/http/qwen-stable", 200, func(t *testing.T, r reply) { require.Equal(t, "", r.object(t)["path"]) }},
		{"status", "GET", "/http/qwen-stable/?status=418", 418, nil},
		{"bytes", "GET", "/http/qwen-stable/?bytes=1048576", 200, func(t *testing.T, r reply) {
			require.Len(t, r.body, 1<<20)
			for i, b := range r.body {
				if b != byte(i%251) {
					t.Fatalf("byte %d is %d", i, b)
				}
			}
		}},
		{"options", "OPTIONS", "/http/qwen-stable/x", 204, func(t *testing.T, r reply) {
			require.Equal(t, plainMethods, r.header.Get("Allow"))
		}},
		{"wrong option", "GET", "/http/qwen-stable/?bytes=0", 400, func(t *testing.T, r reply) {
			require.Equal(t, `bytes is "0", use 1 to 1073741824`, r.object(t)["detail"])
		}},
		{"headers", "GET", "/http/qwen-stable/?status=302&header=Location:/x&header=X-A:1&header=X-A:2", 302, func(t *testing.T, r reply) {
			require.Equal(t, "/x", r.header.Get("Location"))
			require.Equal(t, []string{"1", "2"}, r.header.Values("x-a"))
		}},
		{"unknown name", "GET", "/http/nobody/", 404, nil},
		{"events", "GET", "/http/qwen-stable/?sse=2&gap_ms=200", 200, func(t *testing.T, r reply) {
			require.Equal(t, "id: 0\ndata: {\"model\":\"qwen-stable\",\"event\":0}\n\n"+
				"id: 1\ndata: {\"model\":\"qwen-stable\",\"event\":1}\n\n", string(r.body))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := ask(demo(t), tt.method, tt.path, "")
				require.Equal(t, tt.status, got.status)
				if tt.check != nil {
					tt.check(t, got)
				}
			})
		})
	}
}

func TestPlainEventsComeOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		got := stream(s, "/http/qwen-stable/", "", time.Now())
		require.Empty(t, got.pieces, "no events without ?sse")
		w := &arrivals{ResponseRecorder: got.ResponseRecorder, began: time.Now()}
		r, err := http.NewRequest("GET", "http://upstream.test/http/qwen-stable/?sse=3&gap_ms=200", http.NoBody)
		require.NoError(t, err)
		s.ServeHTTP(w, r)
		require.Equal(t, []time.Duration{1000 * time.Millisecond, 1200 * time.Millisecond, 1400 * time.Millisecond}, w.at)
	})
}

func TestPlainFails(t *testing.T) {
	for status, b := range map[int]Behavior{502: {ErrorRate: 1, ErrorStatus: 502}, 422: {RejectRate: 1}, 500: {FailedRate: 1}} {
		s := demo(t)
		require.NoError(t, s.SetHTTPBehavior("qwen-stable", b))
		require.Equal(t, status, ask(s, "POST", "/http/qwen-stable/", "x").status)
	}
}

func TestPlainEchoesWebSocketMessages(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.Start(""))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.URL(), "http")+"/http/qwen-canary/socket", nil)
	require.NoError(t, err)
	defer conn.CloseNow()
	require.Equal(t, "qwen-canary", answer.Header.Get("x-model"))
	conn.SetReadLimit(1 << 20)
	for kind, message := range map[websocket.MessageType]string{
		websocket.MessageText: "hello", websocket.MessageBinary: strings.Repeat("\x00\xff", 50_000),
	} {
		require.NoError(t, conn.Write(ctx, kind, []byte(message)))
		gotKind, got, err := conn.Read(ctx)
		require.NoError(t, err)
		require.Equal(t, kind, gotKind)
		require.Equal(t, message, string(got))
	}
	require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return s.Log()[0].Done }, time.Second, time.Millisecond)
	require.Equal(t, 101, s.Log()[0].Status)
}
