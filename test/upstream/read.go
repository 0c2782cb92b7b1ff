package upstream

import (
	"net/http"
	"net/url"
	"slices"
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
	if p == nil || p.server != x.server() {
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
	return target{version: p.version, shown: p.shown, deployment: p.deployment, server: p.server}
}

func (s *Server) listPredictions(x *exchange) {
	query := x.r.URL.Query()
	from, err := queryTime(query, "created_after")
	to, err2 := queryTime(query, "created_before")
	if err != nil || err2 != nil {
		x.fail(invalidInput("- created_after and created_before are date-times such as 2026-01-31T12:00:00Z"))
		return
	}
	var found []*prediction
	if query.Get("source") != "web" { // nothing here was made on the web
		all := s.predictions.between(from, to)
		found = slices.DeleteFunc(all, func(p *prediction) bool { return p.server != "" })
	}
	paginate(s, x, found, (*prediction).key, func(p *prediction) predictionJSON {
		return p.read(x.now, s.origin(x.r), s.scaled(dataKept))
	})
}

func (p *prediction) key() string { return p.id }

func queryTime(query url.Values, name string) (time.Time, error) {
	if query.Get(name) == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, query.Get(name))
}
