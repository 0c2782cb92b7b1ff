package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/seal"
)

// TestTester: a token that names service and variant, and expires. It needs no account.
func TestTester(t *testing.T) {
	b := newBench(t)
	b.env = map[string]string{"PERCH_SEAL_KEY": testKey.Text()}
	r := b.do(0, "tester", "--variant", "stable", "--for", "90m", "acme/flux")
	token := strings.TrimSuffix(r.stdout, "\n")
	require.NotContains(t, token, "\n", "the token stands alone")
	c, err := seal.Open(token, seal.Tester, noon.Add(89*time.Minute), testKey)
	require.NoError(t, err)
	require.Equal(t, seal.Context{Purpose: seal.Tester, Service: "model:acme/flux", Variant: "stable", IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 5400}, c)
	_, err = seal.Open(token, seal.Tester, noon.Add(90*time.Minute), testKey)
	require.ErrorIs(t, err, seal.ErrExpired)
	require.Equal(t, `good until 2026-11-20 13:30:00 UTC for the stable of model:acme/flux
send it as the header x-perch-tester, or in the cookie perch-tester
the document must say "overrides": true, as edge: {overrides: true} in the policy file makes it
`, r.stderr)

	var printed testerToken
	require.NoError(t, json.Unmarshal([]byte(b.do(0, "tester", "--json", "acme/flux").stdout), &printed))
	require.Equal(t, testerToken{printed.Token, "model:acme/flux", "canary", noon.Add(time.Hour), "x-perch-tester", "perch-tester"}, printed)
}

func TestTesterRefuses(t *testing.T) {
	cases := []struct {
		name, key string
		args      []string
		want      string
	}{
		{"no key", "", []string{"acme/flux"}, "no seal key is given\nhint: set PERCH_SEAL_KEY, the worker's secret that orchestrator init makes"},
		{"a broken key", "secret-text", []string{"acme/flux"}, "read PERCH_SEAL_KEY: read seal key: use base64url of 32 bytes"},
		{"no service", testKey.Text(), nil, "no service is given"},
		{"another variant", testKey.Text(), []string{"--variant", "person", "acme/flux"}, `--variant "person" is not allowed`},
		{"for ever", testKey.Text(), []string{"--for", "721h", "acme/flux"}, "--for 721h0m0s is not allowed"},
		{"for no time", testKey.Text(), []string{"--for", "0s", "acme/flux"}, "--for 0s is not allowed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.env["PERCH_SEAL_KEY"] = c.key
			r := b.do(2, append([]string{"tester"}, c.args...)...)
			require.Contains(t, r.stderr, c.want)
			require.Empty(t, r.stdout)
			require.NotContains(t, r.stderr, "secret-text")
		})
	}
}
