package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
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

	faults []Fault
}

// recorder is a ResponseWriter that knows what was answered.
type recorder struct {
	http.ResponseWriter
	context context.Context
	entry   *Entry
	status  int
	bytes   int64
	sum     hash.Hash

	compress bool // JSON goes out in gzip

	reset bool // the connection was closed before the answer's end
	gone  bool // the client went away before the answer's end

	faults  []Fault // on the answer's way
	instead func()  // answers in place of whoever is about to
	mute    bool    // instead has answered
	cutting bool    // the body ends after the bytes left
	left    int64
}

func (w *recorder) WriteHeader(status int) {
	if w.mute {
		return
	}
	if w.status == 0 {
		if !w.begin() {
			w.mute = true
			return
		}
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.mute {
		return len(b), nil
	}
	write := w.ResponseWriter.Write
	if w.cutting {
		write = w.cut
	}
	n, err := write(b)
	w.wrote(b[:n])
	w.gone = w.gone || err != nil
	return n, err
}

func (w *recorder) wrote(b []byte) {
	w.bytes += int64(len(b))
	w.sum.Write(b)
}

// finish logs how the request ended.
func (w *recorder) finish(log *history[Entry]) {
	log.update(w.entry, func(e *Entry) {
		e.Status, e.AnswerBytes, e.Reset, e.Gone, e.Done = w.status, w.bytes, w.reset, w.gone, true
		if w.status != 0 {
			e.AnswerHeader = w.Header().Clone()
		}
		if w.bytes > 0 {
			e.AnswerSHA256 = hex.EncodeToString(w.sum.Sum(nil))
		}
	})
}

var errAnswered = errors.New("another answer was given")

// send writes b and has it leave at once.
func (w *recorder) send(b []byte) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	if w.mute {
		return errAnswered
	}
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.gone = w.gone || err != nil
	return err
}

// Unwrap lets http.ResponseController reach Flush and Hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (x *exchange) note(f func(*Entry)) { x.log.update(x.w.entry, f) }

func (x *exchange) fail(p *problem) { p.write(x.w) }

func (x *exchange) answer(status int, value any) { writeJSON(x.w, "application/json", status, value) }

// reset closes the connection without an answer.
func (x *exchange) reset() {
	x.w.reset = true
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
		x.w.gone = true
		return false
	}
}

// digest reads the body to its end without keeping it.
func (x *exchange) digest() (n int64, sum string, err error) {
	body := newHashing(x.r.Body)
	_, err = io.Copy(io.Discard, body)
	x.noteBody(body.n, body.sum())
	return body.n, body.sum(), err
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
