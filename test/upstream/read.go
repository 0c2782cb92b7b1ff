package upstream

import (
	"net/http"
	"net/url"
	"time"
)

func (s *Server) getPrediction(x *exchange) {
	if p := s.findPrediction(x, CallGet); p != nil {
		x.answer(http.StatusOK, p.read(x.now, s.origin(x.r), s.scaled(dataKept)))
	}
}

func (s *Server) cancelPrediction(x *exchange) {
	if p := s.findPrediction(x, CallCancel); p != nil {
		p.cancel(x.now)
		x.answer(http.StatusOK, p.read(x.now, s.origin(x.r), s.scaled(dataKept)))
	}
}

// findPrediction finds the one that the path names. It answers itself where there is none, and instead of it.
func (s *Server) findPrediction(x *exchange, call Call) *prediction {
	p := s.predictions.get(x.r.PathValue("id"))
	if p == nil {
		x.fail(problemNotFound)
		return nil
	}
	x.note(func(e *Entry) {
		e.Prediction, e.Version, e.Model, e.Deployment = p.id, p.version.ID, p.version.Model, p.deployment
	})
	if !s.strike(x, call, p.target().targets()...) {
		return nil
	}
	return p
}

func (p *prediction) target() target {
	return target{version: p.version, shown: p.shown, deployment: p.deployment}
}

const pageSize = 100

// page is one page of a list. Previous is always null: pages lead forward only.
type page[T any] struct {
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []T     `json:"results"`
}

func (s *Server) listPredictions(x *exchange) {
	query := x.r.URL.Query()
	from, err := queryTime(query, "created_after")
	to, err2 := queryTime(query, "created_before")
	if err != nil || err2 != nil {
		x.fail(invalidInput("- created_after and created_before are date-times such as 2026-01-31T12:00:00Z"))
		return
	}
	answer := page[predictionJSON]{Results: []predictionJSON{}}
	if query.Get("source") == "web" { // nothing here was made on the web
		x.answer(http.StatusOK, answer)
		return
	}
	found, next := s.predictions.page(pageSize, query.Get("cursor"), from, to)
	for _, p := range found {
		answer.Results = append(answer.Results, p.read(x.now, s.origin(x.r), s.scaled(dataKept)))
	}
	if next != "" {
		query.Set("cursor", next)
		link := s.origin(x.r) + "/v1/predictions?" + query.Encode()
		answer.Next = &link
	}
	x.answer(http.StatusOK, answer)
}

func queryTime(query url.Values, name string) (time.Time, error) {
	if query.Get(name) == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, query.Get(name))
}
