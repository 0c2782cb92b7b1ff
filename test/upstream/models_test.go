package upstream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModelLives(t *testing.T) {
	s := demo(t)
	made := ask(s, "POST", "/v1/models", newModel)
	require.Equal(t, 201, made.status)
	require.Nil(t, made.object(t)["latest_version"])
	require.Equal(t, "http://upstream.test/acme/new", made.object(t)["url"])
	require.Equal(t, made.body, ask(s, "GET", "/v1/models/acme/new", "").body)
	require.Equal(t, 422, ask(s, "POST", "/v1/models", newModel).status, "there is one")
	require.Equal(t, 404, ask(s, "GET", "/v1/models/acme/new/readme", "").status)

	changed := ask(s, "PATCH", "/v1/models/acme/new", `{"readme":"# New","license_url":"https://license.test/mit"}`).object(t)
	require.Equal(t, "https://license.test/mit", changed["license_url"])
	require.Equal(t, "A new one", changed["description"])
	require.Equal(t, "# New", string(ask(s, "GET", "/v1/models/acme/new/readme", "").body))
	require.Empty(t, ask(s, "GET", "/v1/models/acme/new/versions", "").object(t)["results"])
	require.Empty(t, ask(s, "GET", "/v1/models/acme/new/examples", "").object(t)["results"])

	require.Equal(t, 204, ask(s, "DELETE", "/v1/models/acme/new", "").status)
	require.Equal(t, 404, ask(s, "GET", "/v1/models/acme/new", "").status)
}

func TestModelRefuses(t *testing.T) {
	body := func(owner, name, visibility, sku string) string {
		return `{"owner":"` + owner + `","name":"` + name + `","visibility":"` + visibility + `","hardware":"` + sku + `"}`
	}
	tests := []struct {
		name, call, path, body string
		status                 int
		detail                 string
	}{
		{"owner", "POST", "", body("evil", "x", "public", "cpu"), 403, "You can only create models that you own"},
		{"name", "POST", "", body("acme", "X", "public", "cpu"), 422, "- name: not made of a-z, 0-9, dot, dash and underscore"},
		{"visibility", "POST", "", body("acme", "x", "secret", "cpu"), 422, "- visibility: must be public or private"},
		{"hardware", "POST", "", body("acme", "x", "public", "abacus"), 422, "- hardware: no such hardware"},
		{"nothing", "POST", "", `{"owner":"acme","name":"x"}`, 422, "- (root): visibility is required\n- (root): hardware is required"},
		{"delete a public one", "DELETE", "/acme/flux", "", 403, "You can only delete private models"},
		{"delete one with versions", "DELETE", "/acme/private", "", 403, "You can only delete models that have no versions associated with them"},
		{"delete a public one's version", "DELETE", "/acme/flux/versions/" + fluxCanary, "", 403, "You can only delete versions from private models"},
		{"delete a deployed version", "DELETE", "/acme/private/versions/" + privateModel.ID, "", 403,
			"You cannot delete a version if it has an associated deployment"},
		{"sort", "GET", "?sort_by=beauty", "", 422, "- sort_by: must be model_created_at or latest_version_created_at"},
		{"direction", "GET", "?sort_direction=up", "", 422, "- sort_direction: must be asc or desc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := privateServer(t)
			require.NoError(t, s.SetDeployment("acme/private", privateModel.ID))
			got := ask(s, tt.call, "/v1/models"+tt.path, tt.body)
			require.Equal(t, tt.status, got.status)
			require.Equal(t, tt.detail, got.object(t)["detail"])
		})
	}
}

func TestDeletedVersionIsGone(t *testing.T) {
	s := privateServer(t)
	path := "/v1/models/acme/private/versions/" + privateModel.ID
	require.Equal(t, 202, ask(s, "DELETE", path, "").status)
	require.Equal(t, 404, ask(s, "GET", path, "").status)
	require.Equal(t, 422, ask(s, "POST", "/v1/predictions", createBodyOf(privateModel.ID)).status)
	require.Nil(t, ask(s, "GET", "/v1/models/acme/private", "").object(t)["latest_version"])
	require.Equal(t, 204, ask(s, "DELETE", "/v1/models/acme/private", "").status)
}

func TestModelsAreFound(t *testing.T) {
	s := privateServer(t)
	names := func(r reply, list string) (found []string) {
		for _, item := range r.object(t)[list].([]any) {
			m := item.(map[string]any)
			if inner, ok := m["model"].(map[string]any); ok {
				m = inner
			}
			found = append(found, m["name"].(string))
		}
		return found
	}
	require.Equal(t, []string{"chat", "flux"}, names(ask(s, "GET", "/v1/models", ""), "results"), "private ones are not listed")
	require.Equal(t, []string{"flux"}, names(ask(s, "QUERY", "/v1/models", "FLUX prompt"), "results"))
	require.Empty(t, names(ask(s, "QUERY", "/v1/models", "flux nothing"), "results"))
	require.Equal(t, []string{"chat"}, names(ask(s, "GET", "/v1/search?query=chat", ""), "models"))
	require.Len(t, names(ask(s, "GET", "/v1/search?query=acme&limit=1", ""), "models"), 1)
	require.Equal(t, []string{"Text to image"}, names(ask(s, "GET", "/v1/search?query=IMAGE", ""), "collections"))
	require.Equal(t, []string{"flux"}, names(ask(s, "GET", "/v1/collections/text-to-image", ""), "models"))
	require.Equal(t, 404, ask(s, "GET", "/v1/collections/none", "").status)
	for _, query := range []string{"", "?query=", "?query=a&limit=51", "?query=a&limit=x"} {
		got := ask(s, "GET", "/v1/search"+query, "")
		require.Equal(t, 400, got.status, query)
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
	}
}

// Servers of the same catalog say the same of it.
func TestCatalogAnswersAreDeterministic(t *testing.T) {
	for _, path := range []string{
		"/v1/models", "/v1/models/acme/flux", "/v1/models/acme/chat/versions", "/v1/models/acme/chat/examples", "/v1/deployments",
		"/v1/search?query=acme", "/v1/collections/official", "/v1/webhooks/default/secret", "/v1/hardware", "/v1/account",
	} {
		require.Equal(t, ask(demo(t), "GET", path, "").body, ask(demo(t), "GET", path, "").body, path)
	}
}

func TestPercentEncodedPathsAreDecoded(t *testing.T) {
	s := demo(t)
	got := ask(s, "GET", "/v1/models/ac%6De/flux/versions/"+fluxCanary, "")
	require.Equal(t, 200, got.status)
	require.Equal(t, "/v1/models/ac%6De/flux/versions/"+fluxCanary, s.Log()[0].Target)
	require.Equal(t, "/v1/models/acme/flux/versions/"+fluxCanary, s.Log()[0].Path)
	for _, path := range []string{"/v1/models/acme%2Fflux", "/v1//account", "/v1/account/", "/v1/x/../account", "/v1/predictions/%2e%2e"} {
		require.Equal(t, 404, ask(s, "GET", path, "").status, path)
	}
}
