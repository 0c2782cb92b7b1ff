package load

import (
	"context"
	"fmt"
	"sync"
)

// Mix is the traffic of several services at once, by names of the caller's. Each has a rate, users and results of its
// own; a service's generator can be looked at and told another rate while all run.
type Mix map[string]*Generator

// NewMix checks the options of each service.
func NewMix(options map[string]Options) (Mix, error) {
	m := Mix{}
	for name, o := range options {
		g, err := New(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m[name] = g
	}
	return m, nil
}

// Run sends the traffic of all, once, and returns each one's result when the last has ended.
func (m Mix) Run(ctx context.Context) map[string]*Result {
	var running sync.WaitGroup
	for _, g := range m {
		running.Go(func() { g.Run(ctx) })
	}
	running.Wait()
	return m.Snapshot()
}

// Snapshot is each service's result so far.
func (m Mix) Snapshot() map[string]*Result {
	results := make(map[string]*Result, len(m))
	for name, g := range m {
		results[name] = g.Snapshot()
	}
	return results
}
