package plan

import (
	"fmt"
	"math"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// Plan is what a rollout's steps can and cannot be expected to show, where the
// traffic stays as it was.
type Plan struct {
	Traffic  Summary       `json:"traffic"`
	Steps    []Step        `json:"steps"`
	Auto     bool          `json:"auto,omitempty"` // the steps were laid by the traffic
	Deadline judge.Seconds `json:"deadline_s"`     // since the rollout's begin
	// Reached is when a healthy canary is at the last step, Ended when that has
	// passed too, since the rollout's begin.
	Reached Expected `json:"reached"`
	Ended   Expected `json:"ended"`
	// Promoted is the chance, 0 to 1, that a healthy canary reaches the last step
	// before the deadline. Approvals are taken to be given at once.
	Promoted float64 `json:"promoted"`
	// Proposal are steps that suit the traffic better, if any do.
	Proposal []policy.Step `json:"proposal,omitempty"`
	Warnings []string      `json:"warnings,omitempty"` // one sentence each
	Problem  string        `json:"problem,omitempty"`  // why the traffic is not known
}

// Summary is Traffic in figures.
type Summary struct {
	Span         judge.Seconds `json:"span_s"`
	PerMinute    float64       `json:"requests_per_minute"`
	Effective    float64       `json:"effective"` // worth of a request as evidence; below 1 under sampling
	Errors       float64       `json:"error_rate"`
	ClientErrors float64       `json:"client_error_rate"`
	P50MS        float64       `json:"p50_ms"` // 0 is unknown
	P95MS        float64       `json:"p95_ms"`
	Noise        float64       `json:"noise"`
	TimeNoise    float64       `json:"time_noise"`
	Users        float64       `json:"users,omitempty"`
	TopUser      float64       `json:"top_user_share,omitempty"`
}

// Step is what one step can be expected to show.
type Step struct {
	BasisPoints int             `json:"basis_points"`
	Bake        judge.Seconds   `json:"bake_s"`
	Pause       judge.Seconds   `json:"pause_s,omitempty"`
	Approve     policy.Approval `json:"approve,omitempty"`
	PerMinute   float64         `json:"canary_requests_per_minute"`
	// LeastErrors is the smallest increase of the error rate, 0 to 1, and LeastSlower
	// the smallest ratio of times that is rolled back before the bake ends, in 80 of
	// 100 rollouts. 0: none is.
	LeastErrors float64 `json:"finds_error_increase"`
	LeastSlower float64 `json:"finds_times_ratio"`
	Found       []Found `json:"found"`
	// Passed is when a healthy canary goes on, since the step's begin.
	Passed Expected `json:"passed"`
}

// Found is after how long an increase of the error rate is rolled back, in 80 of
// 100 rollouts, since the step's begin.
type Found struct {
	Increase float64       `json:"error_increase"` // 0 to 1
	After    judge.Seconds `json:"after_s"`        // 0: not before the deadline
}

// Expected is when something happens to a healthy canary. 0: not before the
// deadline, or nobody knows.
type Expected struct {
	Half judge.Seconds `json:"half_s"` // in half of all rollouts
	Most judge.Seconds `json:"most_s"` // in 95 of 100
}

// increases of the error rate that a plan says the times of.
var increases = []float64{0.01, 0.02, 0.05}

// For says what a policy's steps can be expected to bring.
func For(t Traffic, p policy.Policy) Plan {
	plan := Plan{Traffic: t.summary(), Auto: p.Auto, Deadline: judge.Seconds(time.Duration(p.Deadline).Seconds())}
	c := newCourse(t, p, time.Duration(p.Deadline))
	for i, s := range c.stages {
		plan.Steps = append(plan.Steps, c.step(i, s))
	}
	if c.decided() {
		plan.Reached, plan.Ended = c.expected(c.reached()), c.expected(c.ended())
		plan.Promoted = c.by(c.reached(), time.Duration(p.Deadline))
	}
	if !p.Auto && t.PerMinute > 0 && plan.slow() {
		if better, _ := Lay(t, p); !equal(better.Steps, p.Steps) {
			plan.Proposal = better.Steps
		}
	}
	plan.Warnings = plan.warnings(p)
	return plan
}

// Unknown is the plan of a policy where nothing is known of the traffic.
func Unknown(p policy.Policy, problem string) Plan {
	plan := For(Traffic{Effective: 1}, p)
	plan.Warnings, plan.Problem = nil, problem
	return plan
}

// slow reports that a step before the last takes longer than its bake to pass
// half of all healthy canaries.
func (p Plan) slow() bool {
	for i, s := range p.Steps {
		if last := i+1 == len(p.Steps); !last && s.Approve != policy.ApproveInstead && (s.Passed.Half == 0 || s.late()) {
			return true
		}
	}
	return false
}

// late reports that the step's verdict is usually not there when its bake ends.
func (s Step) late() bool { return s.Passed.Half > s.Bake*4/3+s.Pause }

func equal(a, b []policy.Step) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].BasisPoints != b[i].BasisPoints || a[i].Bake != b[i].Bake || a[i].Approve != b[i].Approve {
			return false
		}
	}
	return true
}

func (c course) step(i int, s stage) Step {
	step := c.policy.Steps[i]
	out := Step{
		BasisPoints: s.basisPoints, Bake: seconds(s.span(s.bake)), Pause: judge.Seconds(time.Duration(step.Pause).Seconds()), Approve: step.Approve,
		PerMinute: c.traffic.PerMinute * float64(s.basisPoints) / whole,
	}
	if s.settings.Method == judge.Evidence {
		alarms := s.alarms(c.tick, c.ticks)
		inBake := alarms[:min(len(alarms), int(s.bake/c.tick))]
		out.LeastErrors, out.LeastSlower = finite(s.leastErrors(c.tick, inBake)), finite(s.leastSlower(s.bake))
		for _, increase := range increases {
			f := Found{Increase: increase}
			if n := s.untilErrors(increase, c.tick, alarms); !math.IsInf(n, 1) {
				f.After = seconds(s.span(n) + c.delay())
			}
			out.Found = append(out.Found, f)
		}
	}
	if step.Approve != policy.ApproveInstead {
		out.Passed = c.expected(c.passed[i])
	}
	return out
}

func finite(x float64) float64 {
	if math.IsInf(x, 0) {
		return 0
	}
	return x
}

func seconds(d time.Duration) judge.Seconds { return judge.Seconds(d.Seconds()) }

func (t Traffic) summary() Summary {
	return Summary{
		Span: seconds(t.Span), PerMinute: t.PerMinute, Effective: t.Effective, Errors: t.Errors, ClientErrors: t.ClientErrors,
		P50MS: t.Times.Quantile(0.5), P95MS: t.Times.Quantile(0.95), Noise: t.Noise, TimeNoise: t.TimeNoise, Users: t.Users, TopUser: t.TopUser,
	}
}

// crowded is the share of one user from which on a plan warns, and fewUsers the
// number of users below which a step's canary has too few.
const (
	crowded  = 0.2
	fewUsers = 20
)

// warnings say what the plan's figures rest on where that may not hold.
func (p Plan) warnings(of policy.Policy) []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	t := p.Traffic
	if t.PerMinute == 0 {
		return nil
	}
	if t.Span < seconds(time.Duration(of.History))/4 {
		warn("stable was seen for %s only: what it serves in an hour may be otherwise", time.Duration(float64(t.Span)*float64(time.Second)))
	}
	if t.TopUser > crowded {
		warn("one user makes %.0f %% of the requests: whichever arm that user falls into, the split by requests will not be the percentage", 100*t.TopUser)
	}
	if users := t.Users * float64(p.Steps[0].BasisPoints) / whole; t.Users > 0 && users < fewUsers {
		warn("of stable's %.0f users, the first step has some %.2g on the canary: errors roll back only where enough different users meet them", t.Users, users)
	}
	if limit := of.Limits[judge.Errors].Rollback; t.Errors > limit.Absolute && limit.Absolute > 0 {
		warn("stable fails %.3g %% of its requests, more than the rollback limit of %.3g %%: the relative limit of ×%.3g alone decides", 100*t.Errors, 100*limit.Absolute, limit.Relative)
	}
	if t.P95MS == 0 {
		warn("no times were measured: nothing can be said of what the steps detect in them")
	}
	if t.Effective < 0.5 {
		warn("analytics sampled: a request is worth %.2g as evidence, and steps take that much longer", t.Effective)
	}
	return list
}
