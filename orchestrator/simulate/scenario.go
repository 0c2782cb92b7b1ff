package simulate

import (
	"cmp"
	"math"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// The latency of made-up traffic: lognormal, with a few requests that meet a
// cold boot.
const (
	medianMS   = 800.0
	spread     = 0.8 // of the latency's logarithm
	coldBoots  = 0.02
	coldFactor = 8.0 // times slower
)

// Incident is trouble that both arms share.
type Incident struct {
	From   float64 `json:"from_minute"` // since the rollout began
	To     float64 `json:"to_minute"`
	Worse  float64 `json:"worse"`  // added to both error rates, 0 to 1
	Slower float64 `json:"slower"` // ratio of both latencies
}

// Sampling is a part of the traffic of which one request in Weight is recorded.
type Sampling struct {
	Share  float64 `json:"share"` // of the traffic, 0 to 1
	Weight float64 `json:"weight"`
}

// Scenario describes traffic that is made up. Requests arrive by a Poisson
// process whose rate, error rate and latency drift as sines of 180, 120 and 150
// minutes; their phases are random for each rollout and common to both arms.
type Scenario struct {
	Name     string    `json:"name"`
	Rate     float64   `json:"requests_per_minute"` // of both arms
	Errors   float64   `json:"errors"`              // stable's share of them, 0 to 1
	Worse    float64   `json:"worse,omitempty"`     // added to the canary's share
	Slower   float64   `json:"slower,omitempty"`    // ratio of the canary's latency; 0 is 1
	Incident *Incident `json:"incident,omitempty"`
	// ColdStart is the share of the canary's requests that meet a cold boot in the
	// first two minutes of each step; 0 is as ever.
	ColdStart float64 `json:"cold_start,omitempty"`
	// Users make the calls, and stay on their side of the split; nil: users are unknown.
	Users *Users `json:"users,omitempty"`
	// Sampling is how the traffic is recorded; nil: every request.
	Sampling []Sampling `json:"sampling,omitempty"`
}

// Bad reports that the canary is worse than stable.
func (s Scenario) Bad() bool { return s.Worse > 0 || s.Slower > 1 }

// Traffic implements Maker.
func (s Scenario) Traffic(src Source) Traffic {
	if len(s.Sampling) == 0 {
		s.Sampling = []Sampling{{Share: 1, Weight: 1}}
	}
	t := &synthetic{Scenario: s, src: src, phase1: 2 * math.Pi * uniform(src), phase2: 2 * math.Pi * uniform(src)}
	if s.Users != nil {
		t.crowd = newCrowd(*s.Users, src)
	}
	return t
}

// synthetic is one rollout's traffic.
type synthetic struct {
	Scenario
	src            Source
	phase1, phase2 float64
	crowd          *crowd
}

// condition is the state of one arm in an interval.
type condition struct {
	errors float64 // share of requests that fail
	times  shares  // of those that do not
}

// Next implements Traffic.
func (t *synthetic) Next(m Moment) Sample {
	rate := t.Rate * m.Length * (1 + 0.2*sine(m.Minute, 180, t.phase1))
	stable, canary := t.conditions(m)
	var s Sample
	var requests float64 // of the canary, those included that were not recorded
	if t.crowd != nil {
		s, requests = t.crowd.next(m, rate, t.Sampling, canary, stable)
	} else {
		for _, part := range t.Sampling {
			rows := rate * part.Share / part.Weight
			t.arm(&s.Canary, rows*m.share(), part.Weight, canary)
			t.arm(&s.Stable, rows*(1-m.share()), part.Weight, stable)
		}
		requests = rate * m.share()
	}
	slow := canary.times.above(&stable.times, 0.05) - 0.05
	s.Hit = requests * max(0, canary.errors-stable.errors+(1-canary.errors)*slow)
	return s
}

func (t *synthetic) conditions(m Moment) (stable, canary condition) {
	errors := t.Errors * math.Exp(0.3*sine(m.Minute, 120, t.phase2))
	shift := 0.2 * sine(m.Minute, 150, t.phase1+t.phase2)
	if i := t.Incident; i != nil && m.Minute >= i.From && m.Minute < i.To {
		errors, shift = errors+i.Worse, shift+math.Log(i.Slower)
	}
	stable = condition{min(1, errors), lognormal(shift, coldBoots)}
	canary = condition{min(1, errors+t.Worse), stable.times}
	cold := coldBoots
	if m.InStep < 2 && t.ColdStart > 0 {
		cold = t.ColdStart
	}
	if t.Slower > 0 || cold != coldBoots {
		canary.times = lognormal(shift+math.Log(cmp.Or(t.Slower, 1)), cold)
	}
	return stable, canary
}

// arm draws rows, whose number is Poisson of that mean. The numbers of each
// outcome are then Poisson themselves, and independent.
func (t *synthetic) arm(c *judge.Counts, rows, weight float64, state condition) {
	if rows == 0 {
		return
	}
	var times [histogram.Buckets]float64
	for b, share := range state.times {
		if share == 0 {
			continue
		}
		times[b] = poisson(t.src, rows*(1-state.errors)*share)
	}
	row(c, weight, poisson(t.src, rows*state.errors), &times)
}

func sine(minute, period, phase float64) float64 {
	return math.Sin(2*math.Pi*minute/period + phase)
}

var logBase = math.Log(histogram.Base)

// lognormal returns the shares of latencies whose logarithm is shifted, a share
// of them by a cold boot as well.
func lognormal(shift, cold float64) (s shares) {
	warmAt, coldAt := math.Log(medianMS)+shift, math.Log(medianMS*coldFactor)+shift
	before := 0.0
	for b := range s {
		upTo := 1.0
		if b < len(s)-1 {
			edge := float64(b+1) * logBase
			upTo = (1-cold)*normal((edge-warmAt)/spread) + cold*normal((edge-coldAt)/spread)
		}
		s[b], before = upTo-before, upTo
	}
	return s
}
