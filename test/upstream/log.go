package upstream

import (
	"encoding/json"
	"net/http"
	"time"
)

// Entry is one request as the upstream saw it.
type Entry struct {
	Seq          int             `json:"seq"` // from 1, in order of arrival, never used twice
	At           time.Time       `json:"at"`
	Method       string          `json:"method"`
	Path         string          `json:"path"`
	Target       string          `json:"target"` // path and query as they came, percent-encoding and all
	Query        string          `json:"query,omitempty"`
	Host         string          `json:"host"`
	Header       http.Header     `json:"header"`               // without what every HTTP client sends
	Prediction   string          `json:"prediction,omitempty"` // id of the prediction created, read, canceled or streamed
	Version      string          `json:"version,omitempty"`    // id of the version that this resolved to
	Deployment   string          `json:"deployment,omitempty"` // owner/name, of creates by deployment
	Model        string          `json:"model,omitempty"`      // owner/name, or the plain model server's name
	Input        json.RawMessage `json:"input,omitempty"`      // of creates, up to 64 KiB
	BodyBytes    int64           `json:"body_bytes"`
	BodySHA256   string          `json:"body_sha256,omitempty"` // of bodies that are not empty
	Status       int             `json:"status"`                // 0 while in flight, and after a reset
	AnswerBytes  int64           `json:"answer_bytes"`
	AnswerSHA256 string          `json:"answer_sha256,omitempty"` // of answers that are not empty
	AnswerHeader http.Header     `json:"answer_header,omitempty"` // without what net/http adds
	Reset        bool            `json:"reset,omitempty"`         // the connection was closed without an answer, or amid it
	Gone         bool            `json:"gone,omitempty"`          // the client went away before the answer's end
	Fault        string          `json:"fault,omitempty"`         // names of the faults that it had, with commas between them
	Done         bool            `json:"done"`
}

// ordinary headers say nothing that a test could want to know.
var ordinary = map[string]bool{
	"Accept-Encoding": true, "Accept-Language": true, "Connection": true, "Content-Length": true,
	"Sec-Fetch-Mode": true, "Keep-Alive": true,
}

// begin logs the arrival of r.
func (s *Server) begin(r *http.Request) *Entry {
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		if !ordinary[name] {
			header[name] = values
		}
	}
	e := Entry{
		At: time.Now(), Method: r.Method, Path: r.URL.Path, Target: r.URL.RequestURI(), Query: r.URL.RawQuery, Host: r.Host, Header: header,
	}
	return s.log.add(func(seq int) *Entry {
		e.Seq = seq
		return &e
	})
}
