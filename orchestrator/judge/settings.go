package judge

import "time"

// Default returns the settings of a policy that says nothing.
func Default() Settings {
	return Settings{
		Method: Evidence, Interval: time.Minute, Recent: 5 * time.Minute, Reference: 15 * time.Minute, History: time.Hour,
		ColdStart: 2 * time.Minute, Spread: 2 * time.Minute, Horizon: time.Hour, Alpha: 0.05,
		Limits:      DefaultLimits(),
		MinRequests: 100, Failures: 3,
	}
}

// DefaultLimits returns the limits of a policy that names none. Feedback is judged
// only where it is named.
func DefaultLimits() Limits {
	times := Bounds{Rollback: Limit{Relative: 1.5}, Promote: Limit{Relative: 1.2}}
	cost := times
	cost.Observe = true
	return Limits{
		Errors:       {Rollback: Limit{0.01, 1.5}, Promote: Limit{0.005, 1.2}},
		ClientErrors: {Rollback: Limit{0.02, 2}, Promote: Limit{0.01, 1.5}},
		LatencyP50:   times, LatencyP95: times,
		TotalP50: times, TotalP95: times,
		FirstTokenP50: times, FirstTokenP95: times,
		CostP50: cost, CostP95: cost,
	}
}

// DefaultFeedback are the bounds of feedback where a policy names it without.
func DefaultFeedback() Bounds {
	return Bounds{Rollback: Limit{0.10, 1.5}, Promote: Limit{0.05, 1.2}}
}
