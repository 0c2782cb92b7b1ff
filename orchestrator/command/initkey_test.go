package command

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/seal"
)

const noKeyBindings = `[{"name":"ROLLOUTS","type":"kv_namespace","namespace_id":"space"}]`

// TestInitMakesAKey: where the worker has none it gets one, which is shown once
// and never again.
func TestInitMakesAKey(t *testing.T) {
	f := newFakeAccount(t)
	f.bindings = noKeyBindings
	stdout, stderr, code := runCommand(t, f.env("PERCH_SEAL_KEY="), "init")
	require.Equal(t, exitDone, code, stderr)
	require.Len(t, f.secrets, 1)
	text, isKey := strings.CutPrefix(f.secrets[0], "PERCH_SEAL_KEY=")
	require.True(t, isKey)
	key, err := seal.ParseKey(text)
	require.NoError(t, err)
	require.Contains(t, stdout, "set the worker's secret PERCH_SEAL_KEY: key "+key.ID()+"\n")
	require.Contains(t, stdout, "  GitHub Actions secret    PERCH_SEAL_KEY         "+text+"\n")
	require.Equal(t, 1, strings.Count(stdout, text))

	f.bindings = healthyBindings
	stdout, _, code = runCommand(t, f.env("PERCH_SEAL_KEY="), "init")
	require.Equal(t, exitDone, code)
	require.Contains(t, stdout, "the worker has a key that seals what clients bring back\n")
	require.NotContains(t, stdout, text)
	require.Len(t, f.secrets, 1)
}

// TestInitKeyOfHere: one that is set here is the worker's from then on, and is not printed.
func TestInitKeyOfHere(t *testing.T) {
	f := newFakeAccount(t)
	f.bindings = noKeyBindings
	stdout, _, code := runCommand(t, f.env(), "init")
	require.Equal(t, exitDone, code)
	require.Equal(t, []string{"PERCH_SEAL_KEY=" + testKey.Text()}, f.secrets)
	require.NotContains(t, stdout, testKey.Text())
	require.Contains(t, stdout, "the key "+testKey.ID()+" that is set here\n")
}

// TestInitKeyByHand: a worker that is not deployed yet, or a token that may not
// set secrets, leaves it to the user.
func TestInitKeyByHand(t *testing.T) {
	for _, c := range []struct {
		name, call string
		refusal    fakeRefusal
		says       string
	}{
		{"not deployed", "GET /workers", fakeRefusal{404, 10007, "This Worker does not exist on your account."}, "found KV namespace perch-rollouts: space\nmade key "},
		{"not allowed", "PUT /workers", fakeRefusal{403, 10000, "Authentication error"}, "set secret PERCH_SEAL_KEY of worker perch: status 403 Forbidden: Authentication error (code 10000)\nmade key "},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeAccount(t)
			f.bindings = noKeyBindings
			f.refuse[c.call] = c.refusal
			stdout, stderr, code := runCommand(t, f.env("PERCH_SEAL_KEY=", "PERCH_WORKER=perch"), "init")
			require.Equal(t, exitDone, code, stderr)
			require.Contains(t, stdout, c.says)
			require.Contains(t, stdout, "after the deployment set it:\n  npm run wrangler -- secret put PERCH_SEAL_KEY --env production\n")
			require.Empty(t, f.secrets)
		})
	}
}

// TestInitRotates: the former key is kept before the new one takes its place.
func TestInitRotates(t *testing.T) {
	f := newFakeAccount(t)
	stdout, stderr, code := runCommand(t, f.env(), "init", "--rotate-seal-key")
	require.Equal(t, exitDone, code, stderr)
	require.Len(t, f.secrets, 2)
	require.Equal(t, "PERCH_SEAL_KEY_PREVIOUS="+testKey.Text(), f.secrets[0])
	text, isKey := strings.CutPrefix(f.secrets[1], "PERCH_SEAL_KEY=")
	require.True(t, isKey)
	require.NotEqual(t, testKey.Text(), text)
	require.Contains(t, stdout, text)
	require.NotContains(t, stdout, testKey.Text())
	require.Contains(t, stdout, "the former key is kept as PERCH_SEAL_KEY_PREVIOUS: delete that when")

	f.secrets = nil
	stdout, _, code = runCommand(t, f.env("PERCH_SEAL_KEY="), "init", "--rotate-seal-key", "--force", "--json")
	require.Equal(t, exitDone, code)
	require.Len(t, f.secrets, 1, "what was lost cannot be kept")
	require.Equal(t, true, decodeJSON(t, stdout)["seal_key"].(map[string]any)["rotated"])
}

func TestInitRefusesToRotate(t *testing.T) {
	other := seal.NewKey([seal.KeyBytes]byte{9})
	for _, c := range []struct {
		name, env string
		make      func(*fakeAccount)
		code      int
		want      string
	}{
		{"the present key is not given", "PERCH_SEAL_KEY=", func(*fakeAccount) {}, exitUsage,
			"the present seal key is not given\nhint: set PERCH_SEAL_KEY to the present key; with --force"},
		{"another key is given", "", func(f *fakeAccount) { f.health = `{"status":"ok","seal":["` + other.ID() + `"]}` }, exitRefused,
			"the key here, " + testKey.ID() + ", is not the worker's, " + other.ID()},
		{"not deployed", "", func(f *fakeAccount) {
			f.refuse["GET /workers"] = fakeRefusal{404, 10007, "This Worker does not exist."}
		}, exitError,
			"hint: deploy the worker first: its key is its secret"},
		{"not allowed", "", func(f *fakeAccount) { f.refuse["PUT /workers"] = fakeRefusal{403, 10000, "Authentication error"} }, exitError,
			"hint: give the token the permission Workers Scripts: Edit for this account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeAccount(t)
			c.make(f)
			stdout, stderr, code := runCommand(t, f.env(c.env), "init", "--rotate-seal-key")
			require.Equal(t, c.code, code, stderr)
			require.Contains(t, stderr, c.want)
			require.Empty(t, stdout, "a key that is not in use is not shown")
			require.Empty(t, f.secrets)
		})
	}
}

func TestInitKeyDryRun(t *testing.T) {
	f := newFakeAccount(t)
	f.bindings = noKeyBindings
	stdout, _, code := runCommand(t, f.env("PERCH_SEAL_KEY="), "init", "--dry-run")
	require.Equal(t, exitDone, code)
	require.Contains(t, stdout, "would make the key that seals what clients bring back, and set it as the worker's secret PERCH_SEAL_KEY\n")
	_, _, code = runCommand(t, f.env(), "init", "--dry-run", "--rotate-seal-key")
	require.Equal(t, exitDone, code)
	require.Empty(t, f.secrets)
}
