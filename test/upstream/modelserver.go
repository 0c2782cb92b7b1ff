package upstream

import (
	"net/http"
	"strings"
)

// servePredictions answers what a model server with a version is asked about predictions, without a token and as
// Replicate would: POST predictions, GET predictions/{id} and POST predictions/{id}/cancel below its name. It returns
// false when the request is none of these.
func (s *Server) servePredictions(x *exchange, m *httpModel) bool {
	v := s.catalog.version(m.version)
	below := strings.TrimPrefix(x.r.URL.Path, "/http/"+m.name)
	if v == nil || !strings.HasPrefix(below, "/predictions") {
		return false
	}
	path := strings.Split(strings.TrimPrefix(below, "/"), "/")
	if len(path) > 1 {
		x.r.SetPathValue("id", path[1])
	}
	switch {
	case len(path) == 1 && x.r.Method == http.MethodPost:
		s.create(x, false, func(createBody) (target, *problem) {
			return target{version: v, shown: v.ID, server: m.name}, nil
		})
	case len(path) == 2 && x.r.Method == http.MethodGet:
		s.getPrediction(x)
	case len(path) == 3 && path[2] == "cancel" && x.r.Method == http.MethodPost:
		s.cancelPrediction(x)
	default:
		x.fail(problemNotFound)
	}
	return true
}

// server is the model server that the request is for, or empty for Replicate.
func (x *exchange) server() string {
	rest, _ := strings.CutPrefix(x.r.URL.Path, "/http/")
	if rest == x.r.URL.Path {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// mount is where the predictions of a model server, or of Replicate if it is empty, are below the origin.
func mount(server string) string {
	if server == "" {
		return "/v1"
	}
	return "/http/" + server
}
