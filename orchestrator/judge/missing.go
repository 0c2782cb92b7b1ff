package judge

import "math"

// priorUnits is how many units of stable's rate the estimate of the canary's
// begins with: a canary without an error yet is not taken to be perfect.
const priorUnits = 200

// mostMissing is the largest number of requests that is worth naming.
const mostMissing = 1e9

// missing estimates what a promotion still takes: of the metrics that must prove
// it, the one that lacks most.
func (j *judging) missing(v *Verdict) *Missing {
	var most *Missing
	number := 0
	for i := range j.assays {
		a := &j.assays[i]
		if number == len(v.Metrics) || v.Metrics[number].Metric != a.metric {
			continue
		}
		s := &v.Metrics[number]
		number++
		var lack float64
		switch {
		case s.Role != Proof:
			continue
		case v.Method == Thresholds:
			lack = v.lacking(s)
		case !s.proven():
			lack = j.requests(a, s)
		}
		if lack == 0 || lack > mostMissing && !s.measured() {
			continue // nothing lacks, or there is nothing to estimate by
		}
		m := &Missing{For: a.metric}
		if lack <= mostMissing {
			m.CanaryRequests = int64(math.Ceil(lack * j.perEffective()))
			if perSecond := j.canaryPerSecond(); perSecond > 0 {
				m.Duration = Seconds(float64(m.CanaryRequests) / perSecond)
			}
		}
		if most == nil || most.CanaryRequests > 0 && (m.CanaryRequests == 0 || m.CanaryRequests > most.CanaryRequests) {
			most = m
		}
	}
	return most
}

// canaryPerSecond returns the canary's requests per second in this step alone: an
// earlier step had another share.
func (j *judging) canaryPerSecond() float64 {
	own := min(j.reference, j.memory.last+1-j.since)
	if own <= 0 {
		return 0
	}
	return j.window.arms[canary].weight / (float64(own) * j.interval.Seconds())
}

// perEffective returns how many requests of the canary an effective one is.
func (j *judging) perEffective() float64 {
	for _, t := range []*total{&j.window, &j.recently} {
		if c := &t.arms[canary]; c.weight > 0 {
			return 1 / c.kish()
		}
	}
	return 1
}

// requests returns about how many effective canary requests it takes until the
// mean of the evidence suffices, at the present estimates: +Inf if it never does.
func (j *judging) requests(a *assayed, s *Assessment) float64 {
	_, needed, ok := s.proof()
	if !ok {
		return math.Inf(1)
	}
	parts := 0.0
	for i := range a.trials {
		if a.trials[i].kind.promotes() {
			parts++
		}
	}
	least := math.Inf(1)
	var scratch [16]float64
	for i := range a.trials {
		t := &a.trials[i]
		if !t.kind.promotes() {
			continue
		}
		growth := scratch[:t.size()]
		units := j.growth(a, t, s, growth)
		for k, g := range growth {
			if g > 0 {
				weight := t.process.Weights[k]
				if math.IsInf(weight, -1) {
					weight = -math.Log(float64(t.size()))
				}
				least = min(least, max(1, (needed+math.Log(parts)-weight)/g*units))
			}
		}
	}
	return least
}

// growth sets by how much an interval like those of the window adds to the log
// evidence, and returns how many effective canary requests it has.
func (j *judging) growth(a *assayed, t *trial, s *Assessment, to []float64) (requests float64) {
	c, st := &j.window.arms[canary], &j.window.arms[stable]
	intervals := float64(max(1, min(j.reference, j.memory.last+1-j.since)))
	noise := j.memory.noise[a.number].C()
	nc, ns := s.Window.CanaryEffective/intervals, s.Window.StableEffective/intervals
	if !(nc > 0) {
		// Nothing of the canary yet: as much as its share of stable's.
		if nc = 1; ns > 0 && !j.alone {
			nc = ns * j.split() / (1 - j.split())
		}
	}
	requests = nc
	if a.timed {
		if s.Window.CanaryEffective > 0 {
			requests = c.weight * c.kish() / intervals
		}
		pc, ps := j.shares(a, t)
		if t.shift.Len() > 0 {
			t.shift.Increments(to, pc*nc, nc, ps*ns, ns, ps, noise)
		} else {
			t.absolute.Increments(to, pc*nc, nc, noise)
		}
		return requests
	}
	ks, us := st.events(a.metric)
	ps := (ks*st.kish() + 0.5) / (us*st.kish() + 1)
	if us == 0 {
		ps = t.null / 2
	}
	kc, uc := c.events(a.metric)
	pc := (kc*c.kish() + priorUnits*ps) / (uc*c.kish() + priorUnits)
	if t.relative.Len() > 0 {
		t.relative.Increments(to, pc*nc, nc, ps*ns, ns, noise)
	} else {
		t.absolute.Increments(to, pc*nc, nc, noise)
	}
	return requests
}

// shares returns which part of each arm's times in the window is past what a test
// of a time looks at. A canary without times is taken to be like stable.
func (j *judging) shares(a *assayed, t *trial) (pc, ps float64) {
	hc, hs := j.window.times[canary][a.timing].View(), j.window.times[stable][a.timing].View()
	if hs.Total() == 0 {
		hs = j.past[a.timing].View()
	}
	if hc.Total() == 0 {
		hc = hs
	}
	if t.shift.Len() == 0 {
		return clampRate((hc.From(t.bucket) + 0.5) / (hc.Total() + 1)), 0
	}
	holding, _ := hs.Holding(a.quantile)
	edge := t.edge(holding)
	return clampRate((hc.From(edge+t.bucket) + 0.5) / (hc.Total() + 1)), clampRate((hs.From(edge) + 0.5) / (hs.Total() + 1))
}
