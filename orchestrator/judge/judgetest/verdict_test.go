package judgetest

import (
	"math"

	judge "perch/orchestrator/judge"
)

// found is what the plain implementation finds after the last interval of a past.
type found struct {
	decision judge.Decision
	metrics  map[judge.Metric]*plainly
	frozen, mismatch, collapse,
	baked bool
	// edge: evidence is what it takes to the last digits, as where one interval adds
	// the cap to all of the mass, or times are as many buckets apart as their limit
	// says. Either decision is right.
	edge bool
}

// plainly is one metric of it.
type plainly struct {
	evidence                  map[string]float64
	recent, window            arms[float64]
	weight                    arms[float64] // in the window
	effective                 float64       // of the canary in the window
	breach, within            bool
	above, upTo               float64
	proof, incomplete, blocks bool
}

// find judges a past by its last interval.
func find(p past) found {
	last := p.last()
	p = p.from(last.step.Began.Add(-last.settings.History))
	out := found{decision: judge.Hold, metrics: map[judge.Metric]*plainly{}}
	if len(p) == 0 {
		return out
	}
	timing, timed := p.proofTiming()
	for _, m := range sortedLimits(last.settings.Limits) {
		if f := p.plainly(m, timed && measures[m].timed && measures[m].timing == timing); f != nil {
			out.metrics[m] = f
			out.edge = out.edge || f.onTheEdge(last)
		}
	}
	out.frozen, out.mismatch, out.collapse = p.frozen(), p.mismatch(), p.collapse()
	if step := p.step(); len(step) > 0 {
		out.baked = last.ends().Sub(step[0].begins()) >= last.step.Bake
	}
	out.decide(last)
	return out
}

func (f *found) decide(last record) {
	may, proven := f.baked && !f.frozen && !f.mismatch && !f.collapse, false
	for m, x := range f.metrics {
		if last.settings.Limits[m].Observe {
			continue
		}
		if x.breach {
			f.decision = judge.Rollback
			return
		}
		may = may && !x.blocks
		proven = proven || x.proof
	}
	deadline := last.step.Deadline
	switch {
	case may && proven && (deadline.IsZero() || !last.ends().After(deadline)):
		f.decision = judge.Promote
	case !deadline.IsZero() && !last.ends().Before(deadline):
		f.decision = judge.Inconclusive
	}
}

func (f *plainly) onTheEdge(last record) bool {
	edge := f.window[0] > 1 && near(f.window[0], f.upTo) || f.recent[0] > 1 && near(f.recent[0], f.above)
	for _, e := range f.evidence {
		for _, level := range []float64{last.settings.Alpha, last.settings.Alpha / 2, 0.2, 0.1, 0.05} {
			edge = edge || near(e, -math.Log(level))
		}
	}
	return edge
}

func (p past) windows() (recent, window past) {
	s := p.last().settings
	return p.rollout().latest(s.Recent), p.step().latest(s.Reference)
}

func (p past) plainly(m judge.Metric, proofTime bool) *plainly {
	last, x := p.last(), measures[m]
	b, alone := last.settings.Limits[m], p.alone()
	recent, window := p.windows()
	f := &plainly{evidence: p.evidences(m)}
	var recentWeight arms[float64]
	f.recent, recentWeight = recent.value(m)
	f.window, f.weight = window.value(m)
	if alone {
		f.recent[1], f.window[1], recentWeight[1], f.weight[1] = 0, 0, 0, 0
	}
	if recentWeight[0]+recentWeight[1]+f.weight[0]+f.weight[1] == 0 && !proofTime {
		return nil
	}
	sum := window.sum()
	f.effective = f.weight[0] * kish(sum[0])
	f.above, f.upTo = value(p.applied(m, b.Rollback), f.recent[1]), value(p.applied(m, b.Promote), f.window[1])
	limited := p.applied(m, b.Promote) != (judge.Limit{})
	f.within = f.weight[0] > 0 && (!limited || f.window[0] <= f.upTo)
	limit := p.applied(m, b.Rollback)
	known := limit.Relative == 0 || recentWeight[1] > 0 || !x.timed && limit.Absolute > 0
	f.breach = recentWeight[0] > 0 && f.breached(last, b, known, x.timed)

	expected := 0.0
	if sum[1].Weight > 0 {
		expected = f.weight[1] * kish(sum[1]) * sum[0].Weight / sum[1].Weight
	}
	absent := f.weight[0] == 0 && expected >= 20
	f.incomplete = absent || f.weight[0] > 0 && f.weight[1] == 0 && !alone && x.timed && !proofTime
	_, hasAbsolute := f.evidence["promote.absolute"]
	_, hasRelative := f.evidence["promote.relative"]
	f.proof = !b.Observe && !f.incomplete && (m == judge.Errors || proofTime && (hasAbsolute || hasRelative))
	switch {
	case f.breach || absent:
		f.blocks = true
	case f.incomplete:
	case p.breachByUsers(m, f, b):
		f.blocks = true
	case f.proof:
		f.blocks = !f.within || !f.proven(last)
	default:
		f.blocks = f.effective >= 20 && limited && !f.within
	}
	return f
}

func value(l judge.Limit, stable float64) float64 { return math.Max(l.Absolute, l.Relative*stable) }

// breached: past the limit, where that is known, and the evidence is; or past the
// ceiling, and the evidence is.
func (f *plainly) breached(last record, b judge.Bounds, known, timed bool) bool {
	needed := -math.Log(last.settings.Alpha)
	ceiling, has := f.evidence["ceiling"]
	if has && ceiling >= needed && f.recent[0] > b.Ceiling {
		return true
	}
	if timed {
		needed = -math.Log(last.settings.Alpha / 2)
	}
	any, all := false, true
	for _, name := range []string{"rollback.absolute", "rollback.relative", "rollback.absolute.users", "rollback.relative.users"} {
		if e, has := f.evidence[name]; has {
			any, all = true, all && e >= needed
		}
	}
	return known && any && all && f.recent[0] > f.above
}

func (p past) breachByUsers(m judge.Metric, f *plainly, b judge.Bounds) bool {
	e, has := f.evidence["rollback.relative.users"]
	if _, window := p.windows(); !has || p.alone() || !window.sampledAlike() {
		return false
	}
	canary, failing := p.users(m, 0)
	stable, stableFailing := p.users(m, 1)
	above := value(p.applied(m, b.Rollback), stableFailing)
	return canary > 0 && stable > 0 && above > 0 && failing > above && e >= -math.Log(p.last().settings.Alpha)
}

// proven: the mean of the e-values reaches 1/β.
func (f *plainly) proven(last record) bool {
	beta := 0.05
	if last.step.Next <= 5000 {
		beta = 0.1
	}
	if last.step.Next <= 2000 {
		beta = 0.2
	}
	var logs []float64
	for _, name := range []string{"promote.absolute", "promote.relative"} {
		if e, has := f.evidence[name]; has {
			logs = append(logs, e)
		}
	}
	return len(logs) > 0 && logSum(logs)-math.Log(float64(len(logs))) >= -math.Log(beta)
}

// proofTiming is the time of which the canary has most, that a promotion must prove.
func (p past) proofTiming() (best judge.Timing, ok bool) {
	_, window := p.windows()
	reference := p.latest(p.last().settings.Reference)
	most, mostPast := -1.0, -1.0
	for _, timing := range []judge.Timing{judge.FirstByte, judge.Total} {
		judged := false
		for m := range p.last().settings.Limits {
			judged = judged || measures[m].timed && measures[m].timing == timing
		}
		n, before := window.times(0, timing, true).total(), reference.times(1, timing, false).total()
		if !judged || before*kish(reference.sum()[1]) < 20 && n*kish(window.sum()[0]) < 20 {
			continue
		}
		if n > most || n == most && before > mostPast {
			best, most, mostPast, ok = timing, n, before, true
		}
	}
	return best, ok
}

// frozen: stable itself is in trouble.
func (p past) frozen() bool {
	b, judged := p.last().settings.Limits[judge.Errors]
	recent, _ := p.windows()
	now := recent.sum()[1]
	if !judged || p.alone() || now.Weight == 0 {
		return false
	}
	limit := b.Rollback.Absolute
	before := p[:len(p)-len(p.rollout())].sum()[1]
	if before.Weight > 0 {
		limit = math.Max(limit, 2*before.Errors/before.Weight)
	}
	return limit > 0 && now.Errors/now.Weight > limit
}

// mismatch: users who were first seen once the split had spread are not split as configured.
func (p past) mismatch() bool {
	last := p.last()
	part := float64(last.step.BasisPoints) / 1e4
	if part == 0 || part == 1 {
		return false
	}
	var known arms[map[uint32]bool]
	var counted arms[float64]
	known[0], known[1] = map[uint32]bool{}, map[uint32]bool{}
	for _, r := range p.step() {
		for arm, c := range r.arms() {
			for _, u := range c.Users {
				if known[arm][u] || r.untold() || float64(u) >= math.Round(r.UserShare*(1<<32)) {
					continue
				}
				known[arm][u] = true
				if !r.begins().Before(last.step.Since.Add(last.settings.Spread)) && (past{r}).sampledAlike() {
					counted[arm]++
				}
			}
		}
	}
	return splitEvidence(counted[0], counted[1], part) >= math.Log(1000)
}

// sampledAlike: of both arms about the same part was recorded.
func (p past) sampledAlike() bool {
	sum := p.sum()
	part := kish(sum[0]) / kish(sum[1])
	return part > 0.99 && part < 1/0.99
}

// splitEvidence is the mean likelihood of how users came to the arms under other odds
// than the split's, to that under the split.
func splitEvidence(canary, stable, split float64) float64 {
	var logs []float64
	for _, shift := range []float64{0.1, 0.2, 0.35, 0.6, 1, 1.6, 2.5} {
		for _, m := range []float64{math.Exp(shift), math.Exp(-shift)} {
			other := m * split / (m*split + 1 - split)
			logs = append(logs, canary*math.Log(other/split)+stable*math.Log((1-other)/(1-split)))
		}
	}
	return logSum(logs) - math.Log(float64(len(logs)))
}

// collapse: an arm has less than a tenth of the traffic that its own earlier in the
// step, or the other arm's and the split, let expect.
func (p past) collapse() bool {
	last := p.last()
	step := p.step()
	recent := step.latest(last.settings.Recent)
	if len(recent) == 0 {
		return false
	}
	earlier := step.latest(last.settings.Reference)
	earlier = earlier[:max(0, len(earlier)-len(recent))]
	part := math.Max(1e-4, math.Min(1-1e-4, float64(last.step.BasisPoints)/1e4))
	parts := arms[float64]{part, 1 - part}
	now, before := recent.sum(), earlier.sum()
	settled := !recent[0].begins().Before(last.step.Since.Add(last.settings.Spread))
	for arm := range parts {
		alone := p.alone()
		if alone && arm == 1 {
			continue
		}
		gone := func(expected float64) bool { return expected >= 10 && now[arm].Weight < 0.1*expected }
		if len(earlier) > 0 && gone(before[arm].Weight*float64(len(recent))/float64(len(earlier))) {
			return true
		}
		if settled && !alone && gone(now[1-arm].Weight*parts[arm]/parts[1-arm]) {
			return true
		}
	}
	return false
}
