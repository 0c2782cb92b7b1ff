// Package ratio checks that users are split as configured. It is pure.
package ratio

import "math"

// Alpha is the chance that a healthy split is ever called a mismatch.
const Alpha = 0.001

// weight is the prior's: that of so many users in the smaller arm. It sets what is
// found soonest, an arm off by a fifth.
const weight = 25

// Check is a martingale that bets on another split than the configured one: the
// beta-binomial likelihood of which arm each new user is in, to that of the split
// (Howard, Ramdas et al., Annals of Statistics 49(2), 2021; Lindon, Sanden &
// Shirikian, arXiv 2205.14762). The zero value has seen nobody.
type Check struct {
	Canary, Stable float64 // users that were seen for the first time
	Null           float64 // natural logarithm of their likelihood under the split
}

// Add returns the check with new users more; expected, (0, 1), is the canary's
// share of them, known before they came.
func (c Check) Add(canary, stable, expected float64) Check {
	c.Canary += canary
	c.Stable += stable
	c.Null += canary*math.Log(expected) + stable*math.Log1p(-expected)
	return c
}

// Log returns the natural logarithm of the evidence against a split, (0, 1).
func (c Check) Log(split float64) float64 {
	n := weight / min(split, 1-split)
	a, b := n*split, n*(1-split)
	return logBeta(a+c.Canary, b+c.Stable) - logBeta(a, b) - c.Null
}

// Mismatch reports that the split is not the configured one.
func (c Check) Mismatch(split float64) bool { return c.Log(split) >= -math.Log(Alpha) }

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}
