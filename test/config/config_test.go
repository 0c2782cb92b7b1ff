// Package config checks what ships beside the code: wrangler.toml and the
// workflows.
package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the repository, from where tests run.
const root = "../.."

// output runs a command in the repository and returns what it printed. It fails
// the test if the command does.
func output(t *testing.T, env []string, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, problems strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &out, &problems
	cmd.Env = append(os.Environ(), env...)
	err := cmd.Run()
	require.NoError(t, err, "%s %s\n%s%s", name, strings.Join(args, " "), &out, &problems)
	return out.String(), problems.String()
}

// watch reads files that only commands of the test read otherwise, so that Go
// takes no cached result when they have changed.
func watch(t *testing.T, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		for _, path := range paths {
			_, err := os.ReadFile(path)
			require.NoError(t, err)
		}
	}
}
