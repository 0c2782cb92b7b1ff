package upstream

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// arrivals notes when each piece of a body was flushed.
type arrivals struct {
	*httptest.ResponseRecorder
	pieces []string
	at     []time.Duration
	began  time.Time
	buffer bytes.Buffer
}

func (a *arrivals) Write(b []byte) (int, error) { return a.buffer.Write(b) }

func (a *arrivals) Flush() {
	if a.buffer.Len() > 0 {
		a.pieces = append(a.pieces, a.buffer.String())
		a.at = append(a.at, time.Since(a.began).Round(time.Millisecond))
		a.buffer.Reset()
	}
}

func stream(s *Server, link string, lastEventID string, began time.Time) *arrivals {
	parsed, _ := url.Parse(link)
	r := httptest.NewRequest("GET", "http://upstream.test"+parsed.Path, nil)
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	w := &arrivals{ResponseRecorder: httptest.NewRecorder(), began: began}
	s.ServeHTTP(w, r)
	return w
}

func streamOf(t *testing.T, s *Server, body string) (link, id string) {
	p := ask(s, "POST", "/v1/predictions", body).object(t)
	return p["urls"].(map[string]any)["stream"].(string), p["id"].(string)
}

// In the bubble the clock begins on 2000-01-01, which is second 946684800.
func TestStreamEvents(t *testing.T) {
	prompt := `{"input":{"prompt":"one two three"},"version":"` + chatStable + `"}`
	name := "acme/chat:" + chatStable + ":"
	ms := time.Millisecond
	tests := []struct {
		name     string
		behavior Behavior
		resume   string
		cancelAt time.Duration
		pieces   []string
		at       []time.Duration
	}{
		{"success", Behavior{Latency: Fixed(2 * time.Second)}, "", 0, []string{
			"event: output\nid: 946684800:0\ndata: " + name + "\n\n",
			"event: output\nid: 946684801:1\ndata:  one\n\n",
			"event: output\nid: 946684801:2\ndata:  two\n\n",
			"event: output\nid: 946684802:3\ndata:  three\n\n",
			"event: done\nid: 946684802:4\ndata: {}\n\n",
		}, []time.Duration{500 * ms, 1000 * ms, 1500 * ms, 2000 * ms, 2000 * ms}},
		{"failure after half", Behavior{Latency: Fixed(2 * time.Second), FailedRate: 1}, "", 0, []string{
			"event: output\nid: 946684801:0\ndata: " + name + "\n\n",
			"event: output\nid: 946684802:1\ndata:  one\n\n",
			"event: error\nid: 946684802:2\ndata: {\"detail\":\"" + failureText + "\"}\n\n",
			"event: done\nid: 946684802:3\ndata: {\"reason\": \"error\"}\n\n",
		}, []time.Duration{1000 * ms, 2000 * ms, 2000 * ms, 2000 * ms}},
		{"canceled while it streams", Behavior{Latency: Fixed(2 * time.Second)}, "", 700 * ms, []string{
			"event: output\nid: 946684800:0\ndata: " + name + "\n\n",
			"event: done\nid: 946684800:1\ndata: {\"reason\": \"canceled\"}\n\n",
		}, []time.Duration{500 * ms, 700 * ms}},
		{"resumed", Behavior{Latency: Fixed(2 * time.Second)}, "946684801:2", 0, []string{
			"event: output\nid: 946684802:3\ndata:  three\n\n",
			"event: done\nid: 946684802:4\ndata: {}\n\n",
		}, []time.Duration{2000 * ms, 2000 * ms}},
		{"resumed at the end", Behavior{}, "946684800:4", 0, nil, nil},
		{"idle", Behavior{Queue: Fixed(70 * time.Second)}, "946684800:2", 0, []string{
			":408:\n\n", ":408:\n\n",
			"event: output\nid: 946684870:3\ndata:  three\n\n",
			"event: done\nid: 946684870:4\ndata: {}\n\n",
		}, []time.Duration{30 * time.Second, time.Minute, 70 * time.Second, 70 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				require.NoError(t, s.SetBehavior(chatStable, tt.behavior))
				began := time.Now()
				link, id := streamOf(t, s, prompt)
				if tt.cancelAt > 0 {
					time.AfterFunc(tt.cancelAt, func() { ask(s, "POST", "/v1/predictions/"+id+"/cancel", "") })
				}
				got := stream(s, link, tt.resume, began)
				require.Equal(t, tt.pieces, got.pieces)
				require.Equal(t, tt.at, got.at)
				require.Equal(t, "text/event-stream", got.Header().Get("Content-Type"))
				require.Equal(t, id, s.Log()[1].Prediction)
			})
		})
	}
}

func TestStreamURLIsACapability(t *testing.T) {
	s := demo(t)
	link, id := streamOf(t, s, createBodyOf(chatStable))
	_, wrong, _ := strings.Cut(link, "/v1/streams/")
	for _, path := range []string{id, id + "-", id + "-aaaa", "nobody-" + wrong[27:]} {
		require.Equal(t, 404, ask(s, "GET", "/v1/streams/"+path, "").status, path)
	}
}

func TestStreamEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		link, _ := streamOf(t, s, createBodyOf(chatStable))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", link, nil)
		require.NoError(t, err)
		began := time.Now()
		s.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, 10*time.Millisecond, time.Since(began))
	})
}

func TestOutputGrowsWhileItStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		_, id := streamOf(t, s, createBodyOf(chatStable)) // three tokens in 1 s
		var lengths []int
		for range 4 {
			output, _ := ask(s, "GET", "/v1/predictions/"+id, "").object(t)["output"].([]any)
			lengths = append(lengths, len(output))
			time.Sleep(350 * time.Millisecond)
		}
		require.Equal(t, []int{0, 1, 2, 3}, lengths)
	})
}

// Streams may have a host of their own.
func TestStreamsOfAnotherHost(t *testing.T) {
	s := demo(t, func(o *Options) { o.StreamURL = "https://stream.test/" })
	link, _ := streamOf(t, s, createBodyOf(chatStable))
	require.True(t, strings.HasPrefix(link, "https://stream.test/v1/streams/"), link)

	s = faulty(t)
	require.NoError(t, s.StartStreams(""))
	link, _ = streamOf(t, s, createBodyOf(chatStable))
	require.False(t, strings.HasPrefix(link, s.URL()))
	got, err := over(t, s, "GET", link, "")
	require.NoError(t, err)
	require.Contains(t, string(got.body), "event: done")
}

// TestFirstToken: a stream can begin late while its answer, and its end, come as they would.
func TestFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		late := Behavior{Latency: Fixed(10 * time.Second), FirstToken: Fixed(6 * time.Second)}
		require.NoError(t, s.SetBehavior(chatStable, late))
		require.NoError(t, s.SetHTTPBehavior("qwen-stable", late))
		began := time.Now()
		created := ask(s, "POST", "/v1/predictions", `{"input":{"prompt":"a b"},"version":"`+chatStable+`"}`).object(t)
		look := func(at int) any {
			time.Sleep(time.Until(began.Add(time.Duration(at) * time.Second)))
			return ask(s, "GET", "/v1/predictions/"+created["id"].(string), "").object(t)["output"]
		}
		require.Nil(t, look(5))
		require.Len(t, look(6), 1)
		require.Len(t, look(8), 2)
		require.Len(t, look(10), 3)

		began = time.Now()
		got := ask(s, "GET", "/http/qwen-stable/?sse=2&gap_ms=1000", "")
		require.Equal(t, 17*time.Second, time.Since(began), "the run, the first token and the gap: %s", got.body)
	})
}
