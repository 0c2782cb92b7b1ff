package upstream

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// strike has the request suffer the faults that its targets have. It returns false when that was the answer.
func (s *Server) strike(x *exchange, call Call, targets ...string) bool {
	drawn := s.faults.draw(call, targets...)
	for _, f := range drawn {
		x.note(func(e *Entry) { e.Fault = strings.TrimPrefix(e.Fault+","+string(f.Name), ",") })
	}
	x.faults = append(x.faults, drawn...)
	for _, f := range drawn {
		switch {
		case f.kind() == onTheWay:
			x.w.faults = append(x.w.faults, f)
		case f.kind() == insteadOfAnswer && f.Accepts:
			x.w.instead = func() { s.answerInstead(x, f) }
		case f.kind() == insteadOfAnswer:
			s.answerInstead(x, f)
			return false
		}
	}
	return true
}

// fault returns the first fault of a kind that the request has.
func (x *exchange) fault(kind faultKind) (Fault, bool) {
	for _, f := range x.faults {
		if f.kind() == kind {
			return f, true
		}
	}
	return Fault{}, false
}

// targets are the names that the faults of a version's calls may stand under.
func (t target) targets() []string {
	names := []string{t.version.ID, "model:" + t.version.Model}
	if t.deployment != "" {
		names = append(names, "deployment:"+t.deployment)
	}
	if t.server != "" {
		names = append(names, "http:"+t.server, everyTarget) // calls of the API had theirs before
	}
	return names
}

func (s *Server) answerInstead(x *exchange, f Fault) {
	wait := f.RetryAfter
	if wait == 0 {
		wait = 30
	}
	throttled := &problem{Title: "Too many requests", Detail: "Request was throttled.", Status: http.StatusTooManyRequests}
	switch f.Name {
	case FaultResetHeaders:
		x.resetHard()
	case FaultSilence:
		s.stall(x)
	case FaultStatus:
		if f.Status == 0 {
			f.Status = http.StatusInternalServerError
		}
		x.fail(fate{outcome: outcomeError, status: f.Status}.refusal())
	case FaultContentType:
		page := "<!doctype html><title>Replicate</title><p>Something went wrong</p>\n"
		x.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		x.w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		x.w.WriteHeader(http.StatusOK)
		_, _ = x.w.Write([]byte(page)) // the recorder notes an error
	case FaultThrottled:
		x.w.Header().Set("Retry-After", strconv.Itoa(wait))
		throttled.RetryAfter = wait
		x.fail(throttled)
	case FaultThrottledRate:
		x.w.Header().Set("RateLimit-Remaining", "0")
		x.w.Header().Set("RateLimit-Reset", strconv.Itoa(wait))
		x.fail(throttled)
	case FaultThrottledText:
		throttled.Detail = fmt.Sprintf("Request was throttled. Your rate limit resets in ~%ds.", wait)
		x.fail(throttled)
	}
}

// resetHard ends the connection by a TCP reset where there is TCP.
func (x *exchange) resetHard() {
	if conn, _, err := http.NewResponseController(x.w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // else it ends by a FIN, which also is no answer
		}
		conn.Close()
	}
	x.reset()
}

// stall lets the client wait until it goes away, or the server closes.
func (s *Server) stall(x *exchange) {
	select {
	case <-x.r.Context().Done():
		x.w.gone = true
	case <-s.closing.Done():
	}
	panic(http.ErrAbortHandler) // a return would end the answer properly
}

// begin applies the faults on the answer's way before its first byte. It returns false when another answer was given.
func (w *recorder) begin() bool {
	if instead := w.instead; instead != nil {
		w.instead = nil
		w.Header().Del("Content-Length")
		instead()
		return false
	}
	for _, f := range w.faults {
		switch f.Name {
		case FaultSlowFirstByte:
			w.delay(time.Duration(f.DelayMS) * time.Millisecond)
		case FaultLongHeader:
			w.Header().Set("X-Padding", strings.Repeat("x", 200_000))
		case FaultResetBody:
			length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
			w.cutting = err == nil && length > 0
			w.left = length / 2
		}
	}
	return true
}

func (w *recorder) delay(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.context.Done():
		w.gone = true
		panic(http.ErrAbortHandler)
	}
}

// cut writes what is left of the half, and closes the connection when that is all.
func (w *recorder) cut(b []byte) (int, error) {
	if int64(len(b)) < w.left {
		n, err := w.ResponseWriter.Write(b)
		w.left -= int64(n)
		return n, err
	}
	n, _ := w.ResponseWriter.Write(b[:w.left])
	w.wrote(b[:n])
	_ = http.NewResponseController(w.ResponseWriter).Flush() // the connection ends either way
	w.reset = true
	panic(http.ErrAbortHandler)
}
