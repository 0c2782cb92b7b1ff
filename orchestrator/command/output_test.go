package command

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/rollout"
	"perch/shared/document"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/<name>; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	require.Equal(t, read(t, path), got, "go test -update writes %s anew", name)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// shown is an account with a rollout in the midst of its second step, one of
// another service that was rolled back, and a document that nobody started.
func shown(t *testing.T) *bench {
	b := newBench(t)
	b.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", "http:qwen")
	b.do(0, "rollback", "--reason", "wrong model", "http:qwen")
	d := document.Document{Service: document.Service{Kind: document.KindDeployment, Name: "acme/chat"}, Rollout: "initial", Mode: document.ModeCanary, Salt: "initial",
		User: document.User{Header: "x-user-id", Cookie: "perch-user"}, Targets: []document.Target{{Name: "stable", Deployment: "acme/chat"}}}
	b.kv.values[d.Service.RolloutKey()] = d.Encode()
	b.start()
	b.clock.advance(bake)
	b.do(0, "step", "acme/flux")
	b.clock.advance(5 * time.Minute)
	b.source.canary = arm{errors: 0.004, ms: 812}
	return b
}

func TestGoldenOutputs(t *testing.T) {
	for _, command := range []struct {
		name string
		args []string
	}{
		{"status", []string{"status", "acme/flux"}},
		{"status_ended", []string{"status", "http:qwen"}},
		{"status_unmanaged", []string{"status", "deployment:acme/chat"}},
		{"status_absent", []string{"status", "acme/none"}},
		{"history", []string{"history", "acme/flux"}},
		{"history_none", []string{"history", "acme/none"}},
		{"list", []string{"list"}},
		{"step", []string{"step", "acme/flux"}},
		{"set_dry_run", []string{"set", "--percentage", "35", "--dry-run", "acme/flux"}},
	} {
		t.Run(command.name, func(t *testing.T) {
			golden(t, command.name+".txt", shown(t).do(0, command.args...).stdout)
			golden(t, command.name+".json", shown(t).do(0, append([]string{"--json"}, command.args...)...).stdout)
		})
	}
}

// TestOutputRightAfterARaise: the numbers are captioned with the percentage that
// they are of, and no rate is taken over to the step that has just begun.
func TestOutputRightAfterARaise(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(bake)
	raised := b.do(0, "step", "acme/flux").stdout
	require.Contains(t, raised, "verdict     pass: after the bake time")
	require.Contains(t, raised, "raise 5 → 20 %: ")
	require.Regexp(t, `at 5 % +canary`, raised)
	require.Regexp(t, `errors +0.0556 % +1800 `, raised)
	require.Contains(t, b.do(0, "step", "--json", "acme/flux").stdout, `"decision": "hold"`)
	b.clock.advance(30 * time.Second)
	b.source.canary, b.source.stable = nothing, nothing
	begun := b.do(0, "status", "acme/flux").stdout
	require.Regexp(t, `at 20 % +canary`, begun)
	require.NotContains(t, begun, "1800")
	for line := range strings.Lines(raised + begun) {
		require.LessOrEqual(t, len([]rune(line)), 101, line)
	}
}

// TestStatusOfPhases: what a phase means for users, and what a person can do.
func TestStatusOfPhases(t *testing.T) {
	b := newBench(t).start()
	show := func() string { return b.do(0, "status", "acme/flux").stdout }
	b.do(0, "set", "--percentage", "30", "acme/flux")
	require.Contains(t, show(), "next        orchestrator resume model:acme/flux goes on from there, promote or rollback ends it\n")
	b.do(0, "resume", "acme/flux")
	b.source.canary = nothing
	b.clock.advance(3 * time.Hour)
	b.do(5, "step", "acme/flux")
	require.Contains(t, show(), "percentage  0 % (30 % set; the edge dropped the canary at 2026-11-20 13:00:00 UTC)\n")
	require.Contains(t, show(), "next        orchestrator resume model:acme/flux goes on")
	b.do(0, "promote", "acme/flux")
	require.Contains(t, show(), "percentage  all users on version acme/flux:bbbbbbbb…\n")
	require.NotContains(t, show(), "step ")
	require.Regexp(t, `promoted +– `, b.do(0, "list").stdout)
}

// TestHistoryOnATerminal: long reasons are wrapped in their column.
func TestHistoryOnATerminal(t *testing.T) {
	b := shown(t)
	b.terminal = true
	golden(t, "history_terminal.txt", b.do(0, "history", "acme/flux").stdout)
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	b := newBench(t).start()
	b.kv.values[flux.RolloutKey()] = []byte(`{"schema":1,"percentage":250}`)
	s := b.status()
	require.Contains(t, strings.Join(s.Notes, "\n"), "the document is not as the state says; the next command that writes repairs it")
	require.Contains(t, strings.Join(s.Notes, "\n"), "percentage: 250 is not allowed: give 0 to 100 with at most two decimals")
	b.kv.values[flux.StateKey()] = []byte("{")
	require.Contains(t, strings.Join(b.status().Notes, "\n"), "read state: unexpected end of JSON input")
}

func TestDryRunWritesNothing(t *testing.T) {
	b := newBench(t)
	start := []string{"start", "--stable", "version=" + oldID, "--canary", "version=" + newID, "acme/flux"}
	dry := b.do(0, append([]string{"--dry-run"}, start...)...).stdout
	require.True(t, strings.HasPrefix(dry, "dry run: nothing is written"), dry)
	require.NotContains(t, dry, " %: started")
	require.Less(t, len(dry), 3000)
	require.Empty(t, b.kv.values)
	b.start()
	b.clock.advance(bake)
	writes := b.kv.writes
	for _, args := range [][]string{{"step"}, {"rollback"}, {"promote"}, {"set", "--percentage", "3"}} {
		r := b.do(0, append(args, "--dry-run", "acme/flux")...)
		require.Contains(t, r.stdout, "dry run: would write\n  ")
	}
	require.Equal(t, writes, b.kv.writes)
	b.requireAt(rollout.Running, 500)
	require.Contains(t, b.do(0, "resume", "--dry-run", "acme/flux").stdout, "dry run: nothing would be written")
	b.do(2, "--dry-run", "run", "acme/flux")
}

func TestValidate(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	d := document.Document{Service: flux, Rollout: "a", Mode: document.ModeCanary, Salt: "a", BasisPoints: 1250,
		User: document.User{Header: "x-user-id", Cookie: "perch-user"}, Targets: []document.Target{{Name: "stable", Version: oldID}, {Name: "canary", Version: newID}}}
	good, goodPolicy := write("good.json", string(d.Encode())), write("good.yaml", "bake: 5m\n")
	bad := write("bad.json", strings.Replace(string(d.Encode()), "12.5", "250", 1))
	unknown := write("unknown.json", strings.Replace(string(d.Encode()), `"salt"`, `"sallt":"b","salt"`, 1))
	badPolicy := write("bad.yml", "bake: 5m\nlook: 10m\nwindow: 1m\n")

	plain := func(r result) string { return strings.ReplaceAll(r.stdout+r.stderr, dir+"/", "") }
	golden(t, "validate.txt", plain(b.do(0, "validate", good, goodPolicy)))
	golden(t, "validate.json", plain(b.do(0, "validate", "--json", good, goodPolicy)))
	golden(t, "validate_bad.txt", plain(b.do(2, "validate", good, bad, badPolicy, unknown)))
	golden(t, "validate_bad.json", plain(b.do(2, "validate", "--json", bad, badPolicy)))

	require.Contains(t, b.do(2, "validate", dir+"/absent.yaml").stderr, "\nhint: check the path; without a FILE ")
	require.Equal(t, "default policy, as there is no perch.yaml: valid policy: steps 5 → 20 → 50 → 100 %, 15m each, deadline 2h\n", b.do(0, "validate").stdout)
	b.do(2, "validate", "acme/flux")
	b.do(6, "validate", "--service", "acme/flux")
	b.kv.values[flux.RolloutKey()] = []byte(`{"schema":2}`)
	r := b.do(2, "validate", "--service", "acme/flux")
	require.Contains(t, r.stdout, "KV key rollout:model:acme:flux: schema: this Perch reads schema 1")
	b.kv.values[flux.RolloutKey()] = d.Encode()
	b.do(0, "validate", "--policy", goodPolicy, "--service", "acme/flux")
}

// TestUsage: what cannot work is refused before anything is asked of the account.
func TestUsage(t *testing.T) {
	cases := []struct {
		name   string
		args   []string
		env    map[string]string
		stderr string
	}{
		{"unknown command", []string{"promot"}, nil, `unknown command "promot"` + "\nhint: did you mean \"promote\"? orchestrator --help lists the commands"},
		{"unknown flag", []string{"step", "--fast"}, nil, "unknown flag --fast\nhint: orchestrator step --help lists the flags"},
		{"flag after the argument", []string{"step", "acme/flux", "--json"}, nil, "flag --json comes after the argument acme/flux\nhint: write flags before arguments: orchestrator step --json … acme/flux"},
		{"two services", []string{"step", "acme/flux", "acme/other"}, nil, `unexpected argument "acme/other"`},
		{"service twice", []string{"step", "--service", "acme/flux", "acme/other"}, nil, "services acme/other and acme/flux are both given"},
		{"no service", []string{"step"}, nil, "no service is given\nhint: name it as an argument, by --service or in PERCH_SERVICE"},
		{"bad service", []string{"step", "flux"}, nil, `service "flux": write owner/name`},
		{"bad kind", []string{"step", "grpc:flux"}, nil, "the kind must be model, deployment or http"},
		{"no token", []string{"step", "acme/flux"}, map[string]string{"CLOUDFLARE_API_TOKEN": ""}, "no API token is given"},
		{"no account", []string{"step", "acme/flux"}, map[string]string{"CLOUDFLARE_ACCOUNT_ID": ""}, "no account is given"},
		{"no namespace", []string{"step", "acme/flux"}, map[string]string{"PERCH_NAMESPACE_ID": ""}, "no KV namespace is given"},
		{"bad dataset", []string{"--dataset", "a b", "step", "acme/flux"}, nil, `dataset "a b" is not allowed`},
		{"percentage 250", []string{"set", "--percentage", "250", "acme/flux"}, nil, `percentage "250" is not allowed: give 0 to 100 with at most two decimals`},
		{"percentage -1", []string{"set", "--percentage", "-1", "acme/flux"}, nil, `percentage "-1" is not allowed`},
		{"three decimals", []string{"set", "--percentage", "0.125", "acme/flux"}, nil, "at most two decimals"},
		{"no percentage", []string{"set", "acme/flux"}, nil, "no percentage is given\nhint: for instance orchestrator set --percentage 0 acme/flux"},
		{"percentage as argument", []string{"set", "5"}, nil, "no percentage is given\nhint: for instance orchestrator set --percentage 5 acme/flux"},
		{"percentage before the service", []string{"set", "7.5", "acme/next"}, nil, "no percentage is given\nhint: for instance orchestrator set --percentage 7.5 acme/next"},
		{"percentage after the service", []string{"set", "acme/next", "--percentage", "5"}, nil, "no percentage is given\nhint: for instance orchestrator set --percentage 5 acme/next"},
		{"nothing is set", []string{"step", "acme/flux"}, map[string]string{"CLOUDFLARE_ACCOUNT_ID": "", "CLOUDFLARE_API_TOKEN": "", "PERCH_NAMESPACE_ID": ""},
			"no account, no API token, no KV namespace is given\nhint: set CLOUDFLARE_ACCOUNT_ID or --account; CLOUDFLARE_API_TOKEN, "},
		{"canary before account", []string{"start", "acme/flux"}, map[string]string{"CLOUDFLARE_ACCOUNT_ID": ""}, "no canary is given"},
		{"start's flag after the argument", []string{"start", "acme/flux", "--canary", "model=a/b"}, nil, "flag --canary comes after the argument acme/flux"},
		{"far-off command", []string{"deploy"}, nil, "unknown command \"deploy\"\nhint: orchestrator --help lists the commands"},
		{"history's limit", []string{"history", "--limit", "-1", "acme/flux"}, nil, "--limit -1 is not allowed\nhint: give 0 to see all"},
		{"no canary", []string{"start", "acme/flux"}, nil, "no canary is given"},
		{"bad target", []string{"start", "--canary", "acme/flux", "acme/flux"}, nil, `--canary "acme/flux" is not a target`},
		{"bad rollout id", []string{"start", "--canary", "model=a/b", "--rollout", "a:b", "acme/flux"}, nil, `rollout id "a:b" is not allowed`},
		{"no stable known", []string{"start", "--canary", "model=a/b", "acme/flux"}, nil, "has no document yet\nhint: give --stable"},
		{"canary is stable", []string{"start", "--canary", "model=a/b", "--stable", "model=a/b", "acme/flux"}, nil, "stable and canary are both model a/b"},
		{"bad version", []string{"start", "--canary", "version=a/b:c", "--stable", "model=a/b", "acme/flux"}, nil, "targets.canary.version: write owner/name:id"},
		{"no policy", []string{"--policy", "absent.yaml", "start", "--canary", "model=a/b", "acme/flux"}, nil, "read policy: open absent.yaml"},
		{"argument of list", []string{"list", "acme/flux"}, nil, "unexpected argument"},
		{"unknown shell", []string{"completion", "tcsh"}, nil, `unknown shell "tcsh"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			for name, value := range c.env {
				b.env[name] = value
			}
			r := b.do(2, c.args...)
			require.Contains(t, r.stderr, c.stderr)
			require.Regexp(t, `^orchestrator: [^\n]+\nhint: [^\n]+\n$`, r.stderr)
			require.Empty(t, r.stdout)
			require.Zero(t, b.kv.writes)
		})
	}
}

func TestFlagsInEitherPosition(t *testing.T) {
	for _, args := range [][]string{
		{"--json", "--dry-run", "--service", "acme/flux", "set", "--percentage", "3"},
		{"set", "--json", "--dry-run", "--service", "acme/flux", "--percentage", "3"},
		{"--json", "set", "--dry-run", "--percentage", "3", "acme/flux"},
	} {
		b := newBench(t).start()
		r := b.do(0, args...)
		require.True(t, strings.HasPrefix(r.stdout, "{"), r.stdout)
		require.Contains(t, r.stdout, `"dry_run": true`)
		b.requireAt(rollout.Running, 500)
	}
	b := newBench(t).start()
	b.env["PERCH_SERVICE"] = "acme/other"
	require.Contains(t, b.do(0, "status", "acme/flux").stdout, "model:acme/flux")
	require.Contains(t, b.do(0, "status").stdout, "model:acme/other")
}

func TestHelp(t *testing.T) {
	b := newBench(t)
	for _, c := range (&app{}).commands() {
		r := b.do(0, c.Name, "--help")
		require.Regexp(t, `Examples?:\n`, r.stdout, c.Name)
		require.Contains(t, r.stdout, "orchestrator "+c.Name, c.Name)
		require.Contains(t, r.stdout, "such as --account, are taken here too", c.Name)
		require.Contains(t, b.do(0, "--help").stdout, c.Name)
	}
	require.Regexp(t, `(?s)\n   rollout:.*\n   rollout by hand:.*\n   see:`, b.do(0, "help").stdout)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		require.Contains(t, b.do(0, "completion", shell).stdout, "orchestrator")
	}
	require.Contains(t, b.do(0, "--generate-bash-completion").stdout, "rollback\n")
	require.Contains(t, b.do(0, "set", "--generate-bash-completion").stdout, "--percentage\n")
}
