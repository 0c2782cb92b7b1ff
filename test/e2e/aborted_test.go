package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// TestStreamOfAbortedPrediction: the stream of a prediction that was aborted ends
// like that of one that was canceled; only a poll tells which of them it was.
func TestStreamOfAbortedPrediction(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	for _, tt := range []struct {
		fault             upstream.FaultName
		output            bool
		outcome, streamed string // the ends known after the poll, and after the stream
	}{
		{upstream.FaultAborted, false, "aborted", ""},
		{upstream.FaultCanceled, true, "canceled", "canceled"},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			canary := versionID(model, document.Canary)
			slow := upstream.Behavior{Latency: upstream.Fixed(200 * time.Millisecond), Queue: upstream.Fixed(20 * time.Millisecond)}
			require.NoError(t, w.upstream.SetBehavior(canary, slow))
			require.NoError(t, w.upstream.SetFault(canary, upstream.Fault{Name: tt.fault}))
			made := w.create(model, nil)
			stream := w.follow("GET", made.URLs.Stream, nil).Body
			require.Contains(t, stream, "event: done")
			require.Equal(t, tt.output, contains(stream, "event: output"))
			require.Eventually(t, func() bool {
				all := w.endings("model:" + model)
				return all[made.ID].Requests == 1 && all[made.ID].Ended == tt.streamed
			}, 5*time.Second, 20*time.Millisecond)

			w.follow("GET", made.URLs.Get, nil)
			require.Eventually(t, func() bool {
				e := w.endings("model:" + model)[made.ID]
				return e.Rows >= 2 && e.Ended == tt.outcome // that of the request, and of each time that more of the end was told
			}, 5*time.Second, 20*time.Millisecond)
		})
	}
}
