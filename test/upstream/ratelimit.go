package upstream

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RateLimit bounds calls a minute (a scaled one). Zero does not bound; Replicate's own are 600 and 3000.
type RateLimit struct {
	Creates int `json:"creates"` // calls that create a prediction
	Others  int `json:"others"`
}

// limiter counts calls in windows of fixed length.
type limiter struct {
	mu     sync.Mutex
	limit  RateLimit
	window time.Duration
	scale  float64
	opened time.Time
	counts struct{ creates, others int }
}

// take counts a call, sets the headers that tell what is left, and returns the refusal where nothing is.
func (l *limiter) take(h http.Header, creates bool, now time.Time) *problem {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.opened) >= l.window {
		l.opened = now
		l.counts.creates, l.counts.others = 0, 0
	}
	limit, count := l.limit.Others, &l.counts.others
	if creates {
		limit, count = l.limit.Creates, &l.counts.creates
	}
	if limit == 0 {
		return nil
	}
	reset := max(1, int(math.Ceil((l.window-now.Sub(l.opened)).Seconds()*l.scale)))
	*count++
	h.Set("RateLimit-Remaining", strconv.Itoa(max(0, limit-*count)))
	h.Set("RateLimit-Reset", strconv.Itoa(reset))
	if *count <= limit {
		return nil
	}
	return &problem{
		Title: "Too many requests", Status: http.StatusTooManyRequests, RetryAfter: reset,
		Detail: fmt.Sprintf("Request was throttled. Your rate limit resets in ~%ds.", reset),
	}
}

func (l *limiter) set(limit RateLimit) error {
	if limit.Creates < 0 || limit.Others < 0 {
		return fmt.Errorf("rate limit is negative, use 0 for none")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit, l.opened = limit, time.Time{}
	return nil
}
