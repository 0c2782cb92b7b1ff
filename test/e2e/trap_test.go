package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestTrapServesStable: a request on which the core traps is served from
// stable, and neither those beside it nor those after it notice.
func TestTrapServesStable(t *testing.T) {
	w := newWorld(t, worldOptions{Worker: trapWorker(t), Models: []string{"acme/trap"}})
	w.write(rollout("acme/trap", 10_000))
	w.awaitVariant(0, "acme/trap", "user", document.Canary)
	const requests, every = 600, 10
	w.parallel(requests, func(i int) {
		user, want := "user-"+strconv.Itoa(i), document.Canary
		if i%every == 0 {
			user, want = "perch-trap", document.Stable
		}
		r := w.predict(0, "acme/trap", user)
		require.Equal(t, 201, r.Status, r.Body)
		require.Equal(t, want, r.variant())
		require.Contains(t, r.Body, versionID("acme/trap", want), "who answered")
	})
	health := w.do(call{Method: "GET", Path: "/_perch/health"})
	require.Contains(t, health.Body, `"traps":`+strconv.Itoa(requests/every)+`,`)
}

// buildTrapCore builds the core with the trap that tests can ask for.
func buildTrapCore(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perch.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "perch_trap", "-buildmode=c-shared", "-o", file, "perch/worker")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	core, err := os.ReadFile(file)
	require.NoError(t, err)
	return core
}
