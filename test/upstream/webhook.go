package upstream

import (
	"net/url"
	"slices"
	"time"
)

// The events of webhooks, as webhook_events_filter names them.
const (
	eventStart     = "start"
	eventOutput    = "output"
	eventLogs      = "logs"
	eventCompleted = "completed"
)

var webhookEvents = []string{eventStart, eventOutput, eventLogs, eventCompleted}

// webhook is where a prediction's events go.
type webhook struct {
	url    string
	events []string // none means all
	fault  FaultName
}

func (w webhook) wants(event string) bool {
	return w.url != "" && (len(w.events) == 0 || slices.Contains(w.events, event))
}

// checkWebhook refuses what is not an absolute https URL; http passes where the options allow it.
func (s *Server) checkWebhook(text string) *problem {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && s.options.AllowHTTPWebhooks) {
		return nil
	}
	return invalidInput("- webhook: Does not match format 'https-url'")
}

// tell begins to notify p's webhook if it has one.
func (s *Server) tell(p *prediction) {
	if p.webhook.url != "" {
		s.background.Go(func() { s.notify(p) })
	}
}

// notify tells p's webhook what happens to p, until it has ended or s closes. Events come one after the other: news that
// arise while the receiver takes its time are told together.
func (s *Server) notify(p *prediction) {
	n := notifier{s: s, p: p, seen: p.created}
	if p.webhook.wants(eventStart) {
		n.tell(eventStart, p.show(time.Now(), s.scaled(dataKept)))
	}
	for {
		event, at, changed := n.next()
		switch s.waitUntil(at, changed) {
		case closed:
			return
		case altered:
			continue
		}
		if event == eventCompleted {
			n.finish()
			return
		}
		n.seen = time.Now()
		n.quiet = n.seen.Add(s.scaled(webhookGap))
		n.tell(event, p.show(n.seen, s.scaled(dataKept)))
	}
}

type notifier struct {
	s     *Server
	p     *prediction
	seen  time.Time // the state at this time has been told
	quiet time.Time // no output and logs before this
	told  int       // events
}

// next is the event to tell next, and when. The channel is that of end.
func (n *notifier) next() (event string, at time.Time, changed <-chan struct{}) {
	ends, _, changed := n.p.end()
	event, at = eventCompleted, ends
	for _, news := range []struct {
		event string
		times []time.Time
	}{{eventOutput, n.p.outputTimes()}, {eventLogs, n.p.logTimes()}} {
		first := firstAfter(news.times, n.seen)
		if n.p.webhook.wants(news.event) && !first.IsZero() && first.Before(at) {
			event, at = news.event, first
		}
	}
	if event != eventCompleted && at.Before(n.quiet) {
		at = n.quiet
	}
	if !at.Before(ends) {
		event, at = eventCompleted, ends
	}
	return event, at, changed
}

// firstAfter is the first of the ascending times that comes after t, or zero.
func firstAfter(times []time.Time, t time.Time) time.Time {
	for _, at := range times {
		if at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// finish tells the last output, which comes with the end but before it is known, and then the end.
func (n *notifier) finish() {
	now := time.Now()
	_, outcome, _ := n.p.end()
	if n.p.webhook.wants(eventOutput) && outcome == statusSucceeded && !now.Before(n.quiet) {
		n.tell(eventOutput, n.p.unfinished(now))
	}
	if n.p.webhook.wants(eventCompleted) {
		n.tell(eventCompleted, n.p.show(time.Now(), n.s.scaled(dataKept)))
	}
}

func (n *notifier) tell(event string, state any) {
	n.s.deliver(n.p, event, n.told, state)
	n.told++
}

type awaited int

const (
	due     awaited = iota
	altered         // what was waited for has changed
	closed          // the server is closing
)

func (s *Server) waitUntil(at time.Time, changed <-chan struct{}) awaited {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return due
	case <-changed:
		return altered
	case <-s.closing.Done():
		return closed
	}
}
