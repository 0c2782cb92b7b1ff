// Package judge turns what the edge measured into a verdict on a canary. It is
// pure: the same input gives the same verdict.
package judge

import (
	"time"
)

// Decision says what is to happen to the canary.
type Decision string

// The decisions. Hold includes "not enough is known yet".
const (
	Promote      Decision = "promote"      // to the next step, or for good after the last
	Hold         Decision = "hold"         // stay at this percentage
	Rollback     Decision = "rollback"     // to 0, at once
	Inconclusive Decision = "inconclusive" // the deadline passed without a verdict
)

// Method is a way to judge.
type Method interface {
	Judge(Input) Verdict
}

// Limit bounds a metric of the canary. It is exceeded where both parts are.
type Limit struct {
	// Absolute is a fraction, 0 to 1, for errors and milliseconds for latency. 0
	// leaves the relative part alone to decide.
	Absolute float64 `json:"absolute"`
	// Relative is a multiple of stable's value, such as 1.5. 0 leaves the absolute
	// part alone to decide, and needs no stable traffic.
	Relative float64 `json:"relative"`
}

// Limits bound the metrics that are judged.
type Limits struct {
	Errors     Limit `json:"errors"`
	LatencyP95 Limit `json:"latency_p95"`
}

// Step is the part of the rollout that is judged.
type Step struct {
	BasisPoints int // the canary's share, 0 to 10000
	Since       time.Time
	Bake        time.Duration // least time at this share before a promotion
	Deadline    time.Time     // of the whole rollout
}

// Input is everything that a verdict depends on.
type Input struct {
	Now         time.Time
	Lag         time.Duration // what is younger has perhaps not arrived yet
	Step        Step
	MinRequests int64 // rows that each arm needs in a window
	Rollback    Limits
	Promote     Limits
	Evidence    Evidence
	// Memory is what the method's last verdict left behind, nil at first.
	Memory []byte
}

// Span is a time range, its end excluded.
type Span struct{ From, To time.Time }

// Evidence is what was measured of both arms in two windows.
type Evidence struct {
	Recent Window
	Step   Window // since the step began, at most the bake time
	// Problem says why nothing could be measured, or is "".
	Problem string
}

// Window is what was measured in a time range. What says nothing of a variant is
// left out: throttled requests, those whose client went away, cancelled
// predictions.
type Window struct {
	Span
	Canary, Stable Arm
}

// Arm is what was measured of one variant. Its units are predictions that ended
// and requests that made none; both are called requests. Under sampling a row
// stands for one or more: rates are of requests, evidence is counted in rows.
type Arm struct {
	Rows     int64
	OKRows   int64 // rows of answers that succeeded, which latencies are measured on
	Requests float64
	Errors   float64 // requests and predictions that failed, or that stable rescued
	Open     float64 // predictions made in the window whose end nobody has seen yet
	// Skipped are rows of requests that a breaker kept from the variant after a run
	// of failures. They are no units: how they would have ended is not known.
	Skipped int64
	P50MS   float64 // time to the first byte of successes, milliseconds
	P95MS   float64
	// Of predictions that succeeded, milliseconds; 0 where none said.
	TotalP95MS   float64 // from creation to end
	PredictP95MS float64 // the model's own time
}

// ErrorRate returns the share of requests that failed, 0 to 1; 0 without requests.
func (a Arm) ErrorRate() float64 {
	if a.Requests <= 0 {
		return 0
	}
	return a.Errors / a.Requests
}

// Rate returns an arm's requests per second.
func (s Span) Rate(a Arm) float64 {
	if seconds := s.To.Sub(s.From).Seconds(); seconds > 0 {
		return a.Requests / seconds
	}
	return 0
}

// Spans returns the time ranges of the evidence at a moment: the last window,
// and the step so far, clipped to the bake time. Both end a lag ago; an empty
// one begins where it ends.
func Spans(now time.Time, step Step, window, lag time.Duration) (recent, whole Span) {
	end := now.Add(-lag)
	from := end.Add(-step.Bake)
	if from.Before(step.Since) {
		from = step.Since
	}
	if from.After(end) {
		from = end
	}
	return Span{end.Add(-window), end}, Span{from, end}
}

// Verdict is a decision with what it rests on.
type Verdict struct {
	Decision Decision `json:"decision"`
	Reason   string   `json:"reason"` // one sentence
	Metrics  []Metric `json:"metrics,omitempty"`
	// MissingRequests is about how many more canary requests the step needs
	// before it can be promoted.
	MissingRequests int64 `json:"missing_requests,omitempty"`
	// Memory is for the next verdict's input.
	Memory []byte `json:"-"`
}

// Metric is one metric of both arms in one window. Its unit is that of its limits.
type Metric struct {
	Name       string  `json:"name"`   // "errors" or "latency_p95"
	Window     string  `json:"window"` // "recent" or "step"
	Canary     float64 `json:"canary"`
	Stable     float64 `json:"stable"`
	CanaryRows int64   `json:"canary_rows"`
	// CanarySkipped are the rows that a breaker kept from the canary: for a rollback
	// they make up for rows that are missing, never for a promotion.
	CanarySkipped int64 `json:"canary_skipped,omitempty"`
	StableRows    int64 `json:"stable_rows"`
	// RollbackAbove and PromoteUpTo are the limits that both parts amount to.
	RollbackAbove float64 `json:"rollback_above"`
	PromoteUpTo   float64 `json:"promote_up_to"`
	Enough        bool    `json:"enough"` // rows to decide on, in each arm that is needed
	Breach        bool    `json:"breach"` // enough, and past the rollback limit
	Within        bool    `json:"within"` // enough, and within the promote limit
}
