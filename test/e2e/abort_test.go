package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// handles are what the core has open, as testdata/handles.js logs it.
type handles struct{ Documents, Finders, Editors, Answers, Loads int }

func (w *world) handles() handles {
	w.Helper()
	log := w.stack.Log()
	i := strings.LastIndex(log, `{"handles":`)
	require.GreaterOrEqual(w, i, 0, "no handles were logged")
	var line struct{ Handles handles }
	require.NoError(w, json.NewDecoder(strings.NewReader(log[i:])).Decode(&line))
	return line.Handles
}

// abort sends a body whose beginning arrives and whose end never does, and goes away.
func (w *world) abort(path, beginning string) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	body, writer := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.stack.Places[0].URL+path, body)
	require.NoError(w, err)
	request.Header.Set("authorization", "Bearer test-token")
	ended := make(chan struct{})
	seen := len(w.upstream.Log())
	go func() {
		defer close(ended)
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
		}
	}()
	_, err = io.WriteString(writer, beginning)
	require.NoError(w, err)
	require.Eventually(w, func() bool { return len(w.upstream.Log()) > seen }, 5*time.Second, 5*time.Millisecond, "the upstream never saw it")
	cancel()
	require.NoError(w, writer.CloseWithError(context.Canceled))
	<-ended
}

// TestAbortedBodiesLeaveNothing: clients that go away while they send a body leave
// nothing open in the core, and the upstream does not get half a body for a whole one.
func TestAbortedBodiesLeaveNothing(t *testing.T) {
	w := newWorld(t, worldOptions{Worker: preludeWorker(t, "handles.js"), Models: []string{"acme/gone"}})
	w.write(rollout("acme/gone", 10_000))
	w.alias("acme/gone")
	w.awaitVariant(0, "acme/gone", "user", document.Canary)
	w.parallel(30, func(int) {
		w.abort("/v1/models/acme/gone/predictions", `{"input":{"prompt":"`+pad(1<<20))
	})
	require.Eventually(t, func() bool {
		w.predict(0, "acme/gone", "user")
		h := w.handles()
		return h.Editors == 0 && h.Finders == 0
	}, 10*time.Second, 100*time.Millisecond, "handles stayed open")
}

// TestAbortedAnswer: a client that goes away while an answer streams ends the
// model server's work.
func TestAbortedAnswer(t *testing.T) {
	w := newWorld(t, worldOptions{})
	gone := make(chan struct{})
	w.through(func(rw http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(rw, "data: token\n\n"); err != nil || http.NewResponseController(rw).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	response := w.open(call{Path: "/own/x", Body: "hello"}, strings.NewReader("hello"))
	_, err := io.ReadFull(response.Body, make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the model server was left working for nobody")
	}
}

// TestCutAnswer: an answer that breaks off at the model server breaks off at the
// client too, and does not look whole.
func TestCutAnswer(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.through(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "data: token\n\n")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	response := w.open(call{Path: "/own/x"}, nil)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.Error(t, err)
	require.Equal(t, "data: token\n\n", string(body))
}
