package upstream

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// collection is a set of public models.
type collection struct {
	slug, name, description string
	has                     func(*Server, *Model) bool
}

var collections = []collection{
	{"official", "Official models", "Models that are always on and may be run without a version",
		func(_ *Server, m *Model) bool { return m.Official }},
	{"streaming-language-models", "Streaming language models", "Models that stream their output as it comes",
		func(s *Server, m *Model) bool {
			v := s.catalog.version(m.Latest)
			return v != nil && v.Streams
		}},
	{"text-to-image", "Text to image", "Models that make one output of a prompt",
		func(s *Server, m *Model) bool {
			v := s.catalog.version(m.Latest)
			return v != nil && !v.Streams
		}},
}

type collectionJSON struct {
	Name            string `json:"name"`
	Slug            string `json:"slug"`
	Description     string `json:"description"`
	FullDescription string `json:"full_description,omitempty"`
}

func (c collection) describe() collectionJSON {
	return collectionJSON{Name: c.name, Slug: c.slug, Description: c.description}
}

func (s *Server) modelsIn(c collection) []*Model {
	models := s.matching("", len(s.catalog.allModels()))
	return slices.DeleteFunc(models, func(m *Model) bool { return !c.has(s, m) })
}

func (s *Server) listCollections(x *exchange) {
	paginate(s, x, collections, func(c collection) string { return c.slug }, collection.describe)
}

func (s *Server) getCollection(x *exchange) {
	at := slices.IndexFunc(collections, func(c collection) bool { return c.slug == x.r.PathValue("collection") })
	if at < 0 {
		x.fail(problemNotFound)
		return
	}
	c := collections[at]
	answer := struct {
		collectionJSON
		Models []modelJSON `json:"models"`
	}{c.describe(), []modelJSON{}}
	answer.FullDescription = "# " + c.name + "\n\n" + c.description + ".\n"
	for _, m := range s.modelsIn(c) {
		answer.Models = append(answer.Models, s.describeModel(x, m))
	}
	x.answer(http.StatusOK, answer)
}

type searchJSON struct {
	Query       string                 `json:"query"`
	Models      []foundModelJSON       `json:"models"`
	Collections []foundCollectionsJSON `json:"collections"`
	Pages       []foundPageJSON        `json:"pages"`
}

type foundModelJSON struct {
	Model    modelJSON         `json:"model"`
	Metadata foundMetadataJSON `json:"metadata"`
}

type foundMetadataJSON struct {
	GeneratedDescription string   `json:"generated_description"`
	Tags                 []string `json:"tags"`
	Score                float64  `json:"score"`
}

type foundCollectionsJSON struct {
	Name        string   `json:"name"`
	Slug        string   `json:"slug"`
	Description string   `json:"description"`
	Models      []string `json:"models"`
}

type foundPageJSON struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

func (s *Server) search(x *exchange) {
	query := x.r.URL.Query()
	limit := 20
	var err error
	if query.Has("limit") {
		limit, err = strconv.Atoi(query.Get("limit"))
	}
	if query.Get("query") == "" || err != nil || limit < 1 || limit > 50 {
		x.answer(http.StatusBadRequest, map[string]string{"detail": "query is required, and limit must be 1 to 50"})
		return
	}
	answer := searchJSON{
		Query: query.Get("query"), Models: []foundModelJSON{}, Collections: []foundCollectionsJSON{},
		Pages: []foundPageJSON{{Name: "Run a model from Node.js", Href: "/docs/get-started/nodejs"}},
	}
	for i, m := range s.matching(answer.Query, limit) {
		answer.Models = append(answer.Models, foundModelJSON{s.describeModel(x, m), foundMetadataJSON{
			GeneratedDescription: m.Description + ", described at greater length.", Tags: []string{"prompt"}, Score: 1 / float64(i+1),
		}})
	}
	for _, c := range collections {
		if !strings.Contains(strings.ToLower(c.name), strings.ToLower(answer.Query)) {
			continue
		}
		found := foundCollectionsJSON{Name: c.name, Slug: c.slug, Description: c.description, Models: []string{}}
		for _, m := range s.modelsIn(c) {
			found.Models = append(found.Models, m.Name)
		}
		answer.Collections = append(answer.Collections, found)
	}
	x.answer(http.StatusOK, answer)
}
