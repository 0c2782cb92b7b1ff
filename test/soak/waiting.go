package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"perch/test/upstream"
)

// wait sends a request whose answer comes late: a waiter sends always the same kind.
func (c *crowd) wait(ctx context.Context, n int64, waiter int) {
	defer c.inWaits.enter()()
	user := fmt.Sprint("user-", n)
	var err error
	switch kind := waiter % 10; {
	case kind < 5:
		_, err = c.create(ctx, lateModel, user, n)
	case kind < 8:
		err = c.callServer(ctx, user, n)
	case kind == 8:
		err = c.createAtLength(ctx, user, n)
		c.longBodies.Add(1)
	default:
		_, err = c.create(ctx, longModel, user, n)
		c.longAnswers.Add(1)
	}
	if err != nil {
		c.waitFaults.add("request %d: %v", n, err)
	}
	c.waits.Add(1)
}

// promptOf is nobody else's.
func promptOf(n int64) string { return fmt.Sprintf("only-%d asked-this %d", n, n*7919) }

func outputOf(model, arm string, n int64) string { return reference(model, arm) + ": " + promptOf(n) }

// create makes a prediction and waits for its end; it tells who answered.
func (c *crowd) create(ctx context.Context, model, user string, n int64) (servedBy string, err error) {
	rest := fmt.Sprintf(`"input":{"prompt":%q}}`, promptOf(n))
	return c.createFrom(ctx, model, user, n, rest, strings.NewReader("{"+rest))
}

// createAtLength does so with a body that comes in pieces while others are served.
func (c *crowd) createAtLength(ctx context.Context, user string, n int64) error {
	filler := strings.Repeat(fmt.Sprintf("%d ", n), longBytes/len(fmt.Sprint(n, " ")))
	rest := fmt.Sprintf(`"input":{"prompt":%q,"filler":%q}}`, promptOf(n), filler)
	const pieces = 10
	_, err := c.createFrom(ctx, lateModel, user, n, rest, &paced{text: "{" + rest, piece: longBytes / pieces, pause: 100 * time.Millisecond})
	return err
}

// createFrom sends a body that ends in rest, and checks that its answer is this one's and nobody else's.
func (c *crowd) createFrom(ctx context.Context, model, user string, n int64, rest string, body io.Reader) (servedBy string, err error) {
	r, err := send(ctx, call{
		method: http.MethodPost, url: c.place + "/v1/models/" + model + "/predictions", user: user,
		headers: map[string]string{"prefer": "wait"}, body: body, length: int64(len(rest) + 1),
	})
	if err != nil {
		return "", err
	}
	c.calls.Add(1)
	p, err := r.prediction()
	if err != nil {
		return "", err
	}
	c.predictions.Add(1)
	servedBy = r.servedBy()
	c.bodies.sent(`{"version":"` + reference(model, servedBy) + `",` + rest)
	got, _ := p.Output.(string)
	if model == longModel {
		got = strings.TrimRight(got, ".")
	}
	if want := outputOf(model, servedBy, n); got != want {
		return "", fmt.Errorf("the output is %.300q, not %q", got, want)
	}
	return servedBy, nil
}

// callServer asks the plain model server, which answers what it got.
func (c *crowd) callServer(ctx context.Context, user string, n int64) error {
	body := fmt.Sprintf(`{"text":%q}`, promptOf(n))
	path := fmt.Sprint("/answers/", n)
	r, err := send(ctx, call{
		method: http.MethodPost, url: c.place + "/" + lateServer + path, user: user, body: strings.NewReader(body), length: int64(len(body)),
	})
	if err != nil {
		return err
	}
	c.calls.Add(1)
	if r.status != http.StatusOK {
		return fmt.Errorf("status %d: %.200s", r.status, r.body)
	}
	var got struct{ Model, Path, SHA256 string }
	if err := json.Unmarshal(r.body, &got); err != nil {
		return fmt.Errorf("read answer %.200q: %w", r.body, err)
	}
	c.bodies.sent(body)
	if want := lateServer + "-" + r.servedBy(); got.Model != want || got.Path != path || got.SHA256 != sum(body) {
		return fmt.Errorf("the answer is %.300s, not one of %s to %s", r.body, want, path)
	}
	return nil
}

// paced is a body that comes in pieces with pauses between them.
type paced struct {
	text  string
	piece int
	pause time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	time.Sleep(p.pause)
	n := copy(b, p.text[:min(p.piece, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func sum(body string) string {
	hash := sha256.Sum256([]byte(body))
	return hex.EncodeToString(hash[:])
}

// bodies are what the upstream must have got, each once. It may be used concurrently.
type bodies struct {
	mu  sync.Mutex
	all map[string]int // hash to how often it was sent
}

func (b *bodies) sent(body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]int{}
	}
	b.all[sum(body)]++
}

// check compares them with the upstream's log.
func (b *bodies) check(r *report, log []upstream.Entry) {
	strange, twice := 0, 0
	got := map[string]int{}
	for _, e := range log {
		if e.Method != http.MethodPost {
			continue
		}
		got[e.BodySHA256]++
		switch {
		case b.all[e.BodySHA256] == 0:
			strange++
		case got[e.BodySHA256] > b.all[e.BodySHA256]:
			twice++
		}
	}
	lost := 0
	for hash, n := range b.all {
		lost += max(0, n-got[hash])
	}
	r.tell("bodies that the upstream got", "%d", len(got))
	r.equal("bodies that nobody sent", strange, 0)
	r.equal("bodies that came twice", twice, 0)
	r.equal("bodies that never came", lost, 0)
}
