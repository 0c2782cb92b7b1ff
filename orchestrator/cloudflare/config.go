// Package cloudflare is the orchestrator's only way to Cloudflare: Workers KV,
// Analytics Engine's SQL, and the account's settings that doctor looks at.
//
// Every call ends within Config.Timeout, retries included. What the API refuses
// is an *APIError; ErrNotFound and ErrNoData are told apart by errors.Is.
package cloudflare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/option"
)

// ErrNotFound reports a key, script or namespace that does not exist.
var ErrNotFound = errors.New("not found")

// DefaultBaseURL is Cloudflare's public API.
const DefaultBaseURL = "https://api.cloudflare.com/client/v4"

// DefaultTimeout bounds a call where Config.Timeout is 0.
const DefaultTimeout = 30 * time.Second

// Config says where the account is and who asks.
type Config struct {
	BaseURL   string // DefaultBaseURL if ""
	Account   string
	Token     string
	Namespace string        // id of the KV namespace
	Dataset   string        // of Analytics Engine
	Timeout   time.Duration // of one call with its retries; DefaultTimeout if 0
}

func (c Config) baseURL() string {
	if c.BaseURL == "" {
		return DefaultBaseURL
	}
	return strings.TrimRight(c.BaseURL, "/")
}

// context bounds one call.
func (c Config) context(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

// options make cloudflare-go's services talk through doer. Its own retries are
// off: they wait up to 14 s for three, and past the deadline, which then hides
// the reason.
func (c Config) options(doer *retrier) []option.RequestOption {
	return []option.RequestOption{
		option.WithBaseURL(c.baseURL()),
		option.WithAPIToken(c.Token),
		option.WithHTTPClient(doer),
		option.WithMaxRetries(0),
	}
}

// APIError is an answer of Cloudflare's API other than success.
type APIError struct {
	Status  int    // HTTP status, 400 to 599
	Code    int64  // Cloudflare's code of the first error, or 0
	Message string // of the first error, or the beginning of the answer
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " " + name
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Code != 0 {
		text += fmt.Sprintf(" (code %d)", e.Code)
	}
	return text
}

// Cloudflare's codes that mean "there is no such thing". A missing namespace
// (10013) is not among them: it must not pass for a missing key.
const (
	codeNoKey    = 10009
	codeNoScript = 10007
)

// Is makes errors.Is(err, ErrNotFound) hold where the thing asked for is absent.
func (e *APIError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound && (e.Code == codeNoKey || e.Code == codeNoScript)
}

// plain turns cloudflare-go's error, which prints URL and raw JSON, into ours.
func plain(err error) error {
	var api *kv.Error
	if !errors.As(err, &api) {
		return err
	}
	body, _ := io.ReadAll(api.Response.Body) // the library's copy in memory
	return refusal(api.StatusCode, body)
}

// refusal reads the API's envelope, or takes the beginning of any other answer.
func refusal(status int, body []byte) *APIError {
	var envelope struct {
		Errors []struct {
			Code    int64  `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &envelope) == nil && len(envelope.Errors) > 0 {
		return &APIError{Status: status, Code: envelope.Errors[0].Code, Message: envelope.Errors[0].Message}
	}
	return &APIError{Status: status, Message: firstLine(string(body))}
}

// firstLine returns the beginning of an answer that is not the API's envelope.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return line
}
