package cloudflare

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxRetries is how often a call is tried again.
	maxRetries = 3
	// answerTimeout is how long a try may wait for the answer's head; a
	// connection that hangs must not use up the whole call's time.
	answerTimeout = 10 * time.Second
)

// client is shared, for its connections.
var client = newClient(answerTimeout)

func newClient(timeout time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = timeout
	return &http.Client{Transport: transport}
}

// retrier is an HTTP client that repeats calls which Cloudflare throttled (429),
// failed (5xx), or which got no answer. It repeats whatever it is given: every
// call of this package may be made twice.
type retrier struct {
	client *http.Client
	// backoff is the pause before the first retry, doubled for each further one,
	// where the answer names none. KV takes one write a second per key, so the
	// pauses together must exceed a second.
	backoff time.Duration
}

func newRetrier() *retrier {
	return &retrier{client: client, backoff: 500 * time.Millisecond}
}

// Do implements option.HTTPClient. The request's context must have a deadline;
// an answer is returned as it is when the pause would end past it.
func (r *retrier) Do(req *http.Request) (*http.Response, error) {
	for try := 0; ; try++ {
		res, err := r.client.Do(req)
		if try == maxRetries || !worthRetrying(req, res, err) {
			return res, err
		}
		pause := r.pause(res, try)
		if deadline, ok := req.Context().Deadline(); ok && time.Until(deadline) <= pause {
			return res, err
		}
		if res != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
			_ = res.Body.Close()
		}
		select {
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		case <-time.After(pause):
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

func worthRetrying(req *http.Request, res *http.Response, err error) bool {
	if err != nil {
		return req.Context().Err() == nil
	}
	return res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError
}

func (r *retrier) pause(res *http.Response, try int) time.Duration {
	if res != nil {
		header := res.Header.Get("Retry-After")
		if seconds, err := strconv.ParseFloat(header, 64); err == nil && seconds >= 0 {
			return time.Duration(seconds * float64(time.Second))
		}
		if at, err := http.ParseTime(header); err == nil {
			return max(0, time.Until(at))
		}
	}
	return r.backoff << try
}

// again returns the request with its body rewound.
func again(req *http.Request) (*http.Request, error) {
	next := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return next, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("repeat request: its body cannot be rewound")
	}
	body, err := req.GetBody()
	next.Body = body
	return next, err
}
