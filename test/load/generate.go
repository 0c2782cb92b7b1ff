// Package load sends traffic to model services as their users would, and counts what became of it on each side of a
// rollout.
package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options say what to send and how much of it.
type Options struct {
	Service       Service
	Users         int           // size of the population: x-user-id is user-0 to user-<Users-1>, in turn
	RatePerSecond float64       // requests a second, whatever the answers are like (open loop)
	MaxInFlight   int           // at most so many calls at once, each with all that follows its answer; one due beyond them is skipped, not delayed
	Total         int           // stop after so many due requests; 0 goes on until the context ends
	Timeout       time.Duration // of one call, all that follows its answer included; 0 means 30 s
}

const mostPerSecond = 100_000

// Generate sends traffic until ctx ends or Total is reached, waits for the last answers and returns the result. It
// refuses impossible options.
func Generate(ctx context.Context, o Options) (*Result, error) {
	g, err := New(o)
	if err != nil {
		return nil, err
	}
	return g.Run(ctx), nil
}

// Generator is a run of traffic whose progress can be looked at.
type Generator struct {
	options Options
	client  *http.Client
	slots   chan struct{}

	mu      sync.Mutex
	result  Result
	rate    float64       // requests a second; 0: none
	changed chan struct{} // closed when the rate changes
}

// New checks the options. Run sends the traffic.
func New(o Options) (*Generator, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	switch {
	case o.Service.New == nil || o.Service.Check == nil:
		return nil, fmt.Errorf("generate load: no service, use Model, Deployment, Version, Polled, Streamed, Plain or Events")
	case o.Users < 1:
		return nil, fmt.Errorf("generate load: users is %d, use at least 1", o.Users)
	case !(o.RatePerSecond > 0 && o.RatePerSecond <= mostPerSecond):
		return nil, fmt.Errorf("generate load: rate is %v a second, use more than 0 and at most %d", o.RatePerSecond, mostPerSecond)
	case o.MaxInFlight < 1:
		return nil, fmt.Errorf("generate load: max in flight is %d, use at least 1", o.MaxInFlight)
	case o.Total < 0:
		return nil, fmt.Errorf("generate load: total is %d, use 0 for no end", o.Total)
	case o.Timeout < 0:
		return nil, fmt.Errorf("generate load: timeout is %v, use 0 for the default", o.Timeout)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = o.MaxInFlight, o.MaxInFlight
	return &Generator{
		options: o,
		client:  &http.Client{Transport: transport, CheckRedirect: noRedirect},
		slots:   make(chan struct{}, o.MaxInFlight),
		result:  Result{Arms: map[string]Arm{}},
		rate:    o.RatePerSecond,
		changed: make(chan struct{}),
	}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Run sends the traffic, once. Requests under way when ctx ends are waited for, up to the timeout.
func (g *Generator) Run(ctx context.Context) *Result {
	began := time.Now()
	g.mu.Lock()
	g.result.Began = began
	g.mu.Unlock()
	var running sync.WaitGroup
	due := began
	for n := 0; g.options.Total == 0 || n < g.options.Total; n++ {
		if n > 0 {
			due = g.awaitNext(ctx, due)
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case g.slots <- struct{}{}:
			g.begin()
			running.Go(func() {
				g.call(context.WithoutCancel(ctx), n)
				<-g.slots
			})
		default:
			g.skip()
		}
	}
	running.Wait() // each call ends within its timeout
	g.client.CloseIdleConnections()
	return g.Snapshot()
}

// SetRate changes the requests a second from now on, between 0 and 100000; at 0 no traffic comes until it is changed
// again.
func (g *Generator) SetRate(perSecond float64) error {
	if !(perSecond >= 0 && perSecond <= mostPerSecond) {
		return fmt.Errorf("set rate of load: %v a second, use 0 to %d", perSecond, mostPerSecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate = perSecond
	close(g.changed)
	g.changed = make(chan struct{})
	return nil
}

// awaitNext waits until the request after the one that was due at last is, and returns when that was. What was not sent
// while the rate was 0 is not made up for. It returns early when ctx ends.
func (g *Generator) awaitNext(ctx context.Context, last time.Time) time.Time {
	for {
		g.mu.Lock()
		rate, changed := g.rate, g.changed
		g.mu.Unlock()
		due, timer := last, (<-chan time.Time)(nil)
		if rate > 0 {
			due = last.Add(time.Duration(float64(time.Second) / rate))
			wait := time.Until(due)
			if wait <= 0 {
				return due
			}
			timer = time.After(wait)
		}
		select {
		case <-timer:
			return due
		case <-ctx.Done():
			return due
		case <-changed:
			if rate == 0 {
				last = time.Now()
			}
		}
	}
}

// call sends request n, goes on from its answer, and counts what became of it.
func (g *Generator) call(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeout)
	defer cancel()
	c := call{sent: time.Now(), variant: NoVariant, servedBy: NoVariant}
	c.err = g.exchange(ctx, n, &c)
	c.answered = time.Now()
	g.count(c)
}

func (g *Generator) exchange(ctx context.Context, n int, c *call) error {
	request, err := g.options.Service.New(ctx, n)
	if err != nil {
		return fmt.Errorf("make request %d: %w", n, err)
	}
	user := "user-" + strconv.Itoa(n%g.options.Users)
	send := func(r *http.Request) (*http.Response, error) {
		r.Header.Set("x-user-id", user)
		return g.client.Do(r)
	}
	answer, err := send(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	c.status = answer.StatusCode
	c.variant = headerOr(answer.Header, "x-perch-variant")
	c.servedBy = headerOr(answer.Header, "x-perch-served-by")
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if err := g.options.Service.Check(answer.StatusCode, body); err != nil || g.options.Service.Follow == nil {
		return err
	}
	return g.options.Service.Follow(ctx, send, body)
}

func headerOr(h http.Header, name string) string {
	if value := h.Get(name); value != "" {
		return value
	}
	return NoVariant
}

func (g *Generator) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result.Sent++
	g.result.InFlight++
	g.result.PeakInFlight = max(g.result.PeakInFlight, g.result.InFlight)
}

func (g *Generator) skip() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result.Skipped++
}

func (g *Generator) count(c call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result.InFlight--
	arm := g.result.Arms[c.variant]
	arm.add(c)
	g.result.Arms[c.variant] = arm
}

// Snapshot is the result so far. It may be called at any time and does not change afterwards.
func (g *Generator) Snapshot() *Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	snapshot := g.result.clone()
	snapshot.At = time.Now()
	return snapshot
}
