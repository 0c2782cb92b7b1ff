package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWasmCore: testdata/core.test.mjs, with a document of ours.
func TestWasmCore(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "../../node_modules/.bin/node", "--test-reporter=spec", "testdata/core.test.mjs")
	d := rollout("acme/core", 10_000)
	cmd.Stdin = strings.NewReader(string(d.Encode()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "pass 9")
}
