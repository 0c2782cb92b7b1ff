// Package replicate asks Replicate's API, directly or through a Perch worker,
// what has become of a prediction.
package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is Replicate's public API.
const DefaultBaseURL = "https://api.replicate.com/v1"

const (
	timeout        = 10 * time.Second // of one call
	maxAnswerBytes = 32 << 20
)

// Config says where the API is and who asks.
type Config struct {
	BaseURL string // with the path that stands for /v1; DefaultBaseURL if ""
	Token   string // "" sends none
}

// Client asks each call once: what to make of a failure is its caller's to know.
type Client struct {
	base, token string
	http        *http.Client
}

// New returns a client. It follows no redirects: they would carry the token.
func New(c Config) *Client {
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{strings.TrimRight(c.BaseURL, "/"), c.Token, &http.Client{Timeout: timeout, CheckRedirect: stay}}
}

// Prediction is what the API tells of one. Absent texts are "", absent times zero.
type Prediction struct {
	ID          string    `json:"id"`
	Status      string    `json:"status"` // starting, processing, succeeded, failed, canceled, aborted
	Model       string    `json:"model,omitempty"`
	Version     string    `json:"version,omitempty"`
	Deployment  string    `json:"deployment,omitempty"`
	Error       Text      `json:"error,omitempty"`
	Logs        Text      `json:"logs,omitempty"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	CompletedAt time.Time `json:"completed_at,omitzero"`
	// Metrics are there once it has ended, in seconds.
	Metrics struct {
		PredictTime float64 `json:"predict_time,omitempty"`
		TotalTime   float64 `json:"total_time,omitempty"`
	} `json:"metrics,omitzero"`
	DataRemoved bool `json:"data_removed,omitempty"` // an hour after it was made through the API
}

// Ended reports that its status is final.
func (p Prediction) Ended() bool {
	switch p.Status {
	case "succeeded", "failed", "canceled", "aborted":
		return true
	}
	return false
}

// Text is a JSON string; anything else is kept as the JSON that it is.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) != nil {
		*t = Text(data)
	} else if text != nil {
		*t = Text(*text)
	}
	return nil
}

// Error is an answer other than success.
type Error struct {
	Status int    // HTTP status
	Detail string // as the API gives it, or the beginning of the answer
}

func (e *Error) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Prediction asks about one. query is added to the URL, and appears in no error.
// What the API refuses is an *Error, wrapped.
func (c *Client) Prediction(ctx context.Context, id string, query url.Values) (Prediction, error) {
	address := c.base + "/predictions/" + url.PathEscape(id)
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var p Prediction
	if err := c.get(ctx, address, &p); err != nil {
		return p, fmt.Errorf("read prediction %s: %w", id, err)
	}
	if p.Status == "" {
		return p, fmt.Errorf("read prediction %s: the answer is no prediction", id)
	}
	return p, nil
}

func (c *Client) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return bare(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return bare(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return bare(err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// bare takes the URL, whose query may be a seal, out of an error.
func bare(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// refusal reads problem+json, or takes the beginning of any other answer.
func refusal(status int, body []byte) *Error {
	var problem struct {
		Title, Detail string
	}
	if json.Unmarshal(body, &problem) == nil && problem.Detail+problem.Title != "" {
		if problem.Detail == "" {
			problem.Detail = problem.Title
		}
		return &Error{status, problem.Detail}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return &Error{status, line}
}
