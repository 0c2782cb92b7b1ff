package cloudflare

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthTimeout bounds the wait for a worker's health, which is a local answer.
const healthTimeout = 10 * time.Second

// Health asks the worker at base, such as https://perch.example.workers.dev,
// whether it serves, and returns its answer. It is asked once: a worker that
// answers only now and then is not healthy.
func Health(ctx context.Context, base string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	address := strings.TrimRight(base, "/") + "/_perch/health"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("read worker health: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("read worker health: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read worker health: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("read worker health: %w", refusal(res.StatusCode, body))
	}
	return firstLine(string(body)), nil
}
