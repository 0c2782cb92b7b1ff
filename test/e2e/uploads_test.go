package e2e

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/telemetry"
)

// TestSlowUploads: a client that takes longer to send its body than the canary has
// for its answer is no error of the canary's, whether the body is kept or not.
func TestSlowUploads(t *testing.T) {
	const limit = 400 * time.Millisecond
	w := newWorld(t, worldOptions{})
	d := w.httpRollout("slow", 10_000)
	d.Targets[1].TimeoutMS = limit.Milliseconds()
	w.write(d)
	for _, size := range []int{300_000, 3 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			body, writer := io.Pipe()
			go func() {
				defer writer.Close()
				for range 4 {
					_, _ = io.WriteString(writer, pad(size/4)) // the reading end fails the test
					time.Sleep(limit)
				}
			}()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.stack.Places[0].URL+"/slow/x", body)
			require.NoError(t, err)
			request.ContentLength = int64(size)
			response, err := client.Do(request)
			require.NoError(t, err)
			defer response.Body.Close()
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.Equal(t, document.Canary, response.Header.Get("x-perch-served-by"))
			rows := w.points(response.Header.Get("x-perch-trace"))
			outcome, err := rows[0].Text(string(telemetry.Outcome))
			require.NoError(t, err)
			require.Equal(t, telemetry.OutcomeOK, outcome)
		})
	}
}

// TestUnreadUploads: a canary that takes no more of a body that is kept is late,
// however much of it is still to come.
func TestUnreadUploads(t *testing.T) {
	w := newWorld(t, worldOptions{})
	d := w.httpRollout("slow", 10_000)
	fallback := document.DefaultFallback()
	fallback.MaxBodyBytes = document.MaxBodyBytes
	d.Fallback = &fallback
	d.Targets[1].TimeoutMS = 400
	d.Targets[1].URL = w.unread(func(http.ResponseWriter, *http.Request) { time.Sleep(3 * time.Second) })
	w.write(d)
	r := w.do(call{Path: "/slow/x", Body: pad(8 << 20)})
	require.Equal(t, http.StatusOK, r.Status, r.Body)
	require.Equal(t, document.Stable, r.Header.Get("x-perch-served-by"))
	require.Equal(t, "timeout", r.Header.Get("x-perch-fallback"))
}
