package document

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestService: names, KV keys, and back from the key.
func TestService(t *testing.T) {
	tests := []struct{ text, full, key string }{
		{"acme/flux", "model:acme/flux", "model:acme:flux"},
		{"model:acme/flux", "model:acme/flux", "model:acme:flux"},
		{"deployment:acme/flux", "deployment:acme/flux", "deployment:acme:flux"},
		{"http:qwen-chat", "http:qwen-chat", "http:qwen-chat"},
		{"A.b_c-1/2.3", "model:A.b_c-1/2.3", "model:A.b_c-1:2.3"},
		{"http:v1.5", "http:v1.5", "http:v1.5"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			s, err := ParseService(test.text)
			require.NoError(t, err)
			require.Equal(t, test.full, s.String())
			require.Equal(t, "rollout:"+test.key, s.RolloutKey())
			require.Equal(t, "halt:"+test.key, s.HaltKey())
			require.Equal(t, "state:"+test.key, s.StateKey())
			require.Equal(t, "judge:"+test.key, s.JudgeKey())
			require.Equal(t, "history:"+test.key+":", s.HistoryPrefix())
			again, err := ParseService(s.String())
			require.NoError(t, err)
			require.Equal(t, s, again)
			back, ok := ServiceOfRolloutKey(s.RolloutKey())
			require.True(t, ok)
			require.Equal(t, s, back)
		})
	}
}

func TestBadServices(t *testing.T) {
	const (
		ownerName = ": write owner/name of letters, digits, '.', '_' and '-'"
		segment   = ": the name of an http service is one path segment of letters, digits, '.', '_' and '-', and not v1"
		kind      = ": the kind must be model, deployment or http"
	)
	long := strings.Repeat("x", 101)
	tests := []struct{ text, want string }{
		{"", ownerName}, {"flux", ownerName}, {"acme/", ownerName}, {"/flux", ownerName}, {"acme/flux/x", ownerName}, {"-a/b", ownerName},
		{"acme/fl ux", ownerName}, {"acme/flüx", ownerName}, {"acme/" + "\x00", ownerName}, {"model:", ownerName}, {"deployment:flux", ownerName},
		{"model:acme/flux:5c7d", ownerName}, {"acme/..", ownerName},
		{"http:", segment}, {"http:v1", segment}, {"http:a/b", segment}, {"http:_perch", segment}, {"http:@stable", segment}, {"http:..", segment},
		{":acme/flux", kind}, {"Model:acme/flux", kind}, {"version:acme/flux", kind}, {"https://acme/flux", kind},
	}
	for _, test := range tests {
		_, err := ParseService(test.text)
		require.EqualError(t, err, `service "`+test.text+`"`+test.want)
	}
	_, err := ParseService("acme/" + long)
	require.EqualError(t, err, `service "acme/`+long[:75]+`…"`+ownerName)
}

// TestKeysOfOthers: only keys of rollout documents name a service.
func TestKeysOfOthers(t *testing.T) {
	for _, key := range []string{
		"", "rollout:", "rollout:model", "rollout:model:acme", "rollout:acme:flux", "rollout:http:", "rollout:http:v1", "rollout:model:a:b:c",
		"rollout:model::b", "rollout:queue:a:b", "state:model:acme:flux", "xrollout:model:acme:flux", "doctor:probe",
	} {
		s, ok := ServiceOfRolloutKey(key)
		require.False(t, ok, "%q is %v", key, s)
		require.Equal(t, Service{}, s)
	}
}

// TestAliasKey: the keys by which the worker finds a service by another name.
func TestAliasKey(t *testing.T) {
	require.Equal(t, "alias:version:5c7d", AliasKey("version", "5c7d"))
	require.Equal(t, "alias:deployment:acme:next", AliasKey("deployment", "acme/next"))
	require.Equal(t, "alias:model:acme:flux", AliasKey("model", "acme/flux"))
}

func TestTarget(t *testing.T) {
	version := Target{Name: "canary", Version: "acme/flux:" + versionID}
	require.Equal(t, versionID, version.VersionID())
	require.Equal(t, versionID, Target{Version: versionID}.VersionID())
	require.Empty(t, Target{Model: "acme/flux"}.VersionID())

	same := version
	same.Name = "stable"
	require.True(t, version.Equal(same))
	require.False(t, version.Equal(Target{Name: "canary", Model: "acme/flux"}))

	for want, target := range map[string]Target{
		"version acme/flux:" + versionID: version,
		"deployment acme/next":           {Deployment: "acme/next"},
		"model acme/flux":                {Model: "acme/flux"},
		"url https://h.example/":         {URL: "https://h.example/"},
		"none":                           {Name: "stable"},
	} {
		require.Equal(t, want, target.String())
	}

	d := Document{Targets: []Target{{Name: "stable"}, {Name: "canary"}}}
	require.Equal(t, 1, d.Target("canary"))
	require.Equal(t, -1, d.Target("person"))
}
