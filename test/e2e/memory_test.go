package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/process"
)

// TestEditedBodyIsNotHeld: where the path names the service, a large body that is
// edited on its way takes much less memory than its size. test/soak does so with
// 100 MB.
func TestEditedBodyIsNotHeld(t *testing.T) {
	const model, size = "acme/large", 64 << 20
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	send := func(size int) {
		input := `"input":{"prompt":"` + pad(size) + `"}}`
		sum := sha256.Sum256([]byte(`{"version":"` + model + ":" + versionID(model, document.Canary) + `",` + input))
		w.upstream.ClearLog()
		r := w.do(call{Path: "/v1/models/" + model + "/predictions", Body: "{" + input, Headers: map[string]string{"prefer": "wait"}})
		require.Equal(t, 201, r.Status, r.Body)
		require.Equal(t, document.Canary, r.variant())
		require.Equal(t, hex.EncodeToString(sum[:]), last(w.upstream.Log()).BodySHA256)
	}
	for range 2 {
		send(size / 4) // buffers and heap have their size then
	}
	pid := w.stack.Places[0].PID
	require.NoError(t, process.ResetPeak(pid))
	before, err := process.ResidentBytes(pid)
	require.NoError(t, err)
	send(size)
	peak, err := process.PeakBytes(pid)
	require.NoError(t, err)
	t.Logf("memory rose by %d KB", (peak-before)>>10)
	require.Less(t, peak-before, int64(size*3/4))
}
