package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// words is how many each stream repeats.
const words = 12

// stream makes a prediction and listens to its end. Every third client loses its connection half-way and goes on where
// it was.
func (c *crowd) stream(ctx context.Context, n int64) {
	defer c.inStreams.enter()()
	breakAfter := 0
	if n%3 == 0 {
		breakAfter = words / 2
	}
	if err := c.listen(ctx, n, breakAfter); err != nil {
		c.streamFaults.add("stream %d: %v", n, err)
	}
	c.streams.Add(1)
}

func (c *crowd) listen(ctx context.Context, n int64, breakAfter int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var prompt []string
	for i := range words {
		prompt = append(prompt, fmt.Sprintf("s%d.%d", n, i))
	}
	rest := fmt.Sprintf(`"input":{"prompt":%q},"stream":true}`, strings.Join(prompt, " "))
	r, err := send(ctx, call{
		method: http.MethodPost, url: c.place + "/v1/models/" + chatModel + "/predictions", user: fmt.Sprint("user-", n),
		body: strings.NewReader("{" + rest), length: int64(len(rest) + 1),
	})
	if err != nil {
		return err
	}
	c.calls.Add(1)
	p, err := r.prediction()
	if err != nil {
		return err
	}
	c.predictions.Add(1)
	c.bodies.sent(`{"version":"` + reference(chatModel, r.servedBy()) + `",` + rest)
	if !strings.HasPrefix(p.URLs.Stream, c.place) {
		return fmt.Errorf("urls.stream is %q", p.URLs.Stream)
	}
	heard := &hearing{}
	if breakAfter > 0 {
		if err := heard.listen(ctx, p.URLs.Stream, breakAfter); err != nil {
			return err
		}
		c.resumed.Add(1)
	}
	if err := heard.listen(ctx, p.URLs.Stream, 0); err != nil {
		return err
	}
	want := append([]string{reference(chatModel, r.servedBy()) + ":"}, prompt...)
	return heard.check(want)
}

// hearing is what a client has heard of a stream, over all of its connections.
type hearing struct {
	lastID string
	output []string
	order  []int // of the events' ids
	done   bool
}

// listen connects, and goes on where it was. It stops after so many more events, 0 for the end.
func (h *hearing) listen(ctx context.Context, url string, most int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	headers := map[string]string{"accept": "text/event-stream"}
	if h.lastID != "" {
		headers["last-event-id"] = h.lastID
	}
	response, err := open(ctx, call{method: http.MethodGet, url: url, headers: headers})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	kind, _, _ := mime.ParseMediaType(response.Header.Get("content-type"))
	if response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("listen: status %d: %s", response.StatusCode, text)
	}
	return h.hear(response.Body, most)
}

func (h *hearing) hear(from io.Reader, most int) error {
	var name, data string
	events := 0
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			data = value
		case "id":
			h.lastID = value
		case "":
			if name == "" {
				continue
			}
			if err := h.event(name, data); err != nil {
				return err
			}
			name, data = "", ""
			if events++; events == most {
				return nil
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("listen: after %d events: %w", len(h.order), err)
	}
	return nil
}

func (h *hearing) event(name, data string) error {
	var second, number int
	if _, err := fmt.Sscanf(h.lastID, "%d:%d", &second, &number); err != nil {
		return fmt.Errorf("read event's id %q: %w", h.lastID, err)
	}
	h.order = append(h.order, number)
	switch name {
	case "output":
		h.output = append(h.output, strings.TrimSpace(data))
	case "done":
		h.done = true
	default:
		return fmt.Errorf("event %s: %s", name, data)
	}
	return nil
}

// check compares with the words of the prompt: each once, in order, and the end.
func (h *hearing) check(want []string) error {
	for i, number := range h.order {
		if i != number {
			return fmt.Errorf("the events are %v", h.order)
		}
	}
	if !h.done {
		return fmt.Errorf("the stream ended without done after %d events", len(h.order))
	}
	if got := strings.Join(h.output, " "); got != strings.Join(want, " ") {
		return fmt.Errorf("the output is %q, not %q", got, want)
	}
	return nil
}
