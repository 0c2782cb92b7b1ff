package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// plainAnswer says who answered what.
type plainAnswer struct {
	Model  string `json:"model"`
	Method string `json:"method"`
	Path   string `json:"path"` // below /http/{name}, as it was escaped
	Query  string `json:"query"`
	Bytes  int64  `json:"bytes"` // of the request's body
	SHA256 string `json:"sha256"`
}

const plainMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// servePlain is the model server called name. The query asks for particular answers: status=N, bytes=N (that many bytes
// instead of JSON), sse=N with gap_ms=M (N events, M milliseconds apart), header=Name:value (any number). The header
// x-model is on every answer.
func (s *Server) servePlain(x *exchange, name string) {
	m := s.catalog.http[name]
	if m == nil {
		x.fail(problemNotFound)
		return
	}
	x.note(func(e *Entry) { e.Model = name })
	x.w.Header().Set("X-Model", name)
	if x.r.Method == http.MethodOptions {
		x.w.Header().Set("Allow", plainMethods)
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	if strings.EqualFold(x.r.Header.Get("Upgrade"), "websocket") {
		s.echoSocket(x)
		return
	}
	if s.servePredictions(x, m) {
		return
	}
	wish, err := parsePlainWish(x.r)
	if err != nil {
		x.fail(&problem{Title: "Bad request", Detail: err.Error(), Status: http.StatusBadRequest})
		return
	}
	n, sum, err := x.digest()
	if err != nil {
		x.w.gone = true
		return
	}
	f := m.draw(x.r.Header.Get("x-user-id"))
	if !s.strike(x, CallPlain, "http:"+name, everyTarget) {
		return
	}
	if f.outcome == outcomeReset {
		x.reset()
	}
	if !x.wait(f.queue + f.run) {
		return
	}
	if bad := f.plainRefusal(); bad != nil {
		x.fail(bad)
		return
	}
	wish.first = f.firstToken
	path := strings.TrimPrefix(x.r.URL.EscapedPath(), "/http/"+name)
	wish.serve(s, x, plainAnswer{
		Model: name, Method: x.r.Method, Path: path, Query: x.r.URL.RawQuery, Bytes: n, SHA256: sum,
	})
}

func (f fate) plainRefusal() *problem {
	if f.outcome == outcomeFailed {
		return &problem{Title: "Internal Server Error", Detail: failureText, Status: http.StatusInternalServerError}
	}
	return f.refusal()
}

// plainWish is the answer that the query asks for.
type plainWish struct {
	status, bytes, events int
	headers               []string // Name:value
	gap                   time.Duration
	first                 time.Duration // until the first event
}

func parsePlainWish(r *http.Request) (plainWish, error) {
	w := plainWish{status: http.StatusOK}
	gapMS := 100
	query := r.URL.Query()
	for _, option := range []struct {
		name     string
		into     *int
		min, max int
	}{
		{"status", &w.status, 200, 599},
		{"bytes", &w.bytes, 1, 1 << 30},
		{"sse", &w.events, 1, 100_000},
		{"gap_ms", &gapMS, 0, 600_000},
	} {
		if !query.Has(option.name) {
			continue
		}
		n, err := strconv.Atoi(query.Get(option.name))
		if err != nil || n < option.min || n > option.max {
			return w, fmt.Errorf("%s is %q, use %d to %d", option.name, query.Get(option.name), option.min, option.max)
		}
		*option.into = n
	}
	w.headers = query["header"]
	w.gap = time.Duration(gapMS) * time.Millisecond
	return w, nil
}

func (w plainWish) serve(s *Server, x *exchange, a plainAnswer) {
	for _, header := range w.headers {
		name, value, _ := strings.Cut(header, ":")
		x.w.Header().Add(name, value)
	}
	switch {
	case w.bytes > 0:
		w.serveBytes(x)
	case w.events > 0:
		w.serveEvents(s, x, a)
	default:
		x.answer(w.status, a)
	}
}

// serveBytes sends a pattern that is the same for all: 0 to 250, over and over.
func (w plainWish) serveBytes(x *exchange) {
	chunk := make([]byte, 251*256)
	for i := range chunk {
		chunk[i] = byte(i % 251)
	}
	x.w.Header().Set("Content-Type", "application/octet-stream")
	x.w.Header().Set("Content-Length", strconv.Itoa(w.bytes))
	x.w.WriteHeader(w.status)
	for left := w.bytes; left > 0; left -= len(chunk) {
		if _, err := x.w.Write(chunk[:min(left, len(chunk))]); err != nil {
			return
		}
	}
}

func (w plainWish) serveEvents(s *Server, x *exchange, a plainAnswer) {
	breaks := x.streamBreak(w.events/2, 0)
	openStream(x.w)
	if !x.wait(w.first) {
		return
	}
	for i := range w.events {
		if i > 0 && !x.wait(w.gap) {
			return
		}
		raw := fmt.Appendf(nil, "id: %d\ndata: {\"model\":%q,\"event\":%d}\n\n", i, a.Model, i)
		if i == breaks.at {
			if !breaks.hit(s, x, raw) {
				return
			}
			continue
		}
		if x.w.send(raw) != nil {
			return
		}
	}
}

// echoSocket sends every message back until either side closes.
func (s *Server) echoSocket(x *exchange) {
	conn, err := websocket.Accept(x.w, x.r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any Origin
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(32 << 20)
	for {
		kind, message, err := conn.Read(s.closing)
		if err != nil {
			return
		}
		if conn.Write(s.closing, kind, message) != nil {
			return
		}
	}
}
