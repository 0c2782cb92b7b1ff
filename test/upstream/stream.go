package upstream

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// event is one server-sent event of a prediction's stream.
type event struct {
	name, data string
	at         time.Time
}

// event is the one with the given number: the tokens, then how it ended. Later events may still change, by a cancel.
// The channel is that of end.
func (p *prediction) event(number int) (event, bool, <-chan struct{}) {
	ends, outcome, changed := p.end()
	tokens := p.emitted(ends)
	if number < tokens {
		return event{"output", p.tokens[number], p.tokenAt(number, len(p.tokens))}, true, changed
	}
	var tail []event
	switch outcome {
	case statusSucceeded:
		tail = []event{{"done", "{}", ends}}
	case statusFailed:
		text := `{"detail":` + strconv.Quote(failureText) + `}`
		tail = []event{{"error", text, ends}, {"done", `{"reason": "error"}`, ends}}
	default:
		tail = []event{{"done", `{"reason": "canceled"}`, ends}}
	}
	if number-tokens >= len(tail) {
		return event{}, false, changed
	}
	return tail[number-tokens], true, changed
}

// encode gives e the id that a client resumes after: seconds and number.
func (e event) encode(number int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %d:%d\n", e.name, e.at.Unix(), number)
	for line := range strings.SplitSeq(e.data, "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// resumeAt is the number of the first event that the client has not seen.
func resumeAt(lastEventID string) int {
	_, number, _ := strings.Cut(lastEventID, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0
	}
	return n + 1
}

// streamPrediction needs no token: its URL is a capability.
func (s *Server) streamPrediction(x *exchange) {
	id, secret, _ := strings.Cut(x.r.PathValue("stream"), "-")
	p := s.predictions.get(id)
	if p == nil || secret != p.secret || !p.version.Streams {
		x.fail(problemNotFound)
		return
	}
	x.note(func(e *Entry) { e.Prediction, e.Version, e.Model = p.id, p.version.ID, p.version.Model })
	targets := p.target().targets()
	if p.server == "" {
		targets = append(targets, everyTarget)
	}
	if !s.strike(x, CallStream, targets...) {
		return
	}
	first := resumeAt(x.r.Header.Get("Last-Event-ID"))
	breaks := x.streamBreak(max(1, len(p.tokens)/2), first)
	openStream(x.w)
	for number := first; ; number++ {
		e, ok := s.awaitEvent(x, p, number)
		if !ok {
			return
		}
		raw := e.encode(number)
		if number == breaks.at {
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

func openStream(w *recorder) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	_ = w.send(nil) // an error shows again at the first event
}

// awaitEvent waits until the event is due and sends a comment each time the stream was idle for long. It returns false
// after the last event, and when the client went away.
func (s *Server) awaitEvent(x *exchange, p *prediction, number int) (event, bool) {
	idle := s.scaled(streamIdle)
	comment := time.Now().Add(idle)
	for {
		e, ok, changed := p.event(number)
		if !ok {
			return event{}, false
		}
		now := time.Now()
		if !now.Before(e.at) {
			return e, true
		}
		if !now.Before(comment) {
			if x.w.send([]byte(":408:\n\n")) != nil {
				return event{}, false
			}
			comment = now.Add(idle)
		}
		if !x.waitOr(min(e.at.Sub(now), comment.Sub(now)), changed) {
			return event{}, false
		}
	}
}
