package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bundle copies the bundled worker, each file through change, and returns the
// directory.
func bundle(t *testing.T, change func(file string, text []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("../../.build/worker/*")
	require.NoError(t, err)
	require.NotEmpty(t, files, "the worker is not built: run make bundle")
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), change(file, text), 0o600))
	}
	return dir
}

// trapWorker is a bundle whose core panics for the user perch-trap.
func trapWorker(t *testing.T) string {
	t.Helper()
	return bundle(t, func(file string, text []byte) []byte {
		if strings.HasSuffix(file, ".wasm") {
			return buildTrapCore(t)
		}
		return text
	})
}

// preludeWorker is a bundle that runs a file of testdata first.
func preludeWorker(t *testing.T, name string) string {
	t.Helper()
	prelude, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return bundle(t, func(file string, text []byte) []byte {
		if strings.HasSuffix(file, ".js") {
			return append(prelude, text...)
		}
		return text
	})
}
