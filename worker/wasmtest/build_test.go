package wasmtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxBytes is the most that the standard compiler's build may have, raw.
const maxBytes = 2_200_000

func TestSize(t *testing.T) {
	data := readBinary(t)
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	t.Logf("%d bytes, %d gzipped", len(data), zipped.Len())
	require.LessOrEqual(t, len(data), maxBytes)
	if limit := os.Getenv("PERCH_WASM_MAX_GZIP"); limit != "" {
		most, err := strconv.Atoi(limit)
		require.NoError(t, err, "PERCH_WASM_MAX_GZIP")
		require.LessOrEqual(t, zipped.Len(), most, "gzipped")
	}
}

// TestImportsAndExports: the module asks its host for WASI calls at most, and
// offers just what the shell declares.
func TestImportsAndExports(t *testing.T) {
	compiled := newHost(t).compiled
	if os.Getenv("PERCH_WASM_MAX_GZIP") != "" {
		require.Empty(t, compiled.ImportedFunctions(), "TinyGo's build imports nothing")
	}
	for _, f := range compiled.ImportedFunctions() {
		from, name, _ := f.Import()
		require.Equal(t, "wasi_snapshot_preview1", from, name)
	}
	require.Contains(t, compiled.ExportedMemories(), "memory")
	var exports []string
	for name := range compiled.ExportedFunctions() {
		exports = append(exports, name)
	}
	for _, name := range declaredByShell(t) {
		require.Contains(t, exports, name)
	}
	require.False(t, slices.Contains(exports, "_start"), "a command, not a reactor")
}

// declaredByShell reads the names of the functions in the shell's interfaces of exports.
func declaredByShell(t *testing.T) []string {
	var names []string
	for file, declaration := range map[string]string{
		"wasm_instance.ts": "interface Exports extends BodyExports {",
		"wasm_bodies.ts":   "interface BodyExports {",
	} {
		source, err := os.ReadFile(filepath.Join("..", "shell", file))
		require.NoError(t, err)
		_, rest, found := strings.Cut(string(source), declaration)
		require.True(t, found, "%s: %s", file, declaration)
		body, _, found := strings.Cut(rest, "\n}")
		require.True(t, found, file)
		for _, line := range strings.Split(body, "\n") {
			if name, _, isFunction := strings.Cut(strings.TrimSpace(line), "("); isFunction {
				names = append(names, name)
			}
		}
	}
	require.Subset(t, names, []string{"decide", "open_editor"})
	return names
}

// TestTinyGoSource: TinyGo calls its target linux/arm, not wasm. There too the
// command must be the module, compile where an int has 32 bits, and link no os.
func TestTinyGoSource(t *testing.T) {
	target, err := os.ReadFile("../perch.json")
	require.NoError(t, err)
	var spec map[string]any
	require.NoError(t, json.Unmarshal(target, &spec))
	require.Equal(t, []any{"wasm-unknown"}, spec["inherits"])

	const tags = "-tags=tinygo,tinygo.wasm,wasm_unknown,purego,gc.precise,scheduler.none"
	run := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	require.Equal(t, "[bodies.go main.go]", run("list", tags, "-f", "{{.GoFiles}}", "./worker"))
	require.NotContains(t, strings.Fields(run("list", tags, "-deps", "./worker")), "os")
	run("vet", tags, "./worker/reactor", "./worker/router", "./worker/prediction", "./worker")
}
