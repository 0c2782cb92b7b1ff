// Package judge turns what the edge measured into a verdict on a canary. It is
// pure: the same input gives the same verdict.
package judge

import (
	"time"

	"perch/orchestrator/judge/histogram"
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

// Method names a way to judge.
type Method string

// The methods.
const (
	Evidence   Method = "evidence"   // anytime-valid tests
	Thresholds Method = "thresholds" // plain limits, a minimum sample and failures in a row
)

// Metric names what is judged.
type Metric string

// The metrics. Rates are fractions, 0 to 1, of an arm's units (predictions that
// ended, and requests that made none). Times are quantiles in milliseconds.
const (
	Errors        Metric = "errors"        // failed, or rescued by stable
	ClientErrors  Metric = "client_errors" // 400, 404, 422
	Feedback      Metric = "feedback"      // bad scores, of those that users gave
	LatencyP50    Metric = "latency_p50"   // first byte of plain calls
	LatencyP95    Metric = "latency_p95"
	TotalP50      Metric = "total_p50" // of predictions, created to completed
	TotalP95      Metric = "total_p95"
	FirstTokenP50 Metric = "first_token_p50" // of streams
	FirstTokenP95 Metric = "first_token_p95"
	CostP50       Metric = "cost_p50" // the model's own time, which is what is billed
	CostP95       Metric = "cost_p95"
)

// Timing is a kind of time that is measured.
type Timing int

// The timings; each has two metrics.
const (
	FirstByte Timing = iota
	Total
	FirstToken
	Predict
	Timings // their number
)

// Limit bounds a metric of the canary. It is exceeded where both parts are.
type Limit struct {
	// Absolute is a fraction, 0 to 1, for rates and milliseconds for times. 0 leaves
	// the relative part alone to decide.
	Absolute float64 `json:"absolute,omitempty"`
	// Relative is a multiple of stable's value, such as 1.5. 0 leaves the absolute
	// part alone to decide, and needs no stable traffic.
	Relative float64 `json:"relative,omitempty"`
}

// Bounds are a metric's limits. Rollback and Promote span the indifference zone.
type Bounds struct {
	Rollback Limit `json:"rollback"`
	Promote  Limit `json:"promote"`
	// Floor is a value below which the canary is never too bad; 0 is none.
	Floor float64 `json:"floor,omitempty"`
	// Ceiling is a value above which the canary is too bad whatever stable does; 0 is none.
	Ceiling float64 `json:"ceiling,omitempty"`
	// Observe shows the metric and never acts on it.
	Observe bool `json:"observe,omitempty"`
}

// Limits are the bounds of each metric. A metric that is absent is not judged.
type Limits map[Metric]Bounds

// Settings say how to judge; a policy holds them.
type Settings struct {
	Method    Method
	Interval  time.Duration // of one count; whole seconds
	Recent    time.Duration // window of the value that a rollback looks at: 5 minutes
	Reference time.Duration // window of the value that a promotion looks at, and of stable's quantiles: 15 minutes
	History   time.Duration // of stable, that its noise is taken from: 60 minutes
	ColdStart time.Duration // of each step, in which times are not judged: 2 minutes
	Spread    time.Duration // of each step, until the new percentage is everywhere
	Horizon   time.Duration // over which rollback tests spread their mass: the deadline
	Alpha     float64       // chance of a false rollback, per family: 0.05
	Limits    Limits
	// Of thresholds alone.
	MinRequests int64 // rows that each arm needs in a window
	Failures    int   // breaches in a row that roll back
}

// Step is the part of the rollout that is judged.
type Step struct {
	BasisPoints int       // the canary's share, 0 to 10000
	Next        int       // share that a promotion leads to, 10000 at the last step
	Began       time.Time // when the rollout began
	Since       time.Time // when this share began
	Bake        time.Duration
	Deadline    time.Time // zero: none
}

// Input is everything that a verdict depends on.
type Input struct {
	Now       time.Time
	Lag       time.Duration // what is younger has perhaps not arrived yet
	Settings  Settings
	Step      Step
	Intervals []Interval // rising; those that the memory has judged are skipped, gaps had no traffic
	// Through is the number of the last closed interval that was asked for. What lies
	// between the memory's and it and is not in Intervals was empty.
	Through int64
	// Problem says why nothing could be measured, or is "". Then Intervals and
	// Through are ignored.
	Problem string
	Memory  Memory // what the last verdict left behind; zero at first
}

// Interval is what was measured of both arms in one closed interval.
type Interval struct {
	Index int64 // Unix time of its begin / its length
	// UserShare is the part of all users, (0, 1], that Counts.Users is of, taken by
	// their fingerprint. 0: users are unknown, and each request counts as one.
	UserShare      float64
	Canary, Stable Counts
}

// Counts is what was measured of one arm. Under sampling a row stands for
// several units: fields are sums of weights unless they say otherwise. All are
// finite and not negative.
type Counts struct {
	Rows          float64 // number of rows
	Weight        float64 // units: predictions that ended and requests that made none
	WeightSquared float64 // sum of squared weights: Weight/WeightSquared is Kish's factor
	Errors        float64
	ClientErrors  float64
	Good, Bad     float64 // scores that users gave
	Times         [Timings]histogram.Histogram
	// Users are distinct users by the first 32 bits of their fingerprint, rising:
	// those seen (of UserShare alone), and of all users those with an error or a
	// client error.
	Users, FailingUsers, ClientFailingUsers []uint32
	Open                                    float64 // predictions made in the interval whose end nobody has seen
	Skipped                                 float64 // requests that a breaker kept away; no units
}

// Verdict is a decision with all that it rests on: Decide of it gives the same
// decision again.
type Verdict struct {
	Decision Decision  `json:"decision"`
	Reason   string    `json:"reason"` // one sentence
	Method   Method    `json:"method"`
	At       time.Time `json:"at"` // end of the last interval that was judged
	Step     StepView  `json:"step"`
	// Metrics are in the order of the constants; those that nothing was measured of are left out.
	Metrics []Assessment `json:"metrics,omitempty"`
	// Frozen, Mismatch and Collapse say why nothing is promoted, or are "": stable is
	// in trouble, the split is not the configured one, an arm's traffic is gone.
	Frozen   string `json:"frozen,omitempty"`
	Mismatch string `json:"mismatch,omitempty"`
	Collapse string `json:"collapse,omitempty"`
	Problem  string `json:"problem,omitempty"` // why nothing could be measured
	// Missing is what a promotion still takes, nil where it takes nothing more.
	Missing *Missing `json:"missing,omitempty"`
	Noise   float64  `json:"noise"` // of stable's error rate beyond binomial, 0.1 to 1
	// Breaches are the intervals in a row that were in breach, and how many of them
	// roll back; of method thresholds alone, as are the rows that an arm needs.
	Breaches       int   `json:"breaches_in_a_row,omitempty"`
	BreachesNeeded int   `json:"breaches_needed,omitempty"`
	MinRequests    int64 `json:"min_requests,omitempty"`
	// RecentWindow is how far back the recent values go.
	RecentWindow Seconds `json:"recent_window_s"`
	// Open are the predictions of the canary in the window whose end nobody has seen.
	Open float64 `json:"open,omitempty"`
	// Traffic is of each arm in the recent window.
	Traffic struct {
		CanaryPerSecond float64 `json:"canary_per_second"`
		StablePerSecond float64 `json:"stable_per_second"`
	} `json:"traffic"`
}

// StepView is the judged step as the verdict saw it.
type StepView struct {
	BasisPoints int       `json:"basis_points"`
	Next        int       `json:"next_basis_points"`
	Since       time.Time `json:"since"`
	BakeLeft    Seconds   `json:"bake_left_s"`
	Deadline    time.Time `json:"deadline,omitzero"`
	Expired     bool      `json:"expired,omitempty"` // the deadline is reached
	Late        bool      `json:"late,omitempty"`    // it is over: nothing is promoted any more
}

// Seconds is a duration that JSON has in seconds.
type Seconds float64

// Missing is what a promotion still takes.
type Missing struct {
	CanaryRequests int64   `json:"canary_requests"`
	Duration       Seconds `json:"duration_s"` // at the canary's traffic in this step; 0 is unknown
	For            Metric  `json:"for"`
}

// Role says what a metric may do.
type Role string

// The roles.
const (
	Proof      Role = "proof"      // rolls back; a promotion needs its proof
	Guard      Role = "guard"      // rolls back; a promotion needs its value within the limit
	Observed   Role = "observe"    // shown
	Incomplete Role = "incomplete" // one arm alone has it: it stands against a promotion where that is stable
)

// Assessment is one metric of both arms.
type Assessment struct {
	Metric Metric `json:"metric"`
	Role   Role   `json:"role"`
	Recent Values `json:"recent"` // window Settings.Recent
	Window Values `json:"window"` // window Settings.Reference, at most the step
	// Low and High bound the canary's value in this step at any moment with 95 % confidence.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// RollbackAbove and PromoteUpTo are what both parts of the limits amount to; 0 is none.
	RollbackAbove float64 `json:"rollback_above"`
	PromoteUpTo   float64 `json:"promote_up_to"`
	// UsersAbove is the rollback limit on the part of users that had an event, where
	// users are known.
	UsersAbove float64 `json:"users_above,omitempty"`
	Ceiling    float64 `json:"ceiling,omitempty"`
	// StableWas is, at 100 %, the rate that stable had when it last had traffic: the
	// absolute limits are at least their relative part of it.
	StableWas float64 `json:"stable_was,omitempty"`
	// RollbackLimit and PromoteLimit are the parts that apply at this step.
	RollbackLimit Limit  `json:"rollback_limit,omitzero"`
	PromoteLimit  Limit  `json:"promote_limit,omitzero"`
	Tests         []Test `json:"tests,omitempty"`
	Breach        bool   `json:"breach,omitempty"`
	Within        bool   `json:"within,omitempty"`
	Why           string `json:"why"` // one sentence
}

// Values are a metric's value in both arms and the sizes of its samples.
type Values struct {
	Canary          float64 `json:"canary"`
	Stable          float64 `json:"stable"`
	CanaryRows      float64 `json:"canary_rows"`
	StableRows      float64 `json:"stable_rows"`
	CanaryEffective float64 `json:"canary_effective"` // rows' worth by Kish
	StableEffective float64 `json:"stable_effective"`
	CanaryUsers     float64 `json:"canary_users,omitempty"` // distinct in the step; 0 is unknown
	StableUsers     float64 `json:"stable_users,omitempty"`
	// CanaryFailing and StableFailing are the parts, 0 to 1, of those users that had
	// one of the events that a rate counts.
	CanaryFailing float64 `json:"canary_failing,omitempty"`
	StableFailing float64 `json:"stable_failing,omitempty"`
	CanarySkipped float64 `json:"canary_skipped,omitempty"` // requests that a breaker kept away
}

// Test is the evidence against one limit.
type Test struct {
	// Name is aim.part or aim.part.users, such as "rollback.relative.users": evidence
	// that the truth is past the promote limit; "promote.absolute": that it is within
	// the rollback limit; "ceiling": that it is above the ceiling.
	Name      string  `json:"name"`
	Log       float64 `json:"log"`        // natural logarithm of the evidence
	NeededLog float64 `json:"needed_log"` // what it takes
}
