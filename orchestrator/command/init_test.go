package command

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
	"perch/shared/document"
)

const fluxKey = "rollout:model:acme:flux"

// TestInitNew: from an empty account to a service that is all stable.
func TestInitNew(t *testing.T) {
	f := newFakeAccount(t)
	f.namespaces = []string{"other"}
	stdout, stderr, code := runCommand(t, f.env("PERCH_NAMESPACE_ID="), "init", "--stable", "deployment=acme/live", "acme/flux")
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, `created KV namespace perch-rollouts: space
wrote document rollout:model:acme:flux, generation 1: everyone to stable, deployment acme/live
wrote alias:deployment:acme:live, so that requests that name it alone are routed too
the worker has a key that seals what clients bring back

in wrangler.toml, under [[env.production.kv_namespaces]], set: id = "space"
then deploy

set by hand:
  GitHub Actions secret    CLOUDFLARE_API_TOKEN   a token with Workers KV Storage: Edit, Account Analytics: Read, Workers Scripts: Read; to deploy Workers Scripts: Edit
  GitHub Actions secret    CLOUDFLARE_ACCOUNT_ID  acct
  GitHub Actions secret    PERCH_SEAL_KEY         the worker's, as it was shown when it was made
  GitHub Actions secret    REPLICATE_API_TOKEN    a token that may read the predictions, for those that nobody asks about
  GitHub Actions variable  PERCH_NAMESPACE_ID     space
  GitHub Actions variable  PERCH_WORKER_URL       `+f.server.URL+`/worker
  GitHub Actions variable  PERCH_SERVICES         ["acme/flux"], to step it on a schedule

then check all of it: orchestrator doctor
`, stdout)
	require.Equal(t, []string{"alias:deployment:acme:live", fluxKey}, f.writes)
	alias, readable := rollout.DecodeAlias([]byte(f.values["alias:deployment:acme:live"]))
	require.True(t, readable)
	require.Equal(t, []string{"model:acme/flux", "stable", "initial"}, []string{alias.Service, alias.Variant, alias.Rollout})
	d, err := document.ParseStrict([]byte(f.values[fluxKey]))
	require.NoError(t, err)
	require.Equal(t, []document.Target{{Name: "stable", Deployment: "acme/live"}}, d.Targets)
	require.Zero(t, d.BasisPoints)
	require.Equal(t, int64(1), d.Generation)

	// Again, it finds what it made.
	stdout, _, code = runCommand(t, f.env("PERCH_NAMESPACE_ID="), "init")
	require.Equal(t, exitDone, code)
	require.Contains(t, stdout, "found KV namespace perch-rollouts: space\n")
	require.Len(t, f.namespaces, 2)
}

// TestInitDryRun: it tells all and writes nothing.
func TestInitDryRun(t *testing.T) {
	f := newFakeAccount(t)
	f.namespaces = nil
	stdout, _, code := runCommand(t, f.env("PERCH_NAMESPACE_ID="), "init", "--dry-run", "--stable", "model=acme/flux", "acme/flux")
	require.Equal(t, exitDone, code)
	require.Contains(t, stdout, "would create KV namespace perch-rollouts\nwould write document rollout:model:acme:flux, generation 1")
	require.Contains(t, stdout, "would write alias:model:acme:flux,")
	require.Contains(t, stdout, `id = "(the id that init prints)"`)

	f.namespaces = []string{"space"}
	stdout, _, code = runCommand(t, f.env(), "--dry-run", "init", "--json", "--stable", "model=acme/flux", "acme/flux")
	require.Equal(t, exitDone, code)
	result := decodeJSON(t, stdout)
	require.Equal(t, map[string]any{"id": "space", "title": "perch-rollouts", "created": false}, result["namespace"])
	require.Equal(t, map[string]any{"key": fluxKey, "service": "model:acme/flux", "stable": "model acme/flux", "generation": 1.0}, result["document"])
	alias := result["aliases"].([]any)[0].(map[string]any)
	require.Equal(t, "alias:model:acme:flux", alias["key"])
	require.Equal(t, "stable", alias["value"].(map[string]any)["variant"])
	require.Equal(t, true, result["dry_run"])
	require.Empty(t, f.writes)
	require.Empty(t, f.values)
}

// TestInitPresent: a document that is there stays, unless --force says otherwise;
// one with a rollout stays in any case.
func TestInitPresent(t *testing.T) {
	args := []string{"init", "--stable", "model=acme/flux", "acme/flux"}
	forced := []string{"init", "--force", "--stable", "model=acme/flux", "acme/flux"}
	present := `{"schema":1,"service":"acme/flux","rollout":"initial","generation":41,"mode":"canary","percentage":0,"salt":"s","targets":{"stable":{"model":"a/b"}}}`

	f := newFakeAccount(t)
	f.values[fluxKey] = present
	_, stderr, code := runCommand(t, f.env(), args...)
	require.Equal(t, exitRefused, code)
	require.Equal(t, "orchestrator: model:acme/flux has a document already\nhint: --force writes over it; orchestrator status shows it\n", stderr)
	require.Equal(t, present, f.values[fluxKey])

	_, stderr, code = runCommand(t, f.env(), forced...)
	require.Equal(t, exitDone, code, stderr)
	d, err := document.Parse([]byte(f.values[fluxKey]))
	require.NoError(t, err)
	require.Equal(t, int64(42), d.Generation, "the edge must see it as newer")
	require.Equal(t, "model acme/flux", d.Targets[0].String())

	f.values[fluxKey] = "unreadable"
	_, stderr, code = runCommand(t, f.env(), forced...)
	require.Equal(t, exitDone, code, stderr)
	_, err = document.Parse([]byte(f.values[fluxKey]))
	require.NoError(t, err)

	f.values["state:model:acme:flux"] = "{}"
	f.writes = nil
	_, stderr, code = runCommand(t, f.env(), forced...)
	require.Equal(t, exitRefused, code)
	require.Contains(t, stderr, "orchestrator: model:acme/flux has had a rollout: init would undo it\n")
	require.Empty(t, f.writes)
}

// TestInitRefuses: what is wrong is said before anything is written.
func TestInitRefuses(t *testing.T) {
	digits := strings.Repeat("0", 64)
	tests := []struct {
		name   string
		args   []string
		env    []string
		refuse map[string]fakeRefusal
		code   int
		want   string // beginning of stderr
	}{
		{"no account", nil, []string{"CLOUDFLARE_ACCOUNT_ID="}, nil, exitUsage, "orchestrator: no account is given\nhint: "},
		{"no token", nil, []string{"CLOUDFLARE_API_TOKEN="}, nil, exitUsage, "orchestrator: no API token is given\nhint: "},
		{"service without stable", []string{"acme/flux"}, nil, nil, exitUsage,
			"orchestrator: --stable is missing: name what serves model:acme/flux today\nhint: "},
		{"stable without service", []string{"--stable", "model=a/b"}, nil, nil, exitUsage,
			"orchestrator: --stable is given, but no service\nhint: "},
		{"bad service", []string{"--stable", "model=a/b", "flux"}, nil, nil, exitUsage, `orchestrator: service "flux": `},
		{"no target", []string{"--stable", "acme/flux", "acme/flux"}, nil, nil, exitUsage, `orchestrator: --stable "acme/flux" is not a target` + "\nhint: "},
		{"short version", []string{"--stable", "version=acme/flux:5c7d", "acme/flux"}, nil, nil, exitUsage,
			"orchestrator: targets.stable.version: write owner/name:id or the id alone, 64 hexadecimal digits\n"},
		{"http service without url", []string{"--stable", "version=" + digits, "http:qwen"}, nil, nil, exitUsage,
			"orchestrator: targets.stable: an http service needs a url\n"},
		{"unknown namespace", []string{"--namespace", "nope"}, nil, nil, exitUsage,
			"orchestrator: the account has no KV namespace nope\nhint: leave PERCH_NAMESPACE_ID and --namespace out to have one made\n"},
		{"listing refused", nil, nil, map[string]fakeRefusal{"GET /namespaces": {403, 10000, "Authentication error"}}, exitError,
			"orchestrator: list KV namespaces: status 403 Forbidden: Authentication error (code 10000)\nhint: give the token the permission Workers KV Storage: Edit for this account, or check CLOUDFLARE_ACCOUNT_ID\n"},
		{"making refused", nil, []string{"PERCH_NAMESPACE_ID="}, map[string]fakeRefusal{"POST /namespaces": {403, 10000, "Authentication error"}}, exitError,
			"orchestrator: create KV namespace perch-rollouts: status 403 Forbidden: Authentication error (code 10000)\nhint: give the token the permission Workers KV Storage: Edit for this account, or check CLOUDFLARE_ACCOUNT_ID\n"},
		{"writing refused", []string{"--stable", "model=a/b", "acme/flux"}, nil,
			map[string]fakeRefusal{"PUT /namespaces/space/values": {403, 10000, "Authentication error"}}, exitError,
			"orchestrator: write KV key alias:model:a:b: status 403 Forbidden: Authentication error (code 10000)\nhint: orchestrator doctor says what to mend\n"},
		{"state unreadable", []string{"--force", "--stable", "model=a/b", "acme/flux"}, nil,
			map[string]fakeRefusal{"GET /namespaces/space/values/state": {400, 10021, "bad"}}, exitError,
			"orchestrator: read KV key state:model:acme:flux: status 400 Bad Request: bad (code 10021)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAccount(t)
			f.refuse = test.refuse
			if test.name == "making refused" {
				f.namespaces = nil
			}
			_, stderr, code := runCommand(t, f.env(test.env...), append([]string{"init"}, test.args...)...)
			require.Equal(t, test.code, code)
			require.True(t, strings.HasPrefix(stderr, test.want), stderr)
			require.Empty(t, f.writes)
		})
	}
}

// TestInitEnvironments: what is left to set is named as the worker's environment
// has it in wrangler.toml and the workflows.
func TestInitEnvironments(t *testing.T) {
	tests := []struct {
		name    string
		flags   []string
		want    []string
		without []string
	}{
		{"production", nil, []string{`under [[env.production.kv_namespaces]], set: id = "space"`, "PERCH_NAMESPACE_ID "},
			[]string{"dataset", "PERCH_DATASET"}},
		{"staging", []string{"--worker", "perch-staging", "--dataset", "perch_requests_staging"},
			[]string{`under [[env.staging.kv_namespaces]], set: id = "space"`, "PERCH_STAGING_NAMESPACE_ID ", "PERCH_STAGING_WORKER_URL ", "PERCH_STAGING_SEAL_KEY "},
			[]string{"dataset", "_DATASET", "PERCH_SERVICES"}},
		{"another worker", []string{"--worker", "mine", "--dataset", "my_requests"},
			[]string{`under [[env.<environment>.kv_namespaces]], set: id = "space"`,
				`under [[env.<environment>.analytics_engine_datasets]], set: dataset = "my_requests"`, "PERCH_DATASET "}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, code := runCommand(t, newFakeAccount(t).env(), append([]string{"init"}, test.flags...)...)
			require.Equal(t, exitDone, code, stderr)
			for _, want := range test.want {
				require.Contains(t, stdout, want)
			}
			for _, without := range test.without {
				require.NotContains(t, stdout, without)
			}
		})
	}
}

// TestInitKnowsWorkflows: init names just what the workflows read.
func TestInitKnowsWorkflows(t *testing.T) {
	paths, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		all.Write(text)
	}
	f := newFakeAccount(t)
	stdout, _, code := runCommand(t, f.env(), "init", "--json", "--dataset", "mine")
	require.Equal(t, exitDone, code)
	var named []string
	for _, item := range decodeJSON(t, stdout)["to_set"].([]any) {
		name := item.(map[string]any)["name"].(string)
		require.Contains(t, all.String(), name)
		named = append(named, name)
	}
	read := regexp.MustCompile(`(?:secrets|vars)\.(\w+)`).FindAllStringSubmatch(all.String(), -1)
	require.NotEmpty(t, read)
	for _, match := range read {
		require.Contains(t, named, match[1])
	}
}
