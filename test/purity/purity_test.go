// Package purity holds packages to what they may import and do: the worker's
// because it must stay small and compile under TinyGo, the deciding ones because
// the same input must give the same output.
package purity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule says what a group of our packages may do.
type rule struct {
	// allowed are the imports from outside of the module; nil allows all that
	// denied does not name.
	allowed []string
	// denied are imports, and with a final slash everything below them.
	denied []string
	// recover is allowed.
	recover bool
}

var (
	workerRule = rule{allowed: []string{"math/bits", "unicode/utf16", "unicode/utf8", "unsafe"}}
	pureRule   = rule{recover: true, denied: []string{
		"net", "net/", "os", "os/", "context", "io/ioutil", "syscall", "runtime", "runtime/", "math/rand", "math/rand/", "crypto/rand", "log", "log/",
		"sync", "sync/", "github.com/cloudflare/", "github.com/urfave/",
	}}
)

// neverLinked must not reach the worker by way of others either: each costs
// tens of kilobytes, or does nothing good inside WASM.
var neverLinked = []string{
	"fmt", "encoding/json", "net", "net/http", "os", "time", "text/template", "context", "crypto/rand", "math/rand", "math/rand/v2", "regexp", "log",
}

// clocks are the functions of package time that look at a clock.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

// pkg is a package as go list describes it.
type pkg struct {
	ImportPath, Dir  string
	GoFiles, Imports []string
}

func (p pkg) ours() bool { return strings.HasPrefix(p.ImportPath, "perch/") }

// list returns the packages and all that they need, tests aside.
func list(t *testing.T, env []string, args ...string) []pkg {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := decoder.Decode(&p)
		if err == io.EOF {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// checkOurs holds our own packages among them to the rule, and returns their names.
func checkOurs(t *testing.T, packages []pkg, r rule) []string {
	var names []string
	for _, p := range packages {
		if !p.ours() {
			continue
		}
		names = append(names, p.ImportPath)
		require.NotEmpty(t, p.GoFiles, p.ImportPath)
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Empty(t, check(t, path, source, r))
		}
	}
	return names
}

// check returns what a source file does against the rule.
func check(t *testing.T, path string, source []byte, r rule) []string {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, source, 0)
	require.NoError(t, err)
	var found []string
	complain := func(at token.Pos, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: %s", set.Position(at), fmt.Sprintf(format, args...)))
	}
	timeName := ""
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if !r.allows(name) {
			complain(spec.Pos(), "imports %s", name)
		}
		if name == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			complain(n.Pos(), "starts a goroutine")
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "recover" && !r.recover {
				complain(n.Pos(), "calls recover")
			}
		case *ast.SelectorExpr:
			// A mention is enough: a clock taken as a value is a clock too.
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(clocks, n.Sel.Name) {
				complain(n.Pos(), "looks at the clock: time.%s", n.Sel.Name)
			}
		}
		return true
	})
	return found
}

func (r rule) allows(name string) bool {
	if strings.HasPrefix(name, "perch/") {
		return true
	}
	if r.allowed != nil {
		return slices.Contains(r.allowed, name)
	}
	return !slices.ContainsFunc(r.denied, func(denied string) bool {
		return name == denied || strings.HasSuffix(denied, "/") && strings.HasPrefix(name, denied)
	})
}

// TestWorker: everything of ours that is linked into the WASM module, whichever
// compiler builds it, test build included.
func TestWorker(t *testing.T) {
	for _, build := range []struct{ name, tags string }{{"go", ""}, {"tinygo", "tinygo"}, {"with the trap of the tests", "perch_trap"}} {
		t.Run(build.name, func(t *testing.T) {
			packages := list(t, []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}, "-tags="+build.tags, "./worker")
			ours := checkOurs(t, packages, workerRule)
			require.Subset(t, ours, []string{"perch/worker", "perch/worker/router", "perch/worker/prediction", "perch/shared/document", "perch/shared/jsonstream"})
			for _, p := range packages {
				require.NotContains(t, neverLinked, p.ImportPath, "linked into the worker")
				require.False(t, !p.ours() && strings.Contains(p.ImportPath, "."),
					"%s is linked into the worker", p.ImportPath)
			}
		})
	}
}

// TestDeciders: the packages that decide, and those of ours which they use, take
// state and time as arguments.
func TestDeciders(t *testing.T) {
	for _, name := range []string{"./orchestrator/judge", "./orchestrator/rollout", "./orchestrator/simulate", "./orchestrator/measure", "./orchestrator/plan", "./worker/router", "./worker/breaker", "./worker/prediction"} {
		t.Run(name, func(t *testing.T) {
			ours := checkOurs(t, list(t, nil, name), pureRule)
			require.Contains(t, ours, "perch"+strings.TrimPrefix(name, "."))
		})
	}
}

// TestCheck: the check sees what it is there to see.
func TestCheck(t *testing.T) {
	tests := []struct {
		name, source string
		rule         rule
		want         []string
	}{
		{"harmless", "package p\nimport \"math/bits\"\nvar _ = bits.Len", workerRule, nil},
		{"not on the list", "package p\nimport \"fmt\"", workerRule, []string{"p.go:2:8: imports fmt"}},
		{"foreign", "package p\nimport \"github.com/tidwall/gjson\"", workerRule, []string{"p.go:2:8: imports github.com/tidwall/gjson"}},
		{"goroutine", "package p\nfunc f() { go f() }", pureRule, []string{"p.go:2:12: starts a goroutine"}},
		{"recover", "package p\nfunc f() { defer func() { recover() }() }", workerRule, []string{"p.go:2:27: calls recover"}},
		{"recover outside of the worker", "package p\nfunc f() { defer func() { recover() }() }", pureRule, nil},
		{"clock", "package p\nimport \"time\"\nfunc f() { time.Now() }", pureRule, []string{"p.go:3:12: looks at the clock: time.Now"}},
		{"clock as a value under another name", "package p\nimport clock \"time\"\nvar now = clock.Now", pureRule,
			[]string{"p.go:3:11: looks at the clock: time.Now"}},
		{"durations", "package p\nimport \"time\"\nvar d = time.Second", pureRule, nil},
		{"below what is denied", "package p\nimport \"net/url\"", pureRule, []string{"p.go:2:8: imports net/url"}},
		{"denied", "package p\nimport \"os\"", pureRule, []string{"p.go:2:8: imports os"}},
		{"only looks like denied", "package p\nimport \"network\"", pureRule, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, check(t, "p.go", []byte(test.source), test.rule))
		})
	}
}
