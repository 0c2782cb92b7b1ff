package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Sender sends a request as the user whom a call is made for.
type Sender func(*http.Request) (*http.Response, error)

// Service makes requests and tells which answers serve a user.
type Service struct {
	// New makes request n, counted from 0. The generator adds x-user-id.
	New func(ctx context.Context, n int) (*http.Request, error)
	// Check returns why the answer does not serve its user, or nil. It may be called at the same time for many answers.
	Check func(status int, body []byte) error
	// Follow goes on from an answer that passed the check until its user has been served, and returns why that was not
	// so, or nil; no Follow where the answer itself serves. It ends with ctx.
	Follow func(ctx context.Context, send Sender, answer []byte) error
}

// Model creates predictions of a Replicate model (owner/name) and waits for them. The base URL has no /v1.
func Model(base, token, model string) Service {
	return waiting(base+"/v1/models/"+model+"/predictions", token, "")
}

// Deployment is Model for a deployment (owner/name).
func Deployment(base, token, deployment string) Service {
	return waiting(base+"/v1/deployments/"+deployment+"/predictions", token, "")
}

// Version is Model for a version: an id, owner/name:id, or owner/name of an official model.
func Version(base, token, version string) Service {
	return waiting(base+"/v1/predictions", token, version)
}

func waiting(url, token, version string) Service {
	return Service{New: create(url, token, version, "wait"), Check: checkPrediction}
}

// create makes requests for predictions. prefer is what their client prefers, or "".
func create(url, token, version, prefer string) func(context.Context, int) (*http.Request, error) {
	return func(ctx context.Context, n int) (*http.Request, error) {
		// In the order in which the official client writes them: input before version.
		body := fmt.Appendf(nil, `{"input":{"prompt":"request %d"}`, n)
		if version != "" {
			body = fmt.Appendf(body, `,"version":%q`, version)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(append(body, '}')))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		if prefer != "" {
			request.Header.Set("Prefer", prefer)
		}
		return request, nil
	}
}

// checkPrediction accepts a prediction that has its output: what a synchronous create answers has the status processing
// even so.
func checkPrediction(status int, body []byte) error {
	if err := checkStatus(status, body); err != nil {
		return err
	}
	var prediction struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Output json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(body, &prediction); err != nil {
		return fmt.Errorf("read prediction: %w", err)
	}
	if len(prediction.Output) == 0 || string(prediction.Output) == "null" {
		return fmt.Errorf("prediction is %s without output: %s", prediction.Status, prediction.Error)
	}
	return nil
}

// Plain sends the body to a plain model server with the method and accepts every status below 400.
func Plain(method, url string, body []byte) Service {
	return Service{
		New: func(ctx context.Context, _ int) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		},
		Check: checkStatus,
	}
}

// Events asks a plain model server for a stream of events, and wants it whole: without an error event.
func Events(method, url string, body []byte) Service {
	plain := Plain(method, url, body)
	return Service{New: plain.New, Check: func(status int, body []byte) error {
		if err := checkStatus(status, body); err != nil {
			return err
		}
		return checkEvents(body)
	}}
}

func checkStatus(status int, body []byte) error {
	if status >= 400 {
		return fmt.Errorf("status %d: %s", status, bytes.TrimSpace(body[:min(len(body), 200)]))
	}
	return nil
}
