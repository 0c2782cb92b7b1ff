package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	connections = 8      // kept alive, each with one request at a time
	users       = 10_000 // in turn
	clientToken = "r8_0123456789abcdef0123456789abcdef01234"
)

// client sends requests to one address.
type client struct {
	base   *url.URL
	http   *http.Client
	sent   atomic.Int64 // also numbers the requests
	headed http.Header
}

func newClient(base string) *client {
	parsed, err := url.Parse(base)
	if err != nil {
		panic(err) // the address came from a listener
	}
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}
	return &client{
		base: parsed,
		http: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		// What Replicate's client for JavaScript sends.
		headed: http.Header{
			"Authorization":   {"Bearer " + clientToken},
			"User-Agent":      {"replicate-javascript/1.4.0"},
			"Accept":          {"*/*"},
			"Accept-Language": {"*"},
			"Accept-Encoding": {"br, gzip, deflate"},
			"Sec-Fetch-Mode":  {"cors"},
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// answered is what came back of a request.
type answered struct {
	status  int
	variant string // x-perch-variant
	header  http.Header
	body    []byte // where it was asked for
}

// do sends the scenario's request number n for a user and reads the answer to its end.
func (c *client) do(ctx context.Context, sc *scenario, n int64, user int, wantBody bool) (answered, error) {
	target := *c.base
	target.Path = sc.path
	header := c.headed.Clone()
	header.Set("x-user-id", "user-"+strconv.Itoa(user))
	for name, value := range sc.header {
		header.Set(name, value)
	}
	request := &http.Request{Method: sc.method, URL: &target, Header: header}
	if sc.body != "" {
		header.Set("content-type", "application/json")
		header.Set("prefer", "wait")
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(sc.body)), int64(len(sc.body))
	}
	if sc.vary != nil {
		sc.vary(request, n)
	}
	response, err := c.http.Do(request.WithContext(ctx))
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	a := answered{status: response.StatusCode, variant: response.Header.Get("x-perch-variant"), header: response.Header}
	if wantBody {
		a.body, err = io.ReadAll(response.Body)
	} else {
		_, err = io.Copy(io.Discard, response.Body)
	}
	return a, err
}

// get reads what is at a path.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// sendAll sends n requests over all connections at once and counts the answers by variant.
func (c *contestant) sendAll(ctx context.Context, sc *scenario, n int) error {
	var (
		left    atomic.Int64
		mu      sync.Mutex
		failure error
		workers sync.WaitGroup
	)
	left.Store(int64(n))
	for range connections {
		workers.Go(func() {
			counts := map[string]int{}
			err := c.sendWhile(ctx, sc, counts, func() bool { return left.Add(-1) >= 0 })
			mu.Lock()
			defer mu.Unlock()
			for variant, count := range counts {
				c.routed[variant] += count
			}
			if err != nil {
				failure = err
			}
		})
	}
	workers.Wait()
	return failure
}

func (c *contestant) sendWhile(ctx context.Context, sc *scenario, counts map[string]int, more func() bool) error {
	for more() {
		n := c.client.sent.Add(1)
		a, err := c.client.do(ctx, sc, n, int(n%users), false)
		if err != nil {
			return fmt.Errorf("send %s to %s: %w", sc.name, c.name, err)
		}
		if a.status >= 400 {
			return fmt.Errorf("send %s to %s: status %d", sc.name, c.name, a.status)
		}
		count(counts, sc, a.variant)
	}
	return nil
}

// count counts the points that an answer must leave behind.
func count(counts map[string]int, sc *scenario, variant string) {
	if !sc.unrouted {
		counts[variant]++
	}
	if sc.ends {
		counts[predictionPoints]++
	}
}
