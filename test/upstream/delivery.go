package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Delivery is one attempt to send a webhook.
type Delivery struct {
	Seq        int             `json:"seq"` // from 1, never used twice
	At         time.Time       `json:"at"`
	Prediction string          `json:"prediction"` // id of the prediction or training
	Event      string          `json:"event"`      // start, output, logs or completed
	Attempt    int             `json:"attempt"`    // from 1; 0 when it was never sent
	URL        string          `json:"url"`
	Header     http.Header     `json:"header"`
	Body       json.RawMessage `json:"body"`
	Status     int             `json:"status"`          // answered; 0 without an answer
	Error      string          `json:"error,omitempty"` // why there is no answer
	Fault      FaultName       `json:"fault,omitempty"`
	Done       bool            `json:"done"` // answered, failed or never to be sent
}

// Replicate's own times of webhooks, divided by Options.Scale. The waits before the attempts to deliver the ending event
// add up to a minute.
var (
	webhookGap   = 500 * time.Millisecond // between deliveries of output and logs
	webhookWaits = []time.Duration{0, 1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 29 * time.Second}
)

const (
	webhookTimeout = 5 * time.Second // in local time
	webhookStale   = 10 * time.Minute
)

// Deliveries returns all attempts that the log of webhooks holds, oldest first.
func (s *Server) Deliveries() []Delivery {
	found, _ := s.deliveries.after(0)
	return found
}

// ClearDeliveries empties the log of webhooks. Numbering goes on.
func (s *Server) ClearDeliveries() { s.deliveries.clear() }

// deliver sends the event with the given number of p; the ending one until it is answered with 2xx, for about a minute.
func (s *Server) deliver(p *prediction, event string, number int, state any) {
	d := Delivery{
		Prediction: p.id, Event: event, URL: p.webhook.url, Header: http.Header{"Content-Type": {"application/json"}},
		Body: encode(state), Fault: p.webhook.fault,
	}
	id := webhookID(p.id, number)
	if d.Fault == FaultWebhookLost {
		d.At, d.Done = time.Now(), true
		s.logDelivery(d)
		return
	}
	waits := webhookWaits[:1]
	if event == eventCompleted {
		waits = webhookWaits
	}
	for i, wait := range waits {
		if s.waitUntil(time.Now().Add(s.scaled(wait)), nil) == closed {
			return
		}
		d.Attempt = i + 1
		status := s.attempt(d, id)
		if d.Fault == FaultWebhookTwice && i == 0 {
			s.attempt(d, id)
		}
		if status/100 == 2 {
			return
		}
	}
}

// attempt signs d, sends it once and returns the status answered.
func (s *Server) attempt(d Delivery, id string) int {
	d.At, d.Header = time.Now(), d.Header.Clone()
	secret, signed := s.webhookSecret, d.At
	switch d.Fault {
	case FaultWebhookForged:
		secret = newWebhookSecret(s.options.Seed, "forged")
	case FaultWebhookStale:
		signed = signed.Add(-webhookStale)
	}
	sign(d.Header, secret, id, signed, d.Body)
	entry := s.logDelivery(d)
	status, err := s.postWebhook(d)
	s.deliveries.update(entry, func(d *Delivery) {
		d.Status, d.Done = status, true
		if err != nil {
			d.Error = err.Error()
		}
	})
	return status
}

func (s *Server) logDelivery(d Delivery) *Delivery {
	return s.deliveries.add(func(seq int) *Delivery {
		d.Seq = seq
		return &d
	})
}

func (s *Server) postWebhook(d Delivery) (int, error) {
	r, err := http.NewRequestWithContext(s.closing, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, err
	}
	r.Header = d.Header
	answer, err := s.webhookClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	// Read so that the connection can be used again; what is in it does not matter.
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	return answer.StatusCode, nil
}

// newWebhookClient is c, or one of its own, that follows no redirects and gives up in time.
func newWebhookClient(c *http.Client) *http.Client {
	own := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	if c != nil {
		own = *c
	}
	if own.Timeout == 0 {
		own.Timeout = webhookTimeout
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// webhookID is the same for all attempts to deliver one event.
func webhookID(prediction string, number int) string {
	sum := sha256.Sum256([]byte(prediction + "\x00" + strconv.Itoa(number)))
	return "msg_" + base64.RawURLEncoding.EncodeToString(sum[:18])
}
