package upstream

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is an application/problem+json answer.
type problem struct {
	Title      string `json:"title,omitempty"`
	Detail     string `json:"detail"`
	Status     int    `json:"status"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
}

var (
	problemToken = &problem{
		Title: "Unauthenticated", Detail: "You did not pass a valid authentication token", Status: http.StatusUnauthorized,
	}
	problemNotFound = &problem{
		Title: "Not found", Detail: "The requested resource could not be found.", Status: http.StatusNotFound,
	}
	problemVersion = &problem{
		Title:  "Invalid version or not permitted",
		Detail: "The specified version does not exist (or perhaps you don't have permission to use it?)",
		Status: http.StatusUnprocessableEntity,
	}
)

func invalidInput(detail string) *problem {
	return &problem{Title: "Input validation failed", Detail: detail, Status: http.StatusUnprocessableEntity}
}

func forbidden(detail string) *problem {
	return &problem{Title: "Permission denied", Detail: detail, Status: http.StatusForbidden}
}

func (p *problem) write(w http.ResponseWriter) {
	writeJSON(w, "application/problem+json", p.Status, p)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body = append(body, '\n')
	if rec, ok := w.(*recorder); ok && rec.compress {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Add("Vary", "Accept-Encoding")
		body = gzipped(body)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
