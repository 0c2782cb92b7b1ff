package load

import (
	"maps"
	"time"
)

// NoVariant stands for the variant of answers without x-perch-variant, and of calls without an answer.
const NoVariant = "none"

// Result counts what became of the traffic.
type Result struct {
	Began, At    time.Time // start of the run, and when this was counted
	Sent         int
	Skipped      int // due while MaxInFlight requests were under way
	InFlight     int
	PeakInFlight int
	Arms         map[string]Arm // by x-perch-variant
}

// Arm counts the answers of one variant.
type Arm struct {
	OK, Failed  int
	Statuses    map[int]int    // by HTTP status; 0 without an answer
	ServedBy    map[string]int // by x-perch-served-by: what stable rescued counts as canary here, served by stable
	Latency     Histogram      // from sending to the last byte, of all calls
	First, Last time.Time      // when the first and the last answer came; zero without any
	LastError   string         // why the last failed call failed
}

// call is one request that came to its end.
type call struct {
	sent, answered    time.Time
	variant, servedBy string
	status            int
	err               error
}

func (a *Arm) add(c call) {
	if a.Statuses == nil {
		a.Statuses, a.ServedBy = map[int]int{}, map[string]int{}
	}
	if c.err == nil {
		a.OK++
	} else {
		a.Failed++
		a.LastError = c.err.Error()
	}
	a.Statuses[c.status]++
	a.ServedBy[c.servedBy]++
	a.Latency.add(c.answered.Sub(c.sent))
	if a.First.IsZero() {
		a.First = c.answered
	}
	if c.answered.After(a.Last) {
		a.Last = c.answered
	}
}

// Calls is the number of calls that came to their end.
func (a Arm) Calls() int { return a.OK + a.Failed }

// Calls is the number of calls on all arms that came to their end.
func (r *Result) Calls() int {
	n := 0
	for _, arm := range r.Arms {
		n += arm.Calls()
	}
	return n
}

// Failed is the number of calls that failed for their users, on all arms.
func (r *Result) Failed() int {
	n := 0
	for _, arm := range r.Arms {
		n += arm.Failed
	}
	return n
}

// Share is the part, in [0,1], of all calls that the variant had; 0 without any call.
func (r *Result) Share(variant string) float64 {
	if n := r.Calls(); n > 0 {
		return float64(r.Arms[variant].Calls()) / float64(n)
	}
	return 0
}

// Since is what was counted after an earlier snapshot of the same run: for rates and shares of the moment. Began is the
// time of that snapshot; First, Last, LastError, InFlight and PeakInFlight are those of r.
func (r *Result) Since(earlier *Result) *Result {
	d := r.clone()
	d.Began = earlier.At
	d.Sent -= earlier.Sent
	d.Skipped -= earlier.Skipped
	for name, arm := range d.Arms {
		before := earlier.Arms[name]
		arm.OK -= before.OK
		arm.Failed -= before.Failed
		for status, n := range before.Statuses {
			arm.Statuses[status] -= n
		}
		for variant, n := range before.ServedBy {
			arm.ServedBy[variant] -= n
		}
		arm.Latency.since(&before.Latency)
		d.Arms[name] = arm
	}
	return d
}

// PerSecond is the number of calls a second that came to their end between Began and At.
func (r *Result) PerSecond() float64 {
	if d := r.At.Sub(r.Began).Seconds(); d > 0 {
		return float64(r.Calls()) / d
	}
	return 0
}

func (r *Result) clone() *Result {
	c := *r
	c.Arms = make(map[string]Arm, len(r.Arms))
	for name, arm := range r.Arms {
		arm.Statuses, arm.ServedBy = maps.Clone(arm.Statuses), maps.Clone(arm.ServedBy)
		c.Arms[name] = arm
	}
	return &c
}
