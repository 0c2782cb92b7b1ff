package plan

import (
	"math"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// course is how a healthy canary goes through a policy's steps.
type course struct {
	policy  policy.Policy
	traffic Traffic
	stages  []stage
	tick    float64 // intervals
	ticks   int     // that it is followed for
	// passed is, for each step, the chance of having passed it by the end of each
	// tick since its begin, the first being 0.
	passed [][]float64
}

// ticksPerBake is into how many ticks a bake is divided, or more finely where an
// interval is longer than that.
const ticksPerBake = 30

func newCourse(t Traffic, p policy.Policy, until time.Duration) course {
	c := course{policy: p, traffic: t}
	c.tick = max(1, math.Floor(float64(p.Bake)/float64(p.Interval)/ticksPerBake))
	c.ticks = int(math.Ceil(float64(until) / float64(c.length())))
	for _, step := range p.Steps {
		s := newStage(t, p, step)
		c.stages = append(c.stages, s)
		c.passed = append(c.passed, c.after(s, time.Duration(step.Pause)))
	}
	return c
}

// length is a tick's.
func (c course) length() time.Duration {
	return time.Duration(c.tick * float64(time.Duration(c.policy.Interval)))
}

// delay is how much later than it could be known something is acted on, on
// average: the interval closes, analytics lag, the next look comes.
func (c course) delay() time.Duration {
	return time.Duration(c.policy.Lag) + time.Duration(c.policy.Interval+c.policy.Look)/2
}

// after is when a step is passed, delay and pause included.
func (c course) after(s stage, pause time.Duration) []float64 {
	chances := s.promoted(c.tick, c.ticks)
	late := int(math.Round(float64(c.delay()+pause) / float64(c.length())))
	shifted := make([]float64, c.ticks+1)
	for i := range shifted {
		if from := i - 1 - late; from >= 0 {
			shifted[i] = chances[from]
		}
	}
	return shifted
}

// decided reports that evidence leads from each step to the next.
func (c course) decided() bool {
	for _, s := range c.policy.Steps {
		if s.Approve == policy.ApproveInstead {
			return false
		}
	}
	return c.traffic.PerMinute > 0
}

// reached is the chance of being at the last step by the end of each tick.
func (c course) reached() []float64 { return c.through(len(c.passed) - 1) }

// ended is the chance of having passed all steps.
func (c course) ended() []float64 { return c.through(len(c.passed)) }

// through is the chance of having passed the first steps.
func (c course) through(steps int) []float64 {
	total := make([]float64, c.ticks+1)
	for i := range total {
		total[i] = 1
	}
	for _, passed := range c.passed[:steps] {
		total = sumOf(total, passed)
	}
	return total
}

// sumOf returns the distribution of the sum of two times.
func sumOf(a, b []float64) []float64 {
	sum := make([]float64, len(a))
	before := 0.0
	for i, x := range a {
		if x > before {
			for j := i; j < len(sum); j++ {
				sum[j] += (x - before) * b[j-i]
			}
		}
		before = x
	}
	return sum
}

// expected reads when half and most have happened.
func (c course) expected(chances []float64) Expected {
	return Expected{seconds(c.when(chances, 0.5)), seconds(c.when(chances, 0.95))}
}

// when returns the end of the first tick by which the chance is reached, or 0.
func (c course) when(chances []float64, chance float64) time.Duration {
	for i, x := range chances {
		if x >= chance-1e-9 {
			return time.Duration(i) * c.length()
		}
	}
	return 0
}

// by returns the chance at a time.
func (c course) by(chances []float64, at time.Duration) float64 {
	return chances[min(len(chances)-1, int(at/c.length()))]
}

// promoted returns the chance that a healthy canary can leave the step by the end
// of each tick, of which the first is 1.
func (s stage) promoted(tick float64, ticks int) []float64 {
	chances := make([]float64, ticks)
	switch {
	case s.canary == 0:
		return chances
	case s.settings.Method == judge.Thresholds:
		s.sampled(chances, tick)
		return chances
	}
	chances = s.errorsProved(tick, ticks)
	times, sofar := 0.0, 0.0
	for i := range chances {
		if chances[i] > 0 && times < nearly {
			times = s.timesProved(float64(i+1) * tick)
		}
		sofar = max(sofar, chances[i]*times)
		chances[i] = sofar
	}
	return chances
}

// nearly is as good as certain.
const nearly = 0.9999

// sampled sets the chances of plain limits, which a healthy canary passes once
// each arm has its minimum sample.
func (s stage) sampled(chances []float64, tick float64) {
	least := float64(s.settings.MinRequests)
	if s.canary*s.recent() < least || s.compared() && s.stable*s.recent() < least {
		return
	}
	for i := range chances {
		if float64(i+1)*tick >= s.bake {
			chances[i] = 1
		}
	}
}
