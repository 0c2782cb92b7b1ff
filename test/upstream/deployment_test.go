package upstream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeploymentLives(t *testing.T) {
	s := demo(t)
	made := ask(s, "POST", "/v1/deployments", newDeployment)
	require.Equal(t, 200, made.status)
	release := made.object(t)["current_release"].(map[string]any)
	require.Equal(t, 1.0, release["number"])
	require.Equal(t, "acme/flux", release["model"])
	require.Equal(t, map[string]any{"hardware": "gpu-t4", "min_instances": 0.0, "max_instances": 2.0}, release["configuration"])
	create := func() (int, string) {
		got := ask(s, "POST", "/v1/deployments/acme/app/predictions", `{"input":{"prompt":"x"}}`)
		entry := s.Log()[len(s.Log())-1]
		return got.status, entry.Version
	}
	status, ran := create()
	require.Equal(t, 201, status)
	require.Equal(t, fluxCanary, ran)

	changed := ask(s, "PATCH", "/v1/deployments/acme/app", `{"version":"`+fluxStable+`","max_instances":4}`).object(t)
	release = changed["current_release"].(map[string]any)
	require.Equal(t, 2.0, release["number"])
	require.Equal(t, map[string]any{"hardware": "gpu-t4", "min_instances": 0.0, "max_instances": 4.0}, release["configuration"])
	require.Equal(t, changed, ask(s, "GET", "/v1/deployments/acme/app", "").object(t))
	_, ran = create()
	require.Equal(t, fluxStable, ran)
	require.NoError(t, s.SetDeployment("acme/app", fluxCanary))
	_, ran = create()
	require.Equal(t, fluxCanary, ran)

	require.Equal(t, 204, ask(s, "DELETE", "/v1/deployments/acme/app", "").status)
	status, _ = create()
	require.Equal(t, 404, status)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		require.Equal(t, 404, ask(s, method, "/v1/deployments/acme/app", "{}").status)
	}
}

func TestDeploymentRefuses(t *testing.T) {
	const head = `{"name":"app","model":"acme/flux","hardware":"gpu-t4","version":"`
	tests := []struct {
		name, method, path, body string
		status                   int
		detail                   string
	}{
		{"not JSON", "POST", "", "[]", 400, "The body is not a JSON object"},
		{"nothing", "POST", "", "{}", 422, "- (root): name is required\n- (root): model is required\n- (root): version is required\n" +
			"- (root): hardware is required\n- (root): min_instances is required\n- (root): max_instances is required"},
		{"type", "POST", "", head + fluxCanary + `","min_instances":"0","max_instances":1}`, 422, "- min_instances: Invalid type. Expected: int"},
		{"version", "POST", "", head + chatStable + `","min_instances":0,"max_instances":1}`, 422, problemVersion.Detail},
		{"instances", "POST", "", head + fluxCanary + `","min_instances":6,"max_instances":7}`, 422, "- min_instances: must be 0 to 5"},
		{"more instances", "PATCH", "/acme/flux-canary", `{"max_instances":21}`, 422, "- max_instances: must be 0 to 20, and not less than min_instances"},
		{"hardware", "PATCH", "/acme/flux-canary", `{"hardware":"abacus"}`, 422, "- hardware: no such hardware"},
		{"version of another model", "PATCH", "/acme/flux-canary", `{"version":"` + chatStable + `"}`, 422, problemVersion.Detail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			before := ask(s, "GET", "/v1/deployments", "").body
			got := ask(s, tt.method, "/v1/deployments"+tt.path, tt.body)
			require.Equal(t, tt.status, got.status)
			require.Equal(t, tt.detail, got.object(t)["detail"])
			require.Equal(t, before, ask(s, "GET", "/v1/deployments", "").body)
		})
	}
	s := demo(t)
	require.Equal(t, 200, ask(s, "POST", "/v1/deployments", newDeployment).status)
	require.Equal(t, "- name: a deployment with that name already exists", ask(s, "POST", "/v1/deployments", newDeployment).object(t)["detail"])
}
