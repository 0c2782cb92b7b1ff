package upstream

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Entry is one request as the upstream saw it.
type Entry struct {
	Seq         int             `json:"seq"` // from 1, in order of arrival, never used twice
	At          time.Time       `json:"at"`
	Method      string          `json:"method"`
	Path        string          `json:"path"`
	Query       string          `json:"query,omitempty"`
	Host        string          `json:"host"`
	Header      http.Header     `json:"header"`               // without what every HTTP client sends
	Prediction  string          `json:"prediction,omitempty"` // id of the prediction created, read, canceled or streamed
	Version     string          `json:"version,omitempty"`    // id of the version that this resolved to
	Deployment  string          `json:"deployment,omitempty"` // owner/name, of creates by deployment
	Model       string          `json:"model,omitempty"`      // owner/name, or the plain model server's name
	Input       json.RawMessage `json:"input,omitempty"`      // of creates, up to 64 KiB
	BodyBytes   int64           `json:"body_bytes"`
	BodySHA256  string          `json:"body_sha256,omitempty"` // of bodies that are not empty
	Status      int             `json:"status"`                // 0 while in flight, and after a reset
	AnswerBytes int64           `json:"answer_bytes"`
	Reset       bool            `json:"reset,omitempty"` // the connection was closed without an answer
	Done        bool            `json:"done"`
}

// requestLog keeps the newest entries.
type requestLog struct {
	mu      sync.Mutex
	limit   int
	last    int // Seq of the newest entry
	dropped int
	entries []*Entry // a ring once it has reached the limit: the oldest stands at head
	head    int
}

// ordinary headers say nothing that a test could want to know.
var ordinary = map[string]bool{
	"Accept-Encoding": true, "Accept-Language": true, "Connection": true, "Content-Length": true,
	"Sec-Fetch-Mode": true, "Keep-Alive": true,
}

func (l *requestLog) begin(r *http.Request, now time.Time) *Entry {
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		if !ordinary[name] {
			header[name] = values
		}
	}
	e := &Entry{At: now, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Header: header}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Seq = l.last
	if len(l.entries) < l.limit {
		l.entries = append(l.entries, e)
		return e
	}
	l.entries[l.head] = e
	l.head = (l.head + 1) % l.limit
	l.dropped++
	return e
}

func (l *requestLog) update(e *Entry, f func(*Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(e)
}

// after returns copies of the entries with a higher Seq, oldest first, and how many the log had to drop so far.
func (l *requestLog) after(seq int) ([]Entry, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []Entry{}
	for i := range l.entries {
		if e := l.entries[(l.head+i)%len(l.entries)]; e.Seq > seq {
			found = append(found, *e)
		}
	}
	return found, l.dropped
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.head, l.dropped = nil, 0, 0
}
