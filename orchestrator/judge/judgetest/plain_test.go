package judgetest

import (
	"math"
	"slices"
	"strings"
	"time"

	judge "perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// record is an interval with what it was judged by.
type record struct {
	judge.Interval
	step     judge.Step
	settings judge.Settings
}

// past is all that was measured, without gaps, oldest first: what the plain
// implementation judges from, each time anew.
type past []record

func (p past) last() record { return p[len(p)-1] }

// begins is when an interval begins.
func (r record) begins() time.Time {
	return time.Unix(0, 0).Add(time.Duration(r.Index) * r.settings.Interval)
}

func (r record) ends() time.Time { return r.begins().Add(r.settings.Interval) }

// from is the part whose intervals begin at a time or later.
func (p past) from(t time.Time) past {
	for i, r := range p {
		if !r.begins().Before(t) {
			return p[i:]
		}
	}
	return nil
}

// latest is the part that is as long as a window.
func (p past) latest(window time.Duration) past {
	if len(p) == 0 {
		return p
	}
	return p[max(0, len(p)-max(1, int(window/p.last().settings.Interval))):]
}

// rollout is the part in the rollout, step that in the present step.
func (p past) rollout() past { return p.from(p.last().step.Began) }
func (p past) step() past    { return p.from(p.last().step.Since) }

// cold says that the times of an interval are not judged.
func (r record) cold() bool {
	begin := r.begins()
	if begin.Before(r.step.Since) {
		return !begin.Before(r.step.Began) && begin.Before(r.step.Began.Add(r.settings.ColdStart))
	}
	return begin.Before(r.step.Since.Add(r.settings.ColdStart))
}

// arms are the canary's and stable's of something.
type arms[T any] [2]T

func (r record) arms() arms[judge.Counts] { return arms[judge.Counts]{r.Canary, r.Stable} }

// sum are the arms' counts in a past, without their times.
func (p past) sum() (out arms[judge.Counts]) {
	for _, r := range p {
		for i, c := range r.arms() {
			o := &out[i]
			o.Rows, o.Weight, o.WeightSquared = o.Rows+c.Rows, o.Weight+c.Weight, o.WeightSquared+c.WeightSquared
			o.Errors, o.ClientErrors = o.Errors+c.Errors, o.ClientErrors+c.ClientErrors
			o.Good, o.Bad = o.Good+c.Good, o.Bad+c.Bad
		}
	}
	return out
}

// buckets are the weights of all buckets.
type buckets [histogram.Buckets]float64

func (b *buckets) add(h histogram.Histogram) {
	for i, n := range h.Counts {
		b[h.First+i] += n
	}
}

func (b *buckets) total() float64 { return b.slower(0) }

// slower is the weight from a bucket on.
func (b *buckets) slower(bucket int) float64 {
	sum := 0.0
	for i := max(0, bucket); i < len(b); i++ {
		sum += b[i]
	}
	return sum
}

// quantile is the bucket that holds it and the time, even on the log scale within
// the bucket; false where there is nothing.
func (b *buckets) quantile(q float64) (int, float64, bool) {
	below, wanted := 0.0, q*b.total()
	for i, n := range b {
		if n > 0 && below+n >= wanted {
			return i, math.Pow(1.2, (float64(i)+(wanted-below)/n)/2), true
		}
		below += n
	}
	return 0, 0, false
}

// times are an arm's in a past; warm leaves the cold intervals out.
func (p past) times(arm int, timing judge.Timing, warm bool) *buckets {
	var out buckets
	for _, r := range p {
		if !warm || !r.cold() {
			out.add(r.arms()[arm].Times[timing])
		}
	}
	return &out
}

// kish is what a weighted count is worth in rows.
func kish(c judge.Counts) float64 {
	if c.WeightSquared == 0 {
		return 1
	}
	return math.Min(1, c.Weight/c.WeightSquared)
}

// measure says what a metric is of.
type measure struct {
	timed    bool
	timing   judge.Timing
	quantile float64
	count    func(c judge.Counts) (k, n float64)
}

func share(part float64, c judge.Counts) (k, n float64) { return math.Min(part, c.Weight), c.Weight }

var measures = map[judge.Metric]measure{
	judge.Errors:       {count: func(c judge.Counts) (k, n float64) { return share(c.Errors, c) }},
	judge.ClientErrors: {count: func(c judge.Counts) (k, n float64) { return share(c.ClientErrors, c) }},
	judge.Feedback:     {count: func(c judge.Counts) (k, n float64) { return c.Bad, c.Good + c.Bad }},
	judge.LatencyP50:   {timed: true, timing: judge.FirstByte, quantile: 0.5},
	judge.LatencyP95:   {timed: true, timing: judge.FirstByte, quantile: 0.95},
	judge.TotalP95:     {timed: true, timing: judge.Total, quantile: 0.95},
}

// c is the noise of a metric at each interval, from what came before it.
func (p past) c(m judge.Metric) []float64 {
	out := make([]float64, len(p))
	x := measures[m]
	var y, v []float64 // of two intervals next to each other, single precision
	for i := range p {
		out[i] = noiseOf(y, v, int(p[i].settings.History/p[i].settings.Interval)-1)
		if i == 0 {
			continue
		}
		before, now := p[i-1].Stable, p[i].Stable
		kb, nb, kn, nn := 0.0, 0.0, 0.0, 0.0
		if x.timed {
			b, ok := p[:i].earlier(x)
			if !ok {
				continue
			}
			kb, nb, kn, nn = slowerIn(before, x, b+1), slowerIn(before, x, 0), slowerIn(now, x, b+1), slowerIn(now, x, 0)
		} else {
			kb, nb = x.count(before)
			kn, nn = x.count(now)
		}
		if nb == 0 || nn == 0 || before.Weight == 0 || now.Weight == 0 {
			continue
		}
		yb, vb := logarithm(x.timed, kb*kish(before), nb*kish(before))
		yn, vn := logarithm(x.timed, kn*kish(now), nn*kish(now))
		y, v = append(y, float64(float32((yn-yb)*(yn-yb)/(vn+vb)))), append(v, float64(float32(vn+vb)))
	}
	return out
}

// earlier is the bucket of stable's quantile in the reference window.
func (p past) earlier(x measure) (int, bool) {
	if len(p) == 0 {
		return 0, false
	}
	b, _, ok := p.latest(p.last().settings.Reference).times(1, x.timing, false).quantile(x.quantile)
	return b, ok
}

func slowerIn(c judge.Counts, x measure, bucket int) float64 {
	var b buckets
	b.add(c.Times[x.timing])
	return b.slower(bucket)
}

// logarithm is that of a rate, or of odds, with its binomial variance; half an event
// more of each kind.
func logarithm(odds bool, k, n float64) (y, v float64) {
	if odds {
		return math.Log((k + 0.5) / (n - k + 0.5)), 1/(k+0.5) + 1/(n-k+0.5)
	}
	return math.Log((k + 0.5) / (n + 1)), math.Max(1/(k+0.5)-1/(n+1), 1/(n+1))
}

// noiseOf is c of ratios and variances of successive differences.
func noiseOf(ratios, variances []float64, most int) float64 {
	most = max(10, min(59, most))
	if len(ratios) > most {
		ratios, variances = ratios[len(ratios)-most:], variances[len(variances)-most:]
	}
	if len(ratios) < 10 {
		return 0.25
	}
	excess := median(ratios)/medianRatio - 1
	return math.Min(1, math.Max(0.1, math.Sqrt(math.Max(0, excess)*median(variances)/2)))
}

// gains computes a test's increments at an interval: nil where nothing can be said.
type gains func(p past, i int, c float64) []float64

func rateGains(x measure, relatively bool, null float64, grid []float64) gains {
	return func(p past, i int, c float64) []float64 {
		r := p[i]
		kc, nc := x.count(r.Canary)
		ks, ns := x.count(r.Stable)
		fc, fs := kish(r.Canary), kish(r.Stable)
		if nc+ns == 0 {
			return nil
		}
		if relatively {
			return relative(kc*fc, nc*fc, ks*fs, ns*fs, null, c, grid)
		}
		return absolute(kc*fc, nc*fc, null, c, grid)
	}
}

// userGains are of users who fail for the first time in the step, among those that
// the split gives each arm; of requests where users are unknown.
func userGains(m judge.Metric, relatively bool, null float64, grid []float64) gains {
	requests := rateGains(measures[m], relatively, null, grid)
	return func(p past, i int, c float64) []float64 {
		r := p[i]
		if r.untold() || r.Canary.Weight+r.Stable.Weight == 0 {
			return requests(p, i, c)
		}
		part := r.part()
		k := p[:i+1].newcomers(func(c judge.Counts) []uint32 {
			if m == judge.Errors {
				return c.FailingUsers
			}
			return c.ClientFailingUsers
		})
		if relatively {
			return relative(k[0], part, k[1], 1-part, null, c, grid)
		}
		return absolute(k[0], math.Max(k[0], r.Canary.Weight*kish(r.Canary)), null, c, grid)
	}
}

// part is the canary's of new users.
func (r record) part() float64 {
	if !r.begins().Before(r.step.Since) {
		return float64(r.step.BasisPoints) / 1e4
	}
	if r.Canary.Weight+r.Stable.Weight == 0 {
		return 0
	}
	return r.Canary.Weight / (r.Canary.Weight + r.Stable.Weight)
}

// untold: who the users were is not known, or the canary has none where ten and more
// requests of it were to be expected.
func (r record) untold() bool {
	part := r.part()
	return r.UserShare == 0 || r.Canary.Weight == 0 && r.Stable.Weight*part >= 10*(1-part)
}

// newcomers counts, by arm, who is in the last interval and was in none before of
// the same step.
func (p past) newcomers(of func(judge.Counts) []uint32) (out arms[float64]) {
	now := p.last()
	for arm := range out {
		known := map[uint32]bool{}
		for _, r := range p[:len(p)-1] {
			if r.untold() || !r.step.Since.Equal(now.step.Since) || r.begins().Before(r.step.Since) != now.begins().Before(now.step.Since) ||
				r.begins().Before(r.step.Began) {
				continue
			}
			for _, u := range of(r.arms()[arm]) {
				known[u] = true
			}
		}
		for _, u := range of(now.arms()[arm]) {
			if !known[u] {
				out[arm]++
				known[u] = true
			}
		}
	}
	return out
}

// shiftGains are of times slower than a quantile of stable's earlier ones, and of the
// canary's slower than so many buckets more.
func shiftGains(x measure, more int, promotion bool, grid []float64) gains {
	return func(p past, i int, c float64) []float64 {
		r := p[i]
		edge, ok := p[:i].earlier(x)
		if !ok || r.cold() {
			return nil
		}
		if !promotion {
			edge++
		}
		reference := p[:i].latest(r.settings.Reference)
		worth := kish(reference.sum()[1])
		before := reference.times(1, x.timing, false)
		nc, ns := slowerIn(r.Canary, x, 0)*kish(r.Canary), slowerIn(r.Stable, x, 0)*kish(r.Stable)
		if nc == 0 || ns == 0 || before.total()*worth < 20 {
			return nil
		}
		ps := math.Min(1-1e-6, math.Max(1e-6, (before.slower(edge)*worth+0.5)/(before.total()*worth+1)))
		return shifted(slowerIn(r.Canary, x, edge+more)*kish(r.Canary), nc, slowerIn(r.Stable, x, edge)*kish(r.Stable), ns, ps, c, grid)
	}
}

// slowGains are of the canary's times slower than a limit.
func slowGains(x measure, bucket int, grid []float64) gains {
	p0 := 1 - x.quantile
	rates := make([]float64, len(grid))
	for j, delta := range grid {
		rates[j] = 1 / (1 + math.Exp(-math.Log(p0/(1-p0))-delta))
	}
	return func(p past, i int, c float64) []float64 {
		r := p[i]
		if r.cold() {
			return nil
		}
		return absolute(slowerIn(r.Canary, x, bucket)*kish(r.Canary), slowerIn(r.Canary, x, 0)*kish(r.Canary), p0, c, rates)
	}
}

var (
	ratesWorse    = []float64{.0075, .01, .015, .025, .05, .1, .2, .4, .8}
	ratesBetter   = []float64{.0001, .0005, .001, .002, .004, .007}
	ratiosWorse   = []float64{1.15, 1.35, 1.7, 2.5, 4, 8, 20, 60, 200}
	ratiosBetter  = []float64{.2, .4, .55, .67, .8}
	shiftsSlower  = []float64{.1, .2, .4, .7, 1.1, 1.6, 2.3, 3.2}
	shiftsQuicker = []float64{-.2, -.4, -.7, -1.1, -1.6, -2.3}
)

// gridOf is the published grid for a limit, kept below 1.
func gridOf(limit float64, promotion bool) []float64 {
	grid, made := ratesWorse, 0.005
	if promotion {
		grid, made = ratesBetter, 0.01
	}
	out := scaled(grid, limit/made)
	for j := range out {
		out[j] = math.Min(out[j], limit+0.95*(1-limit))
	}
	return out
}

// spanned is how many buckets a ratio or a time is, never looser than it says.
func spanned(ratio float64, promotion bool) int {
	n := math.Log(ratio) / math.Log(1.2) * 2
	if math.Abs(n-math.Round(n)) < 1e-9 {
		return int(math.Round(n))
	}
	if promotion {
		return int(math.Floor(n))
	}
	return int(math.Ceil(n))
}

// gainsOf are the increments of the test of a limit's part.
func gainsOf(m judge.Metric, limit float64, relatively, promotion, ofUsers bool) gains {
	x := measures[m]
	ratios, shifts := ratiosWorse, shiftsSlower
	if promotion {
		ratios, shifts = ratiosBetter, shiftsQuicker
	}
	grid := ratios
	if !relatively && !x.timed {
		limit = math.Min(limit, 0.999)
		grid = gridOf(limit, promotion)
	}
	switch {
	case x.timed && relatively:
		return shiftGains(x, spanned(limit, promotion), promotion, shifts)
	case x.timed:
		return slowGains(x, spanned(limit, promotion), shifts)
	case ofUsers:
		return userGains(m, relatively, limit, grid)
	}
	return rateGains(x, relatively, limit, grid)
}

// evidence is a test's, over the past's intervals from start on.
func (p past) evidence(g gains, start int, c []float64, first float64, horizon int, limit float64) float64 {
	if start >= len(p) {
		return 0
	}
	t := trial{cap: limit}
	size := 1
	for i := start; i < len(p); i++ {
		t.spent = append(t.spent, spends(i-start, first, horizon))
		got := g(p, i, c[i])
		t.increments = append(t.increments, got)
		size = max(size, len(got))
	}
	for i := range t.increments {
		if t.increments[i] == nil {
			t.increments[i] = make([]float64, size)
		}
	}
	return t.log()
}

// alone: the canary has all traffic at the last interval.
func (p past) alone() bool {
	return p.last().step.BasisPoints == 10000 && len(p.step()) > 0
}

// was is the rate that stable had while it had traffic: in the rollout, else before.
func (p past) was(m judge.Metric) float64 {
	if measures[m].timed {
		return 0
	}
	before := p[:len(p)-len(p.rollout())]
	for _, part := range []past{p.rollout()[:len(p.rollout())-len(p.step())], before} {
		if k, n := measures[m].count(part.sum()[1]); n > 0 {
			return k / n
		}
	}
	return 0
}

// applied is a limit as it applies at the last interval: with the floor; without
// stable traffic none of its relative part, but as much as that was before.
func (p past) applied(m judge.Metric, l judge.Limit) judge.Limit {
	if p.alone() {
		if l.Absolute > 0 {
			l.Absolute = math.Max(l.Absolute, l.Relative*p.was(m))
		}
		l.Relative = 0
	}
	if l.Absolute > 0 || l.Relative > 0 {
		l.Absolute = math.Max(l.Absolute, p.last().settings.Limits[m].Floor)
	}
	return l
}

// nulls are what each test is against at the last interval, 0 for none.
func (p past) nulls(m judge.Metric) map[string]float64 {
	b := p.last().settings.Limits[m]
	good, bad := p.applied(m, b.Promote), p.applied(m, b.Rollback)
	if good == (judge.Limit{}) {
		good = bad
	}
	out := map[string]float64{"rollback.absolute": good.Absolute, "rollback.relative": good.Relative, "ceiling": b.Ceiling,
		"promote.absolute": bad.Absolute, "promote.relative": bad.Relative}
	if m == judge.Errors || m == judge.ClientErrors {
		out["rollback.relative.users"] = good.Relative
		if good.Relative == 0 {
			out["rollback.absolute.users"] = good.Absolute
		}
	}
	return out
}

// evidences are the logarithms of all tests of a metric. A rollback test begins with
// the rollout, anew where its null changes, and anew after each horizon.
func (p past) evidences(m judge.Metric) map[string]float64 {
	s, c, out := p.last().settings, p.c(m), map[string]float64{}
	horizon := p.horizon()
	for name, null := range p.nulls(m) {
		if null == 0 {
			continue
		}
		promotion := strings.HasPrefix(name, "promote")
		g := gainsOf(m, null, strings.Contains(name, "relative"), promotion, strings.HasSuffix(name, "users"))
		if promotion {
			out[name] = p.evidence(g, len(p)-len(p.step()), c, 1, 1, math.Inf(1))
			continue
		}
		start := p.begins(m, name)
		if strings.HasSuffix(name, "users") { // who fails with every call is new in one interval alone
			// and whoever failed before is known
			out[name] = p[start:].evidence(g, 0, c[start:], 0.5, horizon, math.Inf(1))
			continue
		}
		out[name] = p.evidence(g, start, c, 0.5, horizon, -math.Log(s.Alpha))
	}
	return out
}

func (p past) horizon() int {
	s := p.last().settings
	return max(30, int(s.Horizon/s.Interval))
}

// begins is where a rollback test began last.
func (p past) begins(m judge.Metric, name string) int {
	start := len(p) - len(p.rollout())
	if former := p.aloneSince(start, m); former != nil && former[name] != p.nulls(m)[name] {
		start = len(p) - len(p.step())
	}
	if n := len(p) - start; n > 0 {
		start += (n - 1) / p.horizon() * p.horizon()
	}
	return start
}

// aloneSince are the nulls of before the canary got all traffic, nil where it has not
// or always had.
func (p past) aloneSince(begin int, m judge.Metric) map[string]float64 {
	step := len(p) - len(p.step())
	if !p.alone() || step <= begin {
		return nil
	}
	return p[:step].nulls(m)
}

// value is a metric's in a window, by arm, and the weights it is of.
func (p past) value(m judge.Metric) (value, weight arms[float64]) {
	x, sum := measures[m], p.sum()
	for arm := range value {
		if x.timed {
			times := p.times(arm, x.timing, true)
			_, value[arm], _ = times.quantile(x.quantile)
			weight[arm] = times.total()
			continue
		}
		k, n := x.count(sum[arm])
		if weight[arm] = n; n > 0 {
			value[arm] = k / n
		}
	}
	return value, weight
}

// users are the distinct ones of an arm in the step, and the part of them that failed
// since their test began.
func (p past) users(m judge.Metric, arm int) (seen, failing float64) {
	all, bad := map[uint32]bool{}, map[uint32]bool{}
	bound := 0.0
	known := p[p.begins(m, "rollback.relative.users"):]
	for _, r := range p.step() {
		if r.untold() {
			continue
		}
		bound = r.UserShare
		for _, u := range r.arms()[arm].Users {
			if float64(u) < math.Round(r.UserShare*(1<<32)) {
				all[u] = true
			}
		}
		failing := r.arms()[arm].FailingUsers
		if m == judge.ClientErrors {
			failing = r.arms()[arm].ClientFailingUsers
		}
		for _, u := range failing {
			if len(known) > 0 && r.Index >= known[0].Index {
				bad[u] = true
			}
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	seen = float64(len(all)) / bound
	return seen, math.Min(1, float64(len(bad))/seen)
}

// sortedLimits are the judged metrics in a fixed order.
func sortedLimits(l judge.Limits) []judge.Metric {
	var out []judge.Metric
	for _, m := range judge.Metrics {
		if _, judged := l[m]; judged {
			out = append(out, m)
		}
	}
	return slices.Clip(out)
}
