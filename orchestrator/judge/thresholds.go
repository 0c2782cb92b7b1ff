package judge

import "math"

// Method thresholds compares the two windows with the limits as they stand, once
// each holds enough rows; a run of intervals in breach rolls back. A look at noisy
// numbers can be wrong: MinRequests and Failures are its only guards.

// count counts the intervals in a row that were in breach.
func (j *judging) count(v *Verdict) {
	s, m := &j.in.Settings, &j.memory
	v.MinRequests, v.BreachesNeeded = s.MinRequests, max(1, s.Failures)
	breach := false
	for i := range v.Metrics {
		a := &v.Metrics[i]
		a.Breach, a.Within = a.breached(v), a.within(v)
		breach = breach || a.Breach && a.Role != Observed
	}
	switch {
	case !breach:
		m.breaches = 0
	case m.counted != m.last:
		m.breaches++
	}
	m.counted = m.last
	v.Breaches = m.breaches
}

// enough reports rows to compare with a limit, in each arm that the limit needs.
// For a rollback those that a breaker kept from the canary count too: where it
// fails so much that the breaker opens, too few rows come in.
func (w *Values) enough(v *Verdict, skipped float64, compared bool) bool {
	least := float64(v.MinRequests)
	return w.CanaryRows > 0 && w.CanaryRows+skipped >= least && (!compared || w.StableRows >= least)
}

func (a *Assessment) breachedLimits(v *Verdict) bool {
	for _, w := range []*Values{&a.Recent, &a.Window} {
		limit := max(a.RollbackLimit.Absolute, a.RollbackLimit.Relative*w.Stable)
		exists := a.RollbackLimit != (Limit{})
		if exists && w.enough(v, w.CanarySkipped, a.RollbackLimit.Relative > 0) && w.Canary > limit {
			return true
		}
		if a.Ceiling > 0 && w.enough(v, w.CanarySkipped, false) && w.Canary > a.Ceiling {
			return true
		}
	}
	return false
}

func (a *Assessment) withinLimits(v *Verdict) bool {
	return a.Window.enough(v, 0, a.PromoteLimit.Relative > 0) && a.Window.Canary <= a.PromoteUpTo
}

// standsByLimits says what stands against a promotion by plain limits. Metrics
// that the canary has too little of for them stand only where they are a proof.
func (v *Verdict) standsByLimits(a *Assessment) obstacle {
	switch {
	case a.PromoteLimit == (Limit{}):
		return nothing
	case !a.Window.enough(v, 0, a.PromoteLimit.Relative > 0):
		if a.Role == Proof {
			return tooFewRows
		}
		return nothing
	case !a.within(v):
		return above
	}
	return nothing
}

// lacking returns how many rows a metric's window lacks.
func (v *Verdict) lacking(a *Assessment) float64 {
	return math.Max(0, float64(v.MinRequests)-a.Window.CanaryRows)
}
