package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"perch/test/stack"
)

// contestant is something that answers requests and whose CPU time is measured.
type contestant struct {
	variant
	pid    int
	client *client
	stack  *stack.Stack   // nil where no worker runs
	routed map[string]int // timed answers by x-perch-variant, and ends of predictions
}

// predictionPoints is what points.ts counts the points of predictions' ends under.
const predictionPoints = "prediction"

// startContestants starts one stack per variant, all alive at once, and adds the upstream itself.
func startContestants(ctx context.Context, up *upstream, scenarios []scenario) ([]*contestant, error) {
	all := make([]*contestant, len(variants))
	err := atOnce(len(variants), func(i int) (err error) {
		all[i], err = startContestant(ctx, variants[i], up, scenarios, nil)
		return err
	})
	if err != nil {
		stopContestants(all)
		return nil, err
	}
	return append(all, &contestant{
		variant: upstreamItself,
		pid:     up.pid, client: newClient(up.url), routed: map[string]int{},
	}), nil
}

// startContestant starts a stack. Its worker writes no log lines: workerd's way of writing them is not production's.
func startContestant(ctx context.Context, v variant, up *upstream, scenarios []scenario, secrets map[string]string) (*contestant, error) {
	s, err := stack.Start(ctx, stack.Options{
		Worker: v.bundle(), Bare: true, Secrets: secrets,
		Vars: map[string]string{"REPLICATE_BASE_URL": up.url + "/v1", "PERCH_LOG": "0", "PERCH_PRIVATE_WEBHOOKS": "1"},
	})
	if err != nil {
		return nil, err
	}
	c := &contestant{variant: v, pid: s.Places[0].PID, client: newClient(s.Places[0].URL), stack: s, routed: map[string]int{}}
	kv := map[string]any{}
	for _, sc := range scenarios {
		maps.Copy(kv, sc.kv)
	}
	for key, value := range kv {
		if err := c.put(ctx, key, value); err != nil {
			return c, fmt.Errorf("write %s for %s: %w", key, v.name, err)
		}
	}
	return c, nil
}

func stopContestants(all []*contestant) {
	for _, c := range all {
		if c == nil {
			continue
		}
		c.client.close()
		if c.stack != nil {
			_ = c.stack.Close()
		}
	}
}

func (c *contestant) put(ctx context.Context, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	path := "/storage/kv/namespaces/" + c.stack.Namespace + "/values/" + url.PathEscape(key)
	_, err = c.api(ctx, http.MethodPut, path, text)
	return err
}

// query runs SQL over the points and returns its rows.
func (c *contestant) query(ctx context.Context, sql string) ([]map[string]any, error) {
	text, err := c.api(ctx, http.MethodPost, "/analytics_engine/sql", []byte(sql))
	if err != nil {
		return nil, err
	}
	var answer struct{ Data []map[string]any }
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read answer of SQL: %w", err)
	}
	return answer.Data, nil
}

func (c *contestant) api(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	target := c.stack.API + "/accounts/" + c.stack.Account + path
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("authorization", "Bearer "+c.stack.Token)
	request.Header.Set("content-type", "text/plain")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(text))
	}
	return text, err
}
