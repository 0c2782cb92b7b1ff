package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// environments are those of wrangler.toml: where a worker goes, and what it is
// bound to there.
var environments = []struct{ name, env, worker, dataset string }{
	{name: "local", env: "", worker: "perch", dataset: "perch_requests"},
	{name: "staging", env: "staging", worker: "perch-staging", dataset: "perch_requests_staging"},
	{name: "production", env: "production", worker: "perch", dataset: "perch_requests"},
}

// isolated keeps wrangler from colors, usage reports and the account of whoever
// runs the test, and from asking the registry for updates.
var isolated = []string{
	"NO_COLOR=1", "WRANGLER_SEND_METRICS=false", "WRANGLER_HIDE_BANNER=true",
	"CLOUDFLARE_API_TOKEN=", "CLOUDFLARE_ACCOUNT_ID=", "CLOUDFLARE_ENV=",
}

// bindingLine is a line of wrangler's table: the binding and its kind.
var bindingLine = regexp.MustCompile(`(?m)^env\.(\S+)(?: \((.*)\))? {2,}(\S.*?) *$`)

// Each environment can be deployed, and is bound to all that the worker reads.
// wrangler says what it does not understand as a mere warning.
func TestDeployDryRun(t *testing.T) {
	watch(t, "wrangler.toml", "package-lock.json", "Makefile", "worker/shell/*", "worker/*.go", "worker/*/*.go", "shared/*/*.go")
	for _, e := range environments {
		t.Run(e.name, func(t *testing.T) {
			out := t.TempDir()
			text, problems := output(t, isolated, "npm", "run", "--silent", "wrangler", "--",
				"deploy", "--dry-run", "--env", e.env, "--outdir", out)
			require.NotContains(t, text+problems, "WARNING")
			bindings := map[string][2]string{}
			for _, line := range bindingLine.FindAllStringSubmatch(text, -1) {
				bindings[line[1]] = [2]string{line[3], line[2]}
			}
			require.Equal(t, map[string][2]string{
				"ROLLOUTS":           {"KV Namespace", ""},
				"ANALYTICS":          {"Analytics Engine Dataset", e.dataset},
				"REPLICATE_BASE_URL": {"Environment Variable", `"https://api.replicate.com/v1"`},
				"PERCH_BYPASS":       {"Environment Variable", `"0"`},
			}, bindings, text)
			wasm, err := filepath.Glob(filepath.Join(out, "*.wasm"))
			require.NoError(t, err)
			require.Len(t, wasm, 1, "the bundle holds the core")
		})
	}
}

// The rate limit that wrangler.toml shows as a comment is one that wrangler takes.
func TestRateLimitExample(t *testing.T) {
	watch(t, "wrangler.toml", "package-lock.json")
	example := regexp.MustCompile(`(?m)^# (\[\[env\.production\.ratelimits\]\]\n)# (name.*\n)# (namespace_id.*\n)# (simple.*\n)`)
	text, err := os.ReadFile("../../wrangler.toml")
	require.NoError(t, err)
	require.Regexp(t, example, string(text))
	config := filepath.Join(t.TempDir(), "wrangler.toml")
	require.NoError(t, os.WriteFile(config, example.ReplaceAll(text, []byte("$1$2$3$4")), 0o600))
	read := `const { unstable_readConfig } = await import("wrangler");
		console.log(JSON.stringify(unstable_readConfig({ config: process.argv[1], env: "production" }).ratelimits));`
	answer, problems := output(t, isolated, "node_modules/.bin/node", "--input-type=module", "--eval", read, config)
	require.NotContains(t, answer+problems, "WARNING")
	require.JSONEq(t, `[{"name": "LIMITER", "namespace_id": "1001", "simple": {"limit": 600, "period": 60}}]`, answer)
}

const readConfigs = `
const { unstable_readConfig } = await import("wrangler");
const configs = process.argv.slice(1).map((env) => unstable_readConfig({ config: "wrangler.toml", env }));
console.log(JSON.stringify(configs));
`

// What deploying without an environment's own name, date or logs would do is not
// seen in a dry run.
func TestEnvironmentsAreComplete(t *testing.T) {
	watch(t, "wrangler.toml", "package-lock.json")
	text, _ := output(t, isolated, "node_modules/.bin/node", "--input-type=module", "--eval", readConfigs,
		environments[0].env, environments[1].env, environments[2].env)
	var configs []struct {
		Name          string
		Date          string   `json:"compatibility_date"`
		Flags         []string `json:"compatibility_flags"`
		Build         struct{ Command string }
		Observability struct {
			Enabled bool
			Redact  bool `json:"redact_query_string"`
			Logs    struct {
				Enabled     bool
				Invocations *bool   `json:"invocation_logs"`
				Rate        float64 `json:"head_sampling_rate"`
			}
			Traces *struct{ Enabled bool }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &configs), text)
	require.Len(t, configs, len(environments))
	for i, e := range environments {
		t.Run(e.name, func(t *testing.T) {
			c := configs[i]
			require.Equal(t, e.worker, c.Name)
			require.Equal(t, "2026-10-15", c.Date)
			require.Contains(t, c.Flags, "enable_request_signal", "else a client that leaves is not noticed")
			require.Equal(t, "make worker", c.Build.Command)
			logs := c.Observability
			require.True(t, logs.Enabled)
			require.True(t, logs.Redact, "queries hold seals")
			require.NotNil(t, logs.Logs.Invocations, "they are logged unless that is denied")
			require.False(t, *logs.Logs.Invocations, "paths hold seals")
			require.True(t, logs.Logs.Enabled)
			require.NotZero(t, logs.Logs.Rate, "a sampling rate is given")
			require.True(t, logs.Traces == nil || !logs.Traces.Enabled, "spans hold URLs too")
		})
	}
}
