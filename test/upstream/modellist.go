package upstream

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

func modelKey(m *Model) string { return m.Name }

// listModels lists the public ones, by default those with the newest versions first.
func (s *Server) listModels(x *exchange) {
	query := x.r.URL.Query()
	by := query.Get("sort_by")
	direction := query.Get("sort_direction")
	if !slices.Contains([]string{"", "model_created_at", "latest_version_created_at"}, by) {
		x.fail(invalidInput("- sort_by: must be model_created_at or latest_version_created_at"))
		return
	}
	if !slices.Contains([]string{"", "asc", "desc"}, direction) {
		x.fail(invalidInput("- sort_direction: must be asc or desc"))
		return
	}
	age := func(m *Model) time.Time {
		if v := s.catalog.version(m.Latest); v != nil && by != "model_created_at" {
			return v.created
		}
		return m.created
	}
	models := slices.DeleteFunc(s.catalog.allModels(), func(m *Model) bool { return !m.Public })
	slices.SortFunc(models, func(a, b *Model) int {
		order := age(b).Compare(age(a))
		if direction == "asc" {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.Name, b.Name))
	})
	paginate(s, x, models, modelKey, func(m *Model) modelJSON { return s.describeModel(x, m) })
}

// searchModels takes its query from the body, as plain text.
func (s *Server) searchModels(x *exchange) {
	raw, bad := x.wholeBody()
	if bad != nil {
		x.fail(bad)
		return
	}
	answer := page[modelJSON]{Results: []modelJSON{}}
	for _, m := range s.matching(string(raw), s.options.PageSize) {
		answer.Results = append(answer.Results, s.describeModel(x, m))
	}
	x.answer(http.StatusOK, answer)
}

// matching are public models that have every word of the query in their name or description. The official client puts
// its query in quotes, so only letters and digits count.
func (s *Server) matching(query string, most int) []*Model {
	words := strings.FieldsFunc(strings.ToLower(query), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	found := slices.DeleteFunc(s.catalog.allModels(), func(m *Model) bool {
		text := strings.ToLower(m.Name + " " + m.Description)
		return !m.Public || slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	slices.SortFunc(found, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	return found[:min(most, len(found))]
}

func (s *Server) getReadme(x *exchange) {
	m := s.findModel(x)
	if m == nil {
		return
	}
	if m.Readme == "" {
		x.fail(problemNotFound)
		return
	}
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = x.w.Write([]byte(m.Readme)) // the recorder notes an error
}

// listExamples lists those of the latest version.
func (s *Server) listExamples(x *exchange) {
	m := s.findModel(x)
	if m == nil {
		return
	}
	var examples []predictionJSON
	if v := s.catalog.version(m.Latest); v != nil {
		examples = v.examples(s.origin(x.r))
	}
	key := func(j predictionJSON) string { return j.ID }
	paginate(s, x, examples, key, func(j predictionJSON) predictionJSON { return j })
}
