// Package ratio checks that users are split as configured. It is pure.
package ratio

import (
	"math"

	"perch/orchestrator/judge/eprocess"
	"perch/orchestrator/judge/pack"
)

// Alpha is the chance that a healthy split is ever called a mismatch.
const Alpha = 0.001

// spread is what the odds of the canary are multiplied by under the alternatives.
var spread = func() []float64 {
	var multiples []float64
	for _, shift := range []float64{0.1, 0.2, 0.35, 0.6, 1, 1.6, 2.5} {
		multiples = append(multiples, math.Exp(shift), math.Exp(-shift))
	}
	return multiples
}()

// schedule: all mass at once, no cap.
var schedule = eprocess.Schedule{First: 1, Horizon: 1, Cap: math.Inf(1)}

// Check is a martingale that bets that new users come to the arms in another ratio
// than expected (after Lindon & Malek, arXiv 2011.03567). A mixture over odds
// rather than a Beta prior over shares, since what is expected may change from
// interval to interval. The zero value has seen nobody.
type Check struct {
	Canary, Stable float64 // users that were counted
	process        eprocess.Process
}

// Add returns the check with new users more; expected, (0, 1), is the canary's
// share of them, known before they came. The check itself stays as it is.
func (c Check) Add(canary, stable, expected float64) Check {
	if canary+stable == 0 || !(expected > 0 && expected < 1) {
		return c
	}
	if c.process.Weights == nil {
		c.process = eprocess.New(len(spread))
	} else {
		c.process = c.process.Clone()
	}
	c.Canary, c.Stable = c.Canary+canary, c.Stable+stable
	increments := make([]float64, len(spread))
	eprocess.NewRelative(1, spread).Increments(increments, canary, expected, stable, 1-expected, 0)
	c.process.Update(schedule, increments)
	return c
}

// Log returns the natural logarithm of the evidence against the split.
func (c Check) Log() float64 {
	if c.process.Weights == nil {
		return 0
	}
	return c.process.Log(schedule)
}

// Mismatch reports that the split is not the configured one.
func (c Check) Mismatch() bool { return c.Log() >= -math.Log(Alpha) }

// Append packs the check behind other bytes.
func (c Check) Append(to []byte) []byte {
	to = pack.Float(pack.Float(pack.Int(to, c.process.Intervals), c.Canary), c.Stable)
	if c.process.Intervals > 0 {
		for _, weight := range c.process.Weights {
			to = pack.Bits(to, weight)
		}
	}
	return to
}

// Read reads what Append packed.
func Read(from *pack.Reader) Check {
	c := Check{process: eprocess.Process{Intervals: from.Int()}}
	c.Canary, c.Stable = from.Float(), from.Float()
	if c.process.Intervals > 0 {
		c.process.Weights = make([]float64, len(spread))
		for j := range c.process.Weights {
			c.process.Weights[j] = from.Bits()
		}
	}
	return c
}
