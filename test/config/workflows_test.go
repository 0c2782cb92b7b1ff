package config

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow is what the tests look at.
type workflow struct {
	Permissions map[string]string
	Concurrency *concurrency
	Jobs        map[string]struct {
		TimeoutMinutes any    `yaml:"timeout-minutes"`
		Environment    any    `yaml:"environment"`
		Permissions    any    `yaml:"permissions"`
		Uses           string `yaml:"uses"`
		Concurrency    *concurrency
		Steps          []step
	}
}

type concurrency struct {
	Group  string
	Cancel bool `yaml:"cancel-in-progress"`
}

type step struct {
	Name string
	Uses string
	Run  string
	With map[string]string
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.y*ml"))
	require.NoError(t, err)
	all := map[string]workflow{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var w workflow
		require.NoError(t, yaml.Unmarshal(text, &w), path)
		require.NotEmpty(t, w.Jobs, path)
		all[filepath.Base(path)] = w
	}
	for _, name := range []string{"ci.yml", "deploy.yml", "rollout.yml", "rollback.yml"} {
		require.Contains(t, all, name)
	}
	return all
}

// steps lists every step of every workflow.
func steps(t *testing.T) []step {
	t.Helper()
	var all []step
	for _, w := range workflows(t) {
		for _, job := range w.Jobs {
			all = append(all, job.Steps...)
		}
	}
	return all
}

// shellcheck and pyflakes are left out: they would judge where they happen to be
// installed.
func TestActionlint(t *testing.T) {
	watch(t, ".github/workflows/*")
	output(t, nil, "go", "run", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12", "-shellcheck=", "-pyflakes=")
}

// An expression is replaced before the shell reads the script, so whatever an
// input or a branch's name holds would run. Variables are data.
func TestScriptsHoldNoExpressions(t *testing.T) {
	scripts := 0
	for _, s := range steps(t) {
		if s.Run != "" {
			scripts++
			require.NotContains(t, s.Run, "${{", "pass it through env")
		}
	}
	require.NotZero(t, scripts)
}

func TestJobsAreBounded(t *testing.T) {
	for name, w := range workflows(t) {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, map[string]string{"contents": "read"}, w.Permissions)
			for id, job := range w.Jobs {
				require.NotNil(t, job.TimeoutMinutes, "job %s needs a timeout", id)
				require.Nil(t, job.Permissions, "job %s takes the workflow's permissions", id)
				require.Empty(t, job.Uses, "job %s", id)
			}
		})
	}
}

// Several versions of one action, or one that nobody chose, are accidents.
func TestActionsAreTheChosenOnes(t *testing.T) {
	chosen := []string{
		"actions/checkout@v7", "actions/setup-go@v7", "actions/setup-node@v7", "actions/upload-artifact@v7",
		"acifani/setup-tinygo@v3", "cloudflare/wrangler-action@v4",
	}
	used := map[string]bool{}
	for _, s := range steps(t) {
		if s.Uses != "" {
			require.Contains(t, chosen, s.Uses)
			used[s.Uses] = true
		}
	}
	require.Len(t, used, len(chosen))
}

// The wrangler that deploys is the one that the tests have seen.
func TestDeployUsesTheInstalledWrangler(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "package.json"))
	require.NoError(t, err)
	var manifest struct {
		DevDependencies map[string]string `json:"devDependencies"`
	}
	require.NoError(t, json.Unmarshal(text, &manifest))
	found := 0
	for _, s := range steps(t) {
		if strings.HasPrefix(s.Uses, "cloudflare/wrangler-action@") {
			found++
			require.Equal(t, manifest.DevDependencies["wrangler"], s.With["wranglerVersion"])
		}
	}
	require.Equal(t, 1, found)
}

// A rollback must start at once: behind no other job, and no reviewer.
func TestRollbackWaitsForNobody(t *testing.T) {
	all := workflows(t)
	w := all["rollback.yml"]
	require.Nil(t, w.Concurrency)
	for id, job := range w.Jobs {
		require.Nil(t, job.Concurrency, id)
		require.Nil(t, job.Environment, id)
	}
	for id, job := range all["rollout.yml"].Jobs {
		require.NotNil(t, job.Concurrency, id)
		require.Contains(t, job.Concurrency.Group, "matrix.service", id)
		require.False(t, job.Concurrency.Cancel, "a change to a rollout is not cut off half-way")
	}
}

// call is an orchestrator's command in a script; flag is one of its flags there,
// or one that is put together for it.
var (
	call = regexp.MustCompile(`\.build/orchestrator ([a-z]+)`)
	flag = regexp.MustCompile(`--([a-z-]+)`)
)

// Each command in the workflows exists and knows the flags of its step.
func TestOrchestratorCommandsExist(t *testing.T) {
	watch(t, "orchestrator/*.go", "orchestrator/*/*.go", "go.sum")
	binary := filepath.Join(t.TempDir(), "orchestrator")
	output(t, nil, "go", "build", "-o", binary, "./orchestrator")
	seen := map[string]bool{}
	for _, s := range steps(t) {
		for _, found := range call.FindAllStringSubmatch(s.Run, -1) {
			name := found[1]
			seen[name] = true
			help, _ := output(t, nil, binary, name, "--help")
			require.Contains(t, help, "orchestrator "+name)
			for _, f := range flag.FindAllStringSubmatch(s.Run, -1) {
				require.Regexp(t, `(?m)^\s+--`+f[1]+`\b`, help, "command %s", name)
			}
		}
	}
	for _, name := range []string{"start", "step", "run", "promote", "rollback", "set", "pause", "approve"} {
		require.True(t, seen[name], "no workflow calls %s", name)
	}
}

// The script of the scheduled step, run with a stand-in for the orchestrator:
// who is told of what.
func TestScheduledStepFailsOnceOnly(t *testing.T) {
	cases := []struct {
		name          string
		code          string
		action, actor string
		want          int
	}{
		{"it holds", "0", "none", "schedule", 0},
		{"it rolls back", "4", "rollback", "schedule", 4},
		{"it was rolled back before", "4", "none", "schedule", 0},
		{"it gives up", "5", "inconclusive", "schedule", 5},
		{"it gave up before", "5", "renew", "schedule", 0},
		{"there is no rollout", "6", "", "schedule", 0},
		{"there is none that a person wants to step", "6", "", "octocat", 6},
		{"it loses a race", "7", "", "schedule", 0},
		{"it fails", "1", "", "schedule", 1},
		{"it is used wrongly", "2", "", "schedule", 2},
		{"one of all is rolled back", "4", "rollback", "all", 4},
		{"one of all gave up before", "5", "none", "all", 0},
	}
	script := ""
	for _, s := range workflows(t)["rollout.yml"].Jobs["rollout"].Steps {
		if s.Name == "step" {
			script = s.Run
		}
	}
	require.NotEmpty(t, script)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".build"), 0o755))
	standIn := `#!/bin/sh
case "$*" in
  *--all) printf '{"action":"%s"}\n' "$STAND_IN_ACTION" ;;
  *) printf '{\n  "action": "%s"\n}\n' "$STAND_IN_ACTION" ;;
esac
exit "$STAND_IN_CODE"
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".build/orchestrator"), []byte(standIn), 0o755))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("bash", "-e", "-c", script)
			cmd.Dir = dir
			service := "acme/flux"
			if c.actor == "all" {
				service = "all"
			}
			cmd.Env = append(os.Environ(), "PERCH_SERVICE="+service, "ACTOR="+c.actor, "STAND_IN_CODE="+c.code, "STAND_IN_ACTION="+c.action)
			text, err := cmd.CombinedOutput()
			require.Equal(t, c.want, cmd.ProcessState.ExitCode(), "%v\n%s", err, text)
		})
	}
}
