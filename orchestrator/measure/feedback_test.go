package measure

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/shared/telemetry"
)

// rated is the point of a rating: of a trace, or of a prediction.
func rated(second int, trace, id string, score float64) point {
	return point{at: at(second), kind: telemetry.KindFeedback, rollout: "r1", trace: trace, id: id, rate: score}
}

// traced is the same point with a trace.
func traced(trace string) func(*point) { return func(p *point) { p.trace = trace } }

// TestRatings: what each course of events counts as, in good and bad ratings of
// the canary by minute.
func TestRatings(t *testing.T) {
	type ratings struct{ good, bad, stable float64 }
	trace, another := strings.Repeat("a", 32), strings.Repeat("b", 32)
	sealed := func(p *point) { p.variant, p.reason = "canary", telemetry.ReasonPercentage }
	courses := []struct {
		name   string
		points []point
		want   map[int64]ratings
	}{
		{"of a plain call, by its trace", []point{made(0, "canary", "").with(traced(trace)), rated(70, trace, "", 1)}, map[int64]ratings{1: {good: 1}}},
		{"bad is below a half", []point{made(0, "canary", "").with(traced(trace)), made(0, "canary", "").with(traced(another)), rated(5, trace, "", 0.5), rated(6, another, "", 0.49)},
			map[int64]ratings{0: {good: 1, bad: 1}}},
		{"of a call that failed", []point{made(0, "canary", "").with(failed).with(traced(trace)), rated(70, trace, "", 0)}, map[int64]ratings{1: {bad: 1}}},
		{"of stable", []point{made(0, "stable", "").with(traced(trace)), rated(70, trace, "", 0)}, map[int64]ratings{1: {stable: 1}}},
		{"of a prediction, by its id", []point{made(0, "canary", "a").with(traced(trace)), ended(20, "canary", "a", succeeded), rated(130, "", "a", 0)}, map[int64]ratings{2: {bad: 1}}},
		{"of a prediction, by its request's trace, which its end tells", []point{made(0, "canary", "a").with(traced(trace)), ended(20, "canary", "a", succeeded).with(traced(trace)),
			rated(130, trace, "", 0)}, map[int64]ratings{2: {bad: 1}}},
		{"of a prediction, by the trace of a bare poll", []point{made(0, "canary", "a").with(traced(trace)), ended(20, "canary", "a", succeeded).with(polled).with(traced(another)),
			rated(130, another, "", 0)}, nil},
		{"of what stable answered instead", []point{made(0, "canary", "").with(failed).with(traced(trace)).with(func(p *point) { p.servedBy = "stable" }), rated(9, trace, "", 0)}, nil},
		{"of what the breaker kept from the canary", []point{made(0, "canary", "").with(skip).with(traced(trace)), rated(9, trace, "", 0)}, nil},
		{"of what an override sent there", []point{made(0, "canary", "").with(because(telemetry.ReasonOverride)).with(traced(trace)), rated(9, trace, "", 0)}, nil},
		{"of another rollout's call", []point{made(0, "canary", "").with(former).with(traced(trace)), rated(9, trace, "", 0)}, nil},
		{"of nothing that is known", []point{rated(9, trace, "", 0)}, nil},
		{"of a prediction that is sealed", []point{rated(9, "", "a", 0).with(sealed)}, map[int64]ratings{0: {bad: 1}}},
		{"several in one minute: the last counts", []point{made(0, "canary", "").with(traced(trace)), rated(61, trace, "", 0), rated(65, trace, "", 1), rated(63, trace, "", 0)},
			map[int64]ratings{1: {good: 1}}},
		{"several in several minutes: the last of the first", []point{made(0, "canary", "").with(traced(trace)), rated(130, trace, "", 1), rated(65, trace, "", 0), rated(62, trace, "", 1)},
			map[int64]ratings{1: {bad: 1}}},
		{"that comes before the point of a call that takes long", []point{made(70, "canary", "").with(traced(trace)), rated(50, trace, "", 0), rated(69, trace, "", 1)}, map[int64]ratings{1: {bad: 1}}},
		{"more than an hour after its call", []point{made(-3600, "stable", "").with(traced(trace)), rated(61, trace, "", 0)}, nil},
		{"an hour after its call", []point{made(-3600, "stable", "").with(traced(trace)), rated(59, trace, "", 0)}, map[int64]ratings{0: {stable: 1}}},
	}
	e := newEngine(t)
	q := asked(9)
	for i, c := range courses {
		service := fmt.Sprintf("model:acme/case%d", i)
		q.Subjects = append(q.Subjects, asked(9, service).Subjects...)
		for _, p := range c.points {
			p.service = service
			e.write([]point{p})
		}
	}
	units, err := Ask(q, e.ask)
	require.NoError(t, err)
	before := told(units)
	require.NoError(t, AskFeedback(q, e.ask, units))
	for i, c := range courses {
		t.Run(c.name, func(t *testing.T) {
			got := map[int64]ratings{}
			index := int64(0)
			for _, in := range units[q.Subjects[i].Service] {
				require.Greater(t, in.Index, index)
				index = in.Index
				if r := (ratings{in.Canary.Good, in.Canary.Bad, in.Stable.Good + in.Stable.Bad}); r != (ratings{}) {
					got[in.Index-first] = r
				}
			}
			if c.want == nil {
				c.want = map[int64]ratings{}
			}
			require.Equal(t, c.want, got)
		})
	}
	after := told(units)
	for k := range after {
		if strings.HasSuffix(k, "good") || strings.HasSuffix(k, "bad") {
			delete(after, k)
		}
	}
	requireSame(t, before, after)
}

// TestRatingsAgainstRecount: random ratings of random requests, whole, sampled
// and minute by minute.
func TestRatingsAgainstRecount(t *testing.T) {
	const minutes = 8
	r := &chance{Rand: rand.New(rand.NewPCG(3, 8))}
	for n := range 3000 {
		id := pick(r, "", fmt.Sprintf("p%d", n))
		request := r.request("http:q", id, minutes*minute)
		r.points = append(r.points, request)
		for i := range pick(r, 0, 0, 1, 1, 2, 4) {
			second := r.IntN(75)*4 + i - 20 // no two of an answer in the same one, where either may be the last
			p := rated(int(request.at-at(0))+second, request.trace, "", pick(r, 0, 0.3, 0.5, 1))
			if id != "" {
				p.trace, p.id = "", id
			}
			p.service = request.service
			r.points = append(r.points, p)
		}
	}
	q := asked(minutes-1, "http:q")
	e := newEngine(t)
	for i := range r.points {
		r.points[i].number = fmt.Sprint(i)
	}
	e.write(r.points)
	for _, sample := range []int{1, 3} {
		e.sample(sample)
		found := map[string][]judge.Interval{}
		require.NoError(t, AskFeedback(q, e.ask, found))
		want := recountRatings(q, e.visible(r.points))
		require.Greater(t, len(want), 20)
		requireSame(t, want, told(found))
	}
	e.sample(1)
	all, byMinute := map[string][]judge.Interval{}, map[string][]judge.Interval{}
	require.NoError(t, AskFeedback(q, e.ask, all))
	for slot := int64(first); slot <= q.Through; slot++ {
		one := q
		one.Through, one.Subjects = slot, []Subject{q.Subjects[0]}
		one.Subjects[0].From = slot
		require.NoError(t, AskFeedback(one, e.ask, byMinute))
	}
	require.Equal(t, all, byMinute)
}

// recountRatings counts ratings by looking at one request after the other.
func recountRatings(q Query, points []seen) tallies {
	all := tallies{}
	by := func(p seen) string {
		if p.id != "" {
			return p.id
		}
		return p.trace
	}
	requests := map[string]seen{}
	for _, p := range points {
		if p.kind == telemetry.KindRequest {
			requests[by(p)] = p
		}
	}
	firstOf := map[string]seen{} // the rating that counts
	for _, p := range points {
		if p.kind != telemetry.KindFeedback {
			continue
		}
		now, had := firstOf[by(p)]
		earlier := p.at/minute < now.at/minute
		laterInMinute := p.at/minute == now.at/minute && p.at > now.at
		if !had || earlier || laterInMinute {
			firstOf[by(p)] = p
		}
	}
	for id, rating := range firstOf {
		request, found := requests[id]
		if !found || request.outcome == telemetry.OutcomeExcluded || request.servedBy != request.variant {
			continue
		}
		what := "good"
		if rating.rate < 0.5 {
			what = "bad"
		}
		all.add(q, request, max(rating.at, request.at), what, rating.weight*request.weight)
	}
	return all
}
