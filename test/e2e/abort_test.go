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
type handles struct{ Documents, Finders, Editors, Opened int }

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
