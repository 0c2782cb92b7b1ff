package main

import (
	"slices"
	"sync/atomic"
)

// gauge is how many are under way now, and were whenever it was sampled.
type gauge struct {
	now  atomic.Int64
	seen []int64
}

func (g *gauge) enter() (leave func()) {
	g.now.Add(1)
	return func() { g.now.Add(-1) }
}

func (g *gauge) sample() { g.seen = append(g.seen, g.now.Load()) }

func (g *gauge) median() int64 {
	if len(g.seen) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(g.seen))
	return sorted[len(sorted)/2]
}
