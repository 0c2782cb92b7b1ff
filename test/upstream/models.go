package upstream

import "net/http"

type accountJSON struct {
	Type      string `json:"type"`
	Username  string `json:"username"`
	Name      string `json:"name"`
	GitHubURL string `json:"github_url"`
}

func (s *Server) getAccount(x *exchange) {
	x.answer(http.StatusOK, accountJSON{
		Type: "organization", Username: "acme", Name: "Acme, Inc.", GitHubURL: "https://github.com/acme",
	})
}

type modelJSON struct {
	URL            string      `json:"url"`
	Owner          string      `json:"owner"`
	Name           string      `json:"name"`
	Description    *string     `json:"description"`
	Visibility     string      `json:"visibility"`
	IsOfficial     bool        `json:"is_official"`
	GitHubURL      *string     `json:"github_url"`
	PaperURL       *string     `json:"paper_url"`
	LicenseURL     *string     `json:"license_url"`
	RunCount       int         `json:"run_count"`
	CoverImageURL  *string     `json:"cover_image_url"`
	DefaultExample *struct{}   `json:"default_example"`
	LatestVersion  versionJSON `json:"latest_version"`
}

type versionJSON struct {
	ID            string         `json:"id"`
	CreatedAt     string         `json:"created_at"`
	CogVersion    string         `json:"cog_version"`
	OpenAPISchema map[string]any `json:"openapi_schema"`
}

func (s *Server) getModel(x *exchange) {
	m := s.catalog.models[x.ownerAndName()]
	if m == nil {
		x.fail(problemNotFound)
		return
	}
	x.answer(http.StatusOK, modelJSON{
		URL: s.origin(x.r) + "/" + m.Name, Owner: x.r.PathValue("owner"), Name: x.r.PathValue("name"),
		Visibility: "private", IsOfficial: m.Official, LatestVersion: s.catalog.versions[m.Latest].describe(),
	})
}

func (s *Server) listVersions(x *exchange) {
	versions := s.catalog.byModel[x.ownerAndName()]
	if versions == nil {
		x.fail(problemNotFound)
		return
	}
	answer := page[versionJSON]{Results: []versionJSON{}}
	for _, v := range versions {
		answer.Results = append(answer.Results, v.describe())
	}
	x.answer(http.StatusOK, answer)
}

func (s *Server) getVersion(x *exchange) {
	v := s.catalog.versions[x.r.PathValue("version")]
	if v == nil || v.Model != x.ownerAndName() {
		x.fail(problemNotFound)
		return
	}
	x.answer(http.StatusOK, v.describe())
}

// describe shows the version with the schema of its input and output.
func (v *version) describe() versionJSON {
	properties := map[string]any{}
	for i, name := range v.Required {
		properties[name] = map[string]any{"title": name, "type": "string", "x-order": i}
	}
	input := map[string]any{"title": "Input", "type": "object", "properties": properties}
	if len(v.Required) > 0 {
		input["required"] = v.Required
	}
	output := map[string]any{"title": "Output", "type": "string"}
	if v.Streams {
		output = map[string]any{
			"title": "Output", "type": "array", "items": map[string]any{"type": "string"}, "x-cog-array-type": "iterator",
		}
	}
	return versionJSON{
		ID: v.ID, CreatedAt: timestamp(v.created), CogVersion: "0.16.7",
		OpenAPISchema: map[string]any{
			"openapi":    "3.0.2",
			"info":       map[string]any{"title": "Cog", "version": "0.1.0"},
			"paths":      map[string]any{},
			"components": map[string]any{"schemas": map[string]any{"Input": input, "Output": output}},
		},
	}
}
