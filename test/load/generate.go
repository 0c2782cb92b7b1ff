// Package load sends traffic to a model service as its users would, and counts what became of it on each side of a
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
	MaxInFlight   int           // at most so many requests at once; one due beyond them is skipped, not delayed
	Total         int           // stop after so many due requests; 0 goes on until the context ends
	Timeout       time.Duration // of one request, body included; 0 means 30 s
}

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

	mu     sync.Mutex
	result Result
}

// New checks the options. Run sends the traffic.
func New(o Options) (*Generator, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	switch {
	case o.Service.New == nil || o.Service.Check == nil:
		return nil, fmt.Errorf("generate load: no service, use Model, Deployment, Version or Plain")
	case o.Users < 1:
		return nil, fmt.Errorf("generate load: users is %d, use at least 1", o.Users)
	case !(o.RatePerSecond > 0 && o.RatePerSecond <= 100_000):
		return nil, fmt.Errorf("generate load: rate is %v a second, use more than 0 and at most 100000", o.RatePerSecond)
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
		client:  &http.Client{Transport: transport, Timeout: o.Timeout, CheckRedirect: noRedirect},
		slots:   make(chan struct{}, o.MaxInFlight),
		result:  Result{Arms: map[string]Arm{}},
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
	for n := 0; g.options.Total == 0 || n < g.options.Total; n++ {
		due := began.Add(time.Duration(float64(n) / g.options.RatePerSecond * float64(time.Second)))
		if !sleepUntil(ctx, due) {
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
	running.Wait()
	g.client.CloseIdleConnections()
	return g.Snapshot()
}

// sleepUntil returns false when ctx ended before.
func sleepUntil(ctx context.Context, due time.Time) bool {
	if ctx.Err() != nil {
		return false
	}
	d := time.Until(due)
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// call sends request n and counts its answer.
func (g *Generator) call(ctx context.Context, n int) {
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
	request.Header.Set("x-user-id", "user-"+strconv.Itoa(n%g.options.Users))
	answer, err := g.client.Do(request)
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
	return g.options.Service.Check(answer.StatusCode, body)
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
