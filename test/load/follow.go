package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Polled creates predictions of a Replicate model (owner/name) and asks for each, by the URL that its answer gives, until
// it has ended: as clients do that do not wait. One that did not succeed fails its call, as does an answer to a poll that
// is no prediction. The status that is counted is that of the create.
func Polled(base, token, model string, every time.Duration) Service {
	return Service{
		New:   create(base+"/v1/models/"+model+"/predictions", token, "", ""),
		Check: checkStatus,
		Follow: func(ctx context.Context, send Sender, answer []byte) error {
			made, err := readPrediction(answer)
			for err == nil && (made.Status == "starting" || made.Status == "processing") {
				select {
				case <-time.After(every):
				case <-ctx.Done():
					return fmt.Errorf("poll prediction %s, which is %s: %w", made.ID, made.Status, ctx.Err())
				}
				made, err = poll(ctx, send, token, made.URLs.Get)
			}
			if err == nil && made.Status != "succeeded" {
				return fmt.Errorf("prediction is %s: %s", made.Status, made.Error)
			}
			return err
		},
	}
}

// Streamed creates predictions of a Replicate model (owner/name) whose versions stream, and reads the stream that each
// answer gives to its end. One that breaks off, or tells an error, fails its call.
func Streamed(base, token, model string) Service {
	return Service{
		New:   create(base+"/v1/models/"+model+"/predictions", token, "", ""),
		Check: checkStatus,
		Follow: func(ctx context.Context, send Sender, answer []byte) error {
			made, err := readPrediction(answer)
			if err != nil {
				return err
			}
			body, err := get(ctx, send, token, made.URLs.Stream, "text/event-stream")
			if err != nil {
				return err
			}
			if !bytes.Contains(body, []byte("event: done\n")) {
				return errors.New("stream ended without done")
			}
			return checkEvents(body)
		},
	}
}

// prediction is what a client reads of one.
type prediction struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
	URLs   struct {
		Get    string `json:"get"`
		Stream string `json:"stream"`
	} `json:"urls"`
}

func readPrediction(body []byte) (prediction, error) {
	var p prediction
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fmt.Errorf("read prediction: %w", err)
	}
	return p, nil
}

func poll(ctx context.Context, send Sender, token, url string) (prediction, error) {
	body, err := get(ctx, send, token, url, "application/json")
	if err != nil {
		return prediction{}, err
	}
	return readPrediction(body)
}

func get(ctx context.Context, send Sender, token, url, accept string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", accept)
	answer, err := send(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return body, checkStatus(answer.StatusCode, body)
}

func checkEvents(body []byte) error {
	if _, after, found := bytes.Cut(body, []byte("event: error\n")); found {
		return fmt.Errorf("stream tells an error: %s", bytes.TrimSpace(after[:min(len(after), 200)]))
	}
	return nil
}
