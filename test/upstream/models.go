package upstream

import (
	"hash/fnv"
	"net/http"
	"strings"
)

type modelJSON struct {
	URL            string          `json:"url"`
	Owner          string          `json:"owner"`
	Name           string          `json:"name"`
	Description    string          `json:"description"`
	Visibility     string          `json:"visibility"`
	IsOfficial     bool            `json:"is_official"`
	GitHubURL      *string         `json:"github_url"`
	PaperURL       *string         `json:"paper_url"`
	LicenseURL     *string         `json:"license_url"`
	RunCount       int             `json:"run_count"`
	CoverImageURL  *string         `json:"cover_image_url"`
	DefaultExample *predictionJSON `json:"default_example"`
	LatestVersion  *versionJSON    `json:"latest_version"`
}

func (s *Server) getModel(x *exchange) {
	if m := s.findModel(x); m != nil {
		x.answer(http.StatusOK, s.describeModel(x, m))
	}
}

// findModel finds the one that the path names. It answers 404 itself where there is none.
func (s *Server) findModel(x *exchange) *Model {
	m := s.catalog.model(x.ownerAndName())
	if m == nil {
		x.fail(problemNotFound)
		return nil
	}
	x.note(func(e *Entry) { e.Model = m.Name })
	return m
}

func (s *Server) describeModel(x *exchange, m *Model) modelJSON {
	owner, name, _ := strings.Cut(m.Name, "/")
	j := modelJSON{
		URL: s.origin(x.r) + "/" + m.Name, Owner: owner, Name: name, Description: m.Description, Visibility: "private",
		IsOfficial: m.Official, GitHubURL: orNull(m.GitHubURL), PaperURL: orNull(m.PaperURL),
		LicenseURL: orNull(m.LicenseURL), CoverImageURL: orNull(m.CoverURL), RunCount: runCount(m.Name),
	}
	if m.Public {
		j.Visibility = "public"
	}
	if v := s.catalog.version(m.Latest); v != nil {
		latest, example := v.describe(), v.examples(s.origin(x.r))[0]
		j.LatestVersion, j.DefaultExample = &latest, &example
	}
	return j
}

// runCount is as good as any, and the same each time.
func runCount(model string) int {
	h := fnv.New32a()
	h.Write([]byte(model))
	return int(h.Sum32() % 1_000_000)
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
