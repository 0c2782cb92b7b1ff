package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// patience is how long an answer may take until it counts as one that hangs. Latencies of the stand-in are far below.
const patience = 60 * time.Second

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}}

// call is one request.
type call struct {
	method  string
	url     string
	user    string
	headers map[string]string
	body    io.Reader
	length  int64 // of the body, -1 for chunks
}

// reply is its answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r *reply) servedBy() string { return r.header.Get("x-perch-served-by") }

// open sends a call and returns once the answer's head has come.
func open(ctx context.Context, c call) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, c.url, c.body)
	if err != nil {
		return nil, err
	}
	if c.body != nil && c.length != 0 {
		request.ContentLength = c.length
	}
	request.Header.Set("authorization", "Bearer "+token)
	if c.user != "" {
		request.Header.Set("x-user-id", c.user)
	}
	if c.body != nil {
		request.Header.Set("content-type", "application/json")
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	return client.Do(request)
}

// send sends a call and reads its answer to the end.
func send(ctx context.Context, c call) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &reply{response.StatusCode, response.Header, body}, err
}

// prediction is what an answer tells of one.
type prediction struct {
	ID, Status string
	Version    string
	Output     any
	URLs       struct{ Get, Cancel, Stream string }
}

func (r *reply) prediction() (prediction, error) {
	var p prediction
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		return p, fmt.Errorf("status %d: %.200s", r.status, r.body)
	}
	err := json.Unmarshal(r.body, &p)
	return p, err
}

// at leads a URL of one place to another.
func at(place, link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", err
	}
	return place + u.RequestURI(), nil
}
