// Package wasmtest runs the built WASM module in wazero on the cases of the
// native tests and on random requests, and compares it with the native core.
//
// PERCH_WASM names the module; without it, .build/perch.wasm is run, or a fresh
// build by the standard compiler where that is missing or older than the source.
// PERCH_WASM_MAX_GZIP is the most bytes that the module may have when gzipped.
package wasmtest

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

var root = filepath.Join("..", "..")

// binary returns the module's bytes, building it at most once.
var binary = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv("PERCH_WASM"); path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		return os.ReadFile(path)
	}
	path := filepath.Join(root, ".build", "perch.wasm")
	if fresh(path) {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "perch-wasm")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path = filepath.Join(dir, "perch.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, "./worker")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// fresh reports whether the module at path is newer than all of its source.
func fresh(path string) bool {
	module, err := os.Stat(path)
	if err != nil {
		return false
	}
	newest := module.ModTime()
	for _, dir := range []string{"worker", "shared"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
			return err
		})
		if err != nil {
			return false
		}
	}
	return newest.Equal(module.ModTime())
}

func readBinary(t testing.TB) []byte {
	t.Helper()
	data, err := binary()
	require.NoError(t, err)
	return data
}

// module is a running instance, used as worker/shell/wasm.ts uses it.
type module struct {
	t          testing.TB
	instance   api.Module
	functions  map[string]api.Function
	start      uint32 // of the input
	inputBytes uint32
	result     uint32 // where the address and the length of the output stand
	stack      [8]uint64
}

// host compiles the module once for all instances.
type host struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

func newHost(t testing.TB) *host {
	t.Helper()
	ctx := context.Background()
	h := &host{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())}
	t.Cleanup(func() { _ = h.runtime.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, h.runtime)
	var err error
	h.compiled, err = h.runtime.CompileModule(ctx, readBinary(t))
	require.NoError(t, err)
	return h
}

// clock tells epoch milliseconds. Both of WASI's clocks are made of it, as
// worker/shell/wasi.ts does. wazero's own default moves on with every look at it,
// which makes Go's collector believe that it takes too much time, and stop.
type clock func() int64

// wallClock runs.
func wallClock() int64 { return time.Now().UnixMilli() }

// frozenClock stands still, as a Worker's does between two waits.
func frozenClock() int64 { return 1_795_190_300_000 }

func (h *host) start(t testing.TB, now clock) *module {
	t.Helper()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithStderr(os.Stderr).
		WithNanotime(func() int64 { return now() * 1_000_000 }, sys.ClockResolution(time.Millisecond)).
		WithWalltime(func() (int64, int32) { return now() / 1_000, int32(now()%1_000) * 1_000_000 }, sys.ClockResolution(time.Millisecond))
	instance, err := h.runtime.InstantiateModule(context.Background(), h.compiled, config)
	require.NoError(t, err)
	m := &module{t: t, instance: instance, functions: map[string]api.Function{}}
	for name := range h.compiled.ExportedFunctions() {
		m.functions[name] = instance.ExportedFunction(name)
	}
	m.start, m.inputBytes, m.result = m.call("input"), m.call("input_bytes"), m.call("result")
	return m
}

// call calls an export; one without a result returns 0.
func (m *module) call(name string, args ...uint32) uint32 {
	f := m.functions[name]
	if f == nil {
		require.Fail(m.t, "the module does not export "+name)
	}
	m.stack[0] = 0
	for i, arg := range args {
		m.stack[i] = uint64(arg)
	}
	if err := f.CallWithStack(context.Background(), m.stack[:max(len(args), 1)]); err != nil {
		require.NoError(m.t, err, "%s%v", name, args)
	}
	if len(f.Definition().ResultTypes()) == 0 {
		return 0
	}
	return uint32(m.stack[0])
}

func (m *module) write(input []byte) {
	if len(input) > int(m.inputBytes) || !m.instance.Memory().Write(m.start, input) {
		require.Failf(m.t, "does not fit into the input", "%d bytes", len(input))
	}
}

func (m *module) output() []byte {
	start, _ := m.instance.Memory().ReadUint32Le(m.result)
	n, _ := m.instance.Memory().ReadUint32Le(m.result + 4)
	out, ok := m.instance.Memory().Read(start, n)
	if !ok {
		require.Failf(m.t, "output outside of the memory", "at %d, %d bytes", start, n)
	}
	return out
}

func (m *module) memoryBytes() uint32 { return m.instance.Memory().Size() }
