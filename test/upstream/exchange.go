package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"time"
)

// exchange is one request, its answer and its log entry.
type exchange struct {
	w   *recorder
	r   *http.Request
	log *history[Entry]
	now time.Time // arrival
}

// recorder is a ResponseWriter that knows what was answered.
type recorder struct {
	http.ResponseWriter
	entry  *Entry
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach Flush and Hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (x *exchange) note(f func(*Entry)) { x.log.update(x.w.entry, f) }

func (x *exchange) fail(p *problem) { p.write(x.w) }

func (x *exchange) answer(status int, value any) { writeJSON(x.w, "application/json", status, value) }

// reset closes the connection without an answer.
func (x *exchange) reset() {
	x.note(func(e *Entry) { e.Reset = true })
	panic(http.ErrAbortHandler)
}

// wait returns true after d, false when the client went away before.
func (x *exchange) wait(d time.Duration) bool { return x.waitOr(d, nil) }

// waitOr is wait that ends early when changed is closed.
func (x *exchange) waitOr(d time.Duration, changed <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		return true
	case <-x.r.Context().Done():
		return false
	}
}

// digest reads the body to its end without keeping it.
func (x *exchange) digest() (n int64, sum string, err error) {
	h := sha256.New()
	n, err = io.Copy(h, x.r.Body)
	sum = hex.EncodeToString(h.Sum(nil))
	x.noteBody(n, sum)
	return n, sum, err
}

const maxBody = 100 << 20

var errTooLarge = errors.New("body is larger than 100 MB")

func (x *exchange) body() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	sum := sha256.Sum256(body)
	x.noteBody(int64(len(body)), hex.EncodeToString(sum[:]))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	return body, err
}

func (x *exchange) noteBody(n int64, sum string) {
	x.note(func(e *Entry) {
		if e.BodyBytes = n; n > 0 {
			e.BodySHA256 = sum
		}
	})
}
