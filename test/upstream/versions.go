package upstream

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

type versionJSON struct {
	ID            string         `json:"id"`
	CreatedAt     string         `json:"created_at"`
	CogVersion    string         `json:"cog_version"`
	OpenAPISchema map[string]any `json:"openapi_schema"`
}

func (s *Server) listVersions(x *exchange) {
	if s.findModel(x) == nil {
		return
	}
	key := func(v *version) string { return v.ID }
	paginate(s, x, s.catalog.versionsOf(x.ownerAndName()), key, (*version).describe)
}

func (s *Server) getVersion(x *exchange) {
	if v := s.findVersion(x); v != nil {
		x.answer(http.StatusOK, v.describe())
	}
}

// findVersion finds the one that the path names. It answers 404 itself where there is none.
func (s *Server) findVersion(x *exchange) *version {
	v := s.catalog.version(x.r.PathValue("version"))
	if v == nil || v.Model != x.ownerAndName() {
		x.fail(problemNotFound)
		return nil
	}
	x.note(func(e *Entry) { e.Version, e.Model = v.ID, v.Model })
	return v
}

// deleteVersion deletes a private model's version that no deployment runs.
func (s *Server) deleteVersion(x *exchange) {
	v, m := s.findVersion(x), s.catalog.model(x.ownerAndName())
	if v == nil {
		return
	}
	deployed := slices.ContainsFunc(s.catalog.allDeployments(), func(d *deployment) bool { return d.version == v.ID })
	switch {
	case m.Public:
		x.fail(forbidden("You can only delete versions from private models"))
		return
	case deployed:
		x.fail(forbidden("You cannot delete a version if it has an associated deployment"))
		return
	}
	s.catalog.removeVersion(v)
	x.w.WriteHeader(http.StatusAccepted)
}

func (c *catalog) removeVersion(v *version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.versions, v.ID)
	left := slices.DeleteFunc(slices.Clone(c.byModel[v.Model]), func(other *version) bool { return other == v })
	c.byModel[v.Model] = left
	m := *c.models[v.Model]
	if m.Latest == v.ID {
		m.Latest = ""
		if len(left) > 0 {
			m.Latest = left[0].ID
		}
	}
	c.models[v.Model] = &m
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

const (
	examplesOfVersion = 3
	exampleQueue      = 300 * time.Millisecond
	exampleRun        = 2 * time.Second
)

// examples are predictions that look as if they had been made when the version was.
func (v *version) examples(origin string) []predictionJSON {
	examples := make([]predictionJSON, examplesOfVersion)
	for i := range examples {
		input := map[string]string{}
		for _, name := range v.Required {
			input[name] = "example " + strconv.Itoa(i+1)
		}
		p := &prediction{
			id: VersionID("example", v.ID, strconv.Itoa(i))[:26], version: v, shown: v.ID, input: encode(input),
			created: v.created.AddDate(0, 0, -i),
		}
		p.tokens = outputTokens(v, p.input, 0)
		p.plan(fate{queue: exampleQueue, run: exampleRun})
		examples[i] = p.read(v.created.AddDate(0, 0, 1), origin, never)
		examples[i].URLs.Stream = "" // long ended
	}
	return examples
}
