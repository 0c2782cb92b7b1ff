// Package eprocess keeps tests by betting: processes that start at 1 and, while
// the null hypothesis holds, are expected not to grow, whatever came before. By
// Ville's inequality the chance that one ever reaches 1/α is at most α, however
// often anybody looks. It is pure.
//
// Sources: Howard, Ramdas, McAuliffe & Sekhon, Annals of Statistics 49(2), 2021;
// Shin, Ramdas & Rinaldo, E-detectors, 2022 (mass that enters over time).
package eprocess

import (
	"math"
	"slices"
)

// Schedule says how the prior mass of 1 enters over the intervals, so that what
// begins late is found too.
type Schedule struct {
	First   float64 // mass of the first interval, (0, 1]
	Horizon int64   // number of intervals over which the rest enters evenly, the first included
	Cap     float64 // most that one interval adds to the log evidence; +Inf is no cap
	// Renew begins anew when the horizon is over, so that what begins after it is
	// found too: the chance of a false alarm is then α in each horizon.
	Renew bool
}

// Spent returns the mass that has entered after a number of intervals, [0, 1].
func (s Schedule) Spent(intervals int64) float64 {
	switch {
	case intervals <= 0:
		return 0
	case intervals >= s.Horizon:
		return 1
	}
	return s.First + (1-s.First)*float64(intervals-1)/float64(s.Horizon-1)
}

// Process is a mixture over a grid of alternatives, in logarithms.
type Process struct {
	Intervals int64     // that have passed
	Weights   []float64 // natural logarithm of each alternative's M; −Inf before any mass
}

// New returns a process over a grid of a length before its first interval.
func New(grid int) Process {
	p := Process{Weights: make([]float64, grid)}
	for j := range p.Weights {
		p.Weights[j] = math.Inf(-1)
	}
	return p
}

// Clone returns a copy that shares nothing.
func (p Process) Clone() Process {
	p.Weights = slices.Clone(p.Weights)
	return p
}

// Update lets an interval pass: M_j ← (M_j + γ/G)·exp(min(cap, increment_j)).
// Each exp(increment_j) must have a mean of at most 1 under the null.
func (p *Process) Update(s Schedule, increments []float64) {
	p.enter(s, 1)
	for j, increment := range increments {
		p.Weights[j] += min(s.Cap, increment)
	}
}

// Skip lets intervals pass in which nothing happened, in constant time.
func (p *Process) Skip(s Schedule, intervals int64) { p.enter(s, intervals) }

func (p *Process) enter(s Schedule, intervals int64) {
	if over := p.Intervals + intervals - s.Horizon; s.Renew && over > 0 {
		for j := range p.Weights {
			p.Weights[j] = math.Inf(-1)
		}
		p.Intervals, intervals = 0, (over-1)%s.Horizon+1
	}
	mass := s.Spent(p.Intervals+intervals) - s.Spent(p.Intervals)
	p.Intervals += intervals
	if mass <= 0 {
		return
	}
	log := math.Log(mass / float64(len(p.Weights)))
	for j, weight := range p.Weights {
		p.Weights[j] = Add(weight, log)
	}
}

// Log returns the natural logarithm of the evidence: all M and the mass that has
// not entered yet.
func (p Process) Log(s Schedule) float64 {
	rest := math.Inf(-1)
	if spent := s.Spent(p.Intervals); spent < 1 {
		rest = math.Log(1 - spent)
	}
	top := rest
	for _, weight := range p.Weights {
		top = max(top, weight)
	}
	if math.IsInf(top, -1) {
		return top
	}
	sum := math.Exp(rest - top)
	for _, weight := range p.Weights {
		if weight > top-50 {
			sum += math.Exp(weight - top)
		}
	}
	return top + math.Log(sum)
}

// Add returns ln(exp a + exp b).
func Add(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, -1) || b < a-50 {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
