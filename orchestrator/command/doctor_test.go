package command

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDoctorHealthy: all checks pass, and nothing stays in the namespace.
func TestDoctorHealthy(t *testing.T) {
	f := newFakeAccount(t)
	stdout, stderr, code := runCommand(t, f.env(), "doctor")
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, `ok    token               active, never expires
ok    KV read             namespace space, 1 service
ok    KV write            wrote, read and deleted doctor:probe
ok    analytics read      dataset perch_requests, 1234 rows in the last day
ok    worker              script perch is deployed
ok    binding ROLLOUTS    bound to space
ok    binding ANALYTICS   bound to perch_requests
ok    worker health       {"status":"ok","traps":0,"bypass":false,"seal":["`+testKey.ID()+`"]}
ok    seal key            key `+testKey.ID()+`, here and in the worker
ok    secrets             none is named
ok    webhook secret      no service learns outcomes by webhook
ok    held token          none is held
ok    rate limits         none is named
`, stdout)
	require.Empty(t, f.values)
	require.Equal(t, []string{"doctor:probe", "-doctor:probe"}, f.writes)

	stdout, _, code = runCommand(t, f.env(), "doctor", "--json")
	require.Equal(t, exitDone, code)
	result := decodeJSON(t, stdout)
	require.Equal(t, true, result["ok"])
	require.Len(t, result["checks"], 13)
}

// TestDoctorAilments: each check can fail, says what it saw, and how to mend it
// in one line; the others go on.
func TestDoctorAilments(t *testing.T) {
	forbidden := fakeRefusal{403, 10000, "Authentication error"}
	noNamespace := fakeRefusal{404, 10013, "namespace not found"}
	const noDocuments = "not checked: the documents were not read|mend the checks of KV first"
	const noSettings = "not checked: the worker's settings were not read|mend the check of the worker first"
	unread := []string{"secrets|" + noDocuments, "webhook secret|" + noDocuments, "held token|" + noDocuments, "rate limits|" + noDocuments}
	mendNamespace := "run orchestrator init, and set PERCH_NAMESPACE_ID to the id that it prints"
	tests := []struct {
		name string
		make func(*fakeAccount)
		env  string
		want []string // "check: detail: mend" of each that fails
	}{
		{"token refused everywhere", func(f *fakeAccount) {
			f.refuse["GET /user"], f.refuse["GET /tokens"] = fakeRefusal{401, 1000, "Invalid API Token"}, forbidden
		}, "",
			[]string{"token|verify token: status 401 Unauthorized: Invalid API Token (code 1000)|" + makeToken}},
		{"token disabled", func(f *fakeAccount) { f.token = `{"status":"disabled"}` }, "", []string{"token|the token is disabled|" + makeToken}},
		{"API out of order", func(f *fakeAccount) { f.refuse["GET /workers"] = fakeRefusal{500, 1, "oops"} }, "", []string{
			"worker|read settings of worker perch: status 500 Internal Server Error: oops (code 1)|try again later",
			"binding ROLLOUTS|not checked: the worker's settings were not read|mend the check of the worker first",
			"binding ANALYTICS|not checked: the worker's settings were not read|mend the check of the worker first",
			"seal key|" + noSettings, "secrets|" + noSettings, "webhook secret|" + noSettings, "held token|" + noSettings, "rate limits|" + noSettings}},
		{"KV not readable", func(f *fakeAccount) { f.refuse["GET /namespaces/space/keys"] = forbidden }, "", append([]string{
			"KV read|list KV keys rollout:*: status 403 Forbidden: Authentication error (code 10000)|give the token the permission Workers KV Storage: Edit for this account, or check CLOUDFLARE_ACCOUNT_ID"}, unread...)},
		{"another account", func(f *fakeAccount) {
			f.refuse["GET /namespaces/space/keys"] = fakeRefusal{404, 7003, "Could not route to /accounts/acct"}
		}, "", append([]string{
			"KV read|list KV keys rollout:*: status 404 Not Found: Could not route to /accounts/acct (code 7003)|check CLOUDFLARE_ACCOUNT_ID"}, unread...)},
		{"KV only readable", func(f *fakeAccount) { f.refuse["PUT "] = forbidden }, "", []string{
			"KV write|write KV key doctor:probe: status 403 Forbidden: Authentication error (code 10000)|give the token the permission Workers KV Storage: Edit for this account, or check CLOUDFLARE_ACCOUNT_ID"}},
		{"another namespace", func(f *fakeAccount) {
			f.refuse["GET /namespaces"], f.refuse["PUT /namespaces"] = noNamespace, noNamespace
		}, "", append([]string{
			"KV read|list KV keys rollout:*: status 404 Not Found: namespace not found (code 10013)|" + mendNamespace,
			"KV write|write KV key doctor:probe: status 404 Not Found: namespace not found (code 10013)|" + mendNamespace}, unread...)},
		{"analytics refused", func(f *fakeAccount) { f.refuse["POST /analytics_engine"] = forbidden }, "", []string{
			"analytics read|query analytics: status 403 Forbidden: Authentication error (code 10000)|give the token the permission Account Analytics: Read for this account, or check CLOUDFLARE_ACCOUNT_ID"}},
		{"nothing ever written", func(f *fakeAccount) {
			f.refuse["POST /analytics_engine"] = fakeRefusal{422, 1, "unable to find type of column: timestamp"}
		}, "", []string{
			"analytics read|query analytics: no data was written yet|send a request through the worker, wait a minute, and try again"}},
		{"nothing lately", func(f *fakeAccount) { f.rows = `[{"n":0}]` }, "", []string{
			"analytics read|dataset perch_requests has no rows of the last day|send a request through the worker, wait a minute, and try again"}},
		{"no rows at all", func(f *fakeAccount) { f.rows = `[]` }, "", []string{
			"analytics read|dataset perch_requests has no rows of the last day|send a request through the worker, wait a minute, and try again"}},
		{"worker not deployed", func(f *fakeAccount) {
			f.refuse["GET /workers"] = fakeRefusal{404, 10007, "This Worker does not exist on your account."}
		}, "", []string{
			"worker|read settings of worker perch: status 404 Not Found: This Worker does not exist on your account. (code 10007)|deploy it with wrangler deploy, or name it by --worker or PERCH_WORKER",
			"binding ROLLOUTS|not checked: the worker's settings were not read|mend the check of the worker first",
			"binding ANALYTICS|not checked: the worker's settings were not read|mend the check of the worker first",
			"seal key|" + noSettings, "secrets|" + noSettings, "webhook secret|" + noSettings, "held token|" + noSettings, "rate limits|" + noSettings}},
		{"bindings of another environment", func(f *fakeAccount) {
			f.bindings = strings.NewReplacer(`"space"`, `"staging"`, "perch_requests", "perch_staging").Replace(f.bindings)
		}, "", []string{
			`binding ROLLOUTS|it is bound to staging, not to space|in wrangler.toml give the binding ROLLOUTS id = "space", and deploy; or set PERCH_NAMESPACE_ID=staging`,
			`binding ANALYTICS|it is bound to perch_staging, not to perch_requests|in wrangler.toml give the binding ANALYTICS dataset = "perch_requests", and deploy; or set PERCH_DATASET=perch_staging`}},
		{"bindings absent or of another type", func(f *fakeAccount) { f.bindings = `[{"name":"ROLLOUTS","type":"plain_text","text":"x"}]` }, "", []string{
			`binding ROLLOUTS|it is of type plain_text, not kv_namespace|in wrangler.toml give the binding ROLLOUTS id = "space", and deploy`,
			`binding ANALYTICS|the worker has no such binding|in wrangler.toml give the binding ANALYTICS dataset = "perch_requests", and deploy`,
			"seal key|the worker has no secret PERCH_SEAL_KEY|run orchestrator init, which makes one, or npm run wrangler -- secret put PERCH_SEAL_KEY --env production"}},
		{"URL unknown", func(*fakeAccount) {}, "PERCH_WORKER_URL=", []string{
			"worker health|not checked: the worker's URL is not known|set PERCH_WORKER_URL or --worker-url",
			"seal key|not compared: the worker's health was not read|mend the check of the worker's health first"}},
		{"another site", func(f *fakeAccount) { f.health = "<html>welcome" }, "", []string{
			"worker health|this is no answer of Perch: <html>welcome|check PERCH_WORKER_URL",
			"seal key|not compared: the worker's health was not read|mend the check of the worker's health first"}},
		{"bypass left on", func(f *fakeAccount) { f.health = strings.Replace(f.health, "false", "true", 1) }, "", []string{
			`worker health|PERCH_BYPASS sends everything to stable|set PERCH_BYPASS = "0" in wrangler.toml, and deploy`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAccount(t)
			test.make(f)
			env := f.env(test.env)
			stdout, stderr, code := runCommand(t, env, "doctor", "--json")
			require.Equal(t, exitError, code)
			require.Empty(t, stderr)
			result := decodeJSON(t, stdout)
			require.Equal(t, false, result["ok"])
			require.Len(t, result["checks"], 13)
			var failed []string
			for _, item := range result["checks"].([]any) {
				k := item.(map[string]any)
				if k["ok"] == false {
					failed = append(failed, k["name"].(string)+"|"+k["detail"].(string)+"|"+k["mend"].(string))
				} else {
					require.NotContains(t, k, "mend")
				}
			}
			require.Equal(t, test.want, failed)
		})
	}
}

// TestDoctorPrintsMends: the mend stands in the line below its check.
func TestDoctorPrintsMends(t *testing.T) {
	f := newFakeAccount(t)
	f.rows = "[]"
	stdout, _, code := runCommand(t, f.env(), "doctor")
	require.Equal(t, exitError, code)
	require.Contains(t, stdout, `FAIL  analytics read      dataset perch_requests has no rows of the last day
      mend: send a request through the worker, wait a minute, and try again
`)
	require.True(t, strings.HasSuffix(stdout, "1 of 13 checks failed\n"))
}

// TestDoctorSaysAMendOnce: checks that fail of one cause share its mend.
func TestDoctorSaysAMendOnce(t *testing.T) {
	f := newFakeAccount(t)
	for _, call := range []string{"GET /", "PUT /", "POST /"} {
		f.refuse[call] = fakeRefusal{401, 10000, "Authentication error"}
	}
	stdout, _, code := runCommand(t, f.env(), "doctor")
	require.Equal(t, exitError, code)
	require.Equal(t, 1, strings.Count(stdout, makeToken))
	require.Equal(t, 4, strings.Count(stdout, "mend: as for token\n"))
}

// TestDoctorNoAnswer: where nobody answers, the other checks are not waited for.
func TestDoctorNoAnswer(t *testing.T) {
	t.Parallel() // it waits through the retries
	f := newFakeAccount(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	stdout, _, code := runCommand(t, f.env("CLOUDFLARE_BASE_URL="+gone.URL), "doctor", "--json")
	require.Equal(t, exitError, code)
	checks := decodeJSON(t, stdout)["checks"].([]any)
	require.Len(t, checks, 1)
	require.Contains(t, checks[0].(map[string]any)["detail"], "no answer from Cloudflare's API: verify token: ")
	require.Equal(t, "check the network and CLOUDFLARE_BASE_URL, then try again", checks[0].(map[string]any)["mend"])
}

// TestErrorsPointToDoctor: what the API refuses, or where it does not answer, is
// doctor's to explain.
func TestErrorsPointToDoctor(t *testing.T) {
	t.Parallel() // it waits through the retries
	f := newFakeAccount(t)
	f.refuse["GET /namespaces"] = fakeRefusal{401, 10000, "Authentication error"}
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, env := range [][]string{f.env(), f.env("CLOUDFLARE_BASE_URL=" + gone.URL)} {
		_, stderr, code := runCommand(t, env, "list")
		require.Equal(t, exitError, code)
		require.True(t, strings.HasSuffix(stderr, "\nhint: orchestrator doctor says what to mend\n"), stderr)
	}
}

func TestDoctorRefuses(t *testing.T) {
	f := newFakeAccount(t)
	for want, args := range map[string][]string{
		"no KV namespace is given":        {"--namespace", ""},
		`dataset "a; DROP"`:               {"--dataset", "a; DROP"},
		`unexpected argument "acme/flux"`: {"acme/flux"},
	} {
		_, stderr, code := runCommand(t, f.env("PERCH_NAMESPACE_ID="), append([]string{"doctor", "--namespace", "space"}, args...)...)
		require.Equal(t, exitUsage, code, stderr)
		require.Contains(t, stderr, want)
	}
	require.Empty(t, f.writes)
}
