package measure

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/shared/telemetry"
)

// The tests' intervals are minutes; number 1000 is the first.
const (
	minute = 60
	first  = 1000
	expire = 5 * time.Minute
)

// at is a second of the tests' time.
func at(second int) int64 { return first*minute + int64(second) }

// made is the point of a request that made a prediction, or none where id is "".
func made(second int, variant, id string) point {
	return point{at: at(second), variant: variant, servedBy: variant, kind: telemetry.KindRequest, outcome: telemetry.OutcomeOK, status: 201,
		reason: telemetry.ReasonPercentage, rollout: "r1", id: id, firstByte: 100, user: "1234abcd00000000", trace: strings.Repeat("0", 32)}
}

// ended is the point of a prediction's end as it was seen once.
func ended(second int, variant, id, how string) point {
	outcome := map[string]string{telemetry.EndedSucceeded: telemetry.OutcomeOK, telemetry.EndedFailed: telemetry.OutcomeError, "": telemetry.OutcomeError,
		telemetry.EndedAborted: telemetry.OutcomeError, telemetry.EndedCanceled: telemetry.OutcomeExcluded}[how]
	return point{at: at(second), variant: variant, servedBy: variant, kind: telemetry.KindPrediction, outcome: outcome, status: 200,
		reason: telemetry.ReasonPercentage, rollout: "r1", id: id, end: how, total: 2000, predict: 1500}
}

// asked is the query about services whose rollout r1 began with the first interval.
func asked(last int64, services ...string) Query {
	q := Query{Dataset: dataset, Interval: time.Minute, Expire: expire, Through: first + last}
	for _, service := range services {
		q.Subjects = append(q.Subjects, Subject{Service: service, Rollout: "r1", Began: time.Unix(at(0), 0), From: first})
	}
	return q
}

const succeeded, fail, aborted, canceled = telemetry.EndedSucceeded, telemetry.EndedFailed, telemetry.EndedAborted, telemetry.EndedCanceled

// course is what happens in a service of its own, and how the canary's units,
// errors, client errors and open predictions of each minute are counted.
type course struct {
	name   string
	points []point
	want   map[int64]count // by minute
}

type count struct{ units, errors, clientErrors, open, skipped, stable float64 }

var (
	failed  = func(p *point) { p.outcome = telemetry.OutcomeError }
	refused = func(p *point) { p.outcome = telemetry.OutcomeClientError }
	skip    = func(p *point) {
		p.outcome, p.class, p.servedBy = telemetry.OutcomeExcluded, telemetry.ClassBreaker, "stable"
	}
	gone    = func(p *point) { p.outcome, p.class = telemetry.OutcomeExcluded, telemetry.ClassClient }
	polled  = func(p *point) { p.reason, p.rollout = telemetry.ReasonPolled, "r2" }
	because = func(reason string) func(*point) { return func(p *point) { p.reason = reason } }
	// atOnce is how a synchronous create tells of its prediction's end: without times.
	atOnce = func(p *point) { p.status, p.total, p.predict = 201, 0, 0 }
	former = func(p *point) { p.rollout = "r0" }
)

var courses = []course{
	{"a request without a prediction", []point{made(0, "canary", "")}, map[int64]count{0: {units: 1}}},
	{"one in the last second of a minute and one in the next", []point{made(59, "canary", ""), made(60, "canary", "")}, map[int64]count{0: {units: 1}, 1: {units: 1}}},
	{"one that failed", []point{made(0, "canary", "").with(failed)}, map[int64]count{0: {units: 1, errors: 1}}},
	{"one that the client got wrong", []point{made(0, "canary", "").with(refused)}, map[int64]count{0: {units: 1, clientErrors: 1}}},
	{"one whose client went away", []point{made(0, "canary", "").with(gone)}, nil},
	{"a synchronous prediction", []point{made(0, "canary", "a"), ended(0, "canary", "a", succeeded)}, map[int64]count{0: {units: 1}}},
	{"one that is polled five times", []point{made(0, "canary", "a"), ended(1, "canary", "a", succeeded), ended(2, "canary", "a", succeeded),
		ended(61, "canary", "a", succeeded), ended(125, "canary", "a", succeeded), ended(185, "canary", "a", succeeded)}, map[int64]count{0: {units: 1}}},
	{"a webhook that comes twice", []point{made(0, "canary", "a"), ended(60, "canary", "a", fail), ended(70, "canary", "a", fail)}, map[int64]count{1: {units: 1, errors: 1}}},
	{"an aborted one", []point{made(0, "canary", "a"), ended(60, "canary", "a", aborted)}, map[int64]count{1: {units: 1, errors: 1}}},
	{"one whose stream was cut", []point{made(0, "canary", "a"), ended(60, "canary", "a", ""), ended(120, "canary", "a", succeeded)}, map[int64]count{1: {units: 1, errors: 1}}},
	{"a cancelled one", []point{made(0, "canary", "a"), ended(0, "canary", "a", canceled)}, nil},
	{"one that stable rescued and the client cancelled", []point{made(0, "canary", "a").with(failed), ended(60, "canary", "a", canceled)}, map[int64]count{0: {units: 1, errors: 1}}},
	{"one that stable rescued", []point{made(0, "canary", "a").with(failed), ended(60, "canary", "a", succeeded)}, map[int64]count{0: {units: 1, errors: 1}}},
	{"one that the breaker kept from the canary", []point{made(0, "canary", "a").with(skip), ended(0, "canary", "a", fail)}, map[int64]count{0: {skipped: 1}}},
	{"one without a prediction that the breaker kept from the canary", []point{made(0, "canary", "").with(skip)}, map[int64]count{0: {skipped: 1}}},
	{"a bare poll, whose alias names another variant", []point{made(0, "canary", "a"), ended(60, "stable", "a", fail).with(polled)}, map[int64]count{1: {units: 1, errors: 1}}},
	{"a bare poll of what Perch did not make", []point{ended(0, "canary", "a", fail).with(polled)}, nil},
	{"one that was accepted though its request timed out", []point{made(0, "canary", "").with(failed), ended(60, "canary", "a", succeeded)}, map[int64]count{0: {units: 1, errors: 1}}},
	{"one that was accepted and whose client had gone", []point{made(0, "canary", "").with(gone), ended(60, "canary", "a", fail)}, nil},
	{"what an override sent there", []point{made(0, "canary", "a").with(because(telemetry.ReasonOverride)), ended(0, "canary", "a", fail)}, nil},
	{"a plain call that an override sent there", []point{made(0, "canary", "").with(because(telemetry.ReasonOverride))}, nil},
	{"the target of a rule", []point{made(0, "person", "").with(because(telemetry.ReasonRule)), made(0, "person", ""), made(0, "person", "a"), ended(0, "person", "a", succeeded)}, nil},
	{"another rollout's", []point{made(0, "canary", "a").with(former), ended(0, "canary", "a", fail)}, nil},
	{"stable's", []point{made(0, "stable", "a"), ended(0, "stable", "a", fail), made(60, "stable", "")}, map[int64]count{0: {stable: 1}, 1: {stable: 1}}},
	{"one that ends in time after its minute has closed", []point{made(0, "canary", "a"), ended(299, "canary", "a", fail)}, map[int64]count{4: {units: 1, errors: 1}}},
	{"one that ends just in time", []point{made(0, "canary", "a"), ended(300, "canary", "a", fail)}, map[int64]count{5: {units: 1, errors: 1}}},
	{"one that fails after it has expired", []point{made(0, "canary", "a"), ended(301, "canary", "a", fail)}, map[int64]count{5: {units: 1}}},
	{"one that is cancelled after it has expired", []point{made(0, "canary", "a"), ended(400, "canary", "a", canceled)}, map[int64]count{5: {units: 1}}},
	{"one whose end nobody has seen", []point{made(30, "canary", "a")}, map[int64]count{5: {units: 1}}},
	{"one that is open still", []point{made(500, "canary", "a")}, map[int64]count{8: {open: 1}}},
	{"one that a webhook told of before its stream had ended", []point{ended(50, "canary", "a", succeeded), made(70, "canary", "a")}, map[int64]count{1: {units: 1}}},
	{"one that a webhook told of before its request failed", []point{ended(50, "canary", "a", succeeded), made(70, "canary", "a").with(failed)}, map[int64]count{1: {units: 1, errors: 1}}},
	{"one that was rated", []point{made(0, "canary", "a"), ended(10, "canary", "a", succeeded), {at: at(70), kind: telemetry.KindFeedback, id: "a", rollout: "r1"}}, map[int64]count{0: {units: 1}}},
	{"stable before the rollout, whatever made it stable", []point{made(-60, "stable", "").with(because(telemetry.ReasonHalted)).with(former),
		made(-60, "stable", "").with(because(telemetry.ReasonUnattended)).with(former), made(-60, "stable", "").with(former), made(-60, "canary", "").with(former),
		made(-60, "canary", ""), made(-60, "stable", "").with(because(telemetry.ReasonOverride))}, map[int64]count{-1: {stable: 3}}},
	{"stable where the edge has dropped the canary", []point{made(0, "stable", "").with(because(telemetry.ReasonUnattended)), made(0, "stable", "").with(because(telemetry.ReasonUnattended)).with(former)}, map[int64]count{0: {stable: 1}}},
	{"stable since the rollout", []point{made(0, "stable", "").with(because(telemetry.ReasonHalted)), made(0, "stable", "").with(former), made(0, "stable", "")}, map[int64]count{0: {stable: 1}}},
}

// TestCourses: what each course of events counts as, in each minute, whether all
// are asked for at once, one after the other as a loop does, or in halves.
func TestCourses(t *testing.T) {
	e := newEngine(t)
	q := asked(9)
	q.Through = first + 9
	for i, c := range courses {
		service := fmt.Sprintf("model:acme/case%d", i)
		for _, p := range c.points {
			p.service = service
			if p.id != "" {
				p.id = fmt.Sprintf("case%d%s", i, p.id)
			}
			e.write([]point{p})
		}
		q.Subjects = append(q.Subjects, Subject{Service: service, Rollout: "r1", Began: time.Unix(at(0), 0), From: first - 5})
	}
	all, err := Ask(q, e.ask)
	require.NoError(t, err)
	for i, c := range courses {
		t.Run(c.name, func(t *testing.T) {
			got := map[int64]count{}
			for _, in := range all[q.Subjects[i].Service] {
				c := in.Canary
				require.Equal(t, c.Rows, c.Weight)
				require.Equal(t, c.Rows, c.WeightSquared)
				got[in.Index-first] = count{c.Weight, c.Errors, c.ClientErrors, c.Open, c.Skipped, in.Stable.Weight}
			}
			if c.want == nil {
				c.want = map[int64]count{}
			}
			require.Equal(t, c.want, got)
		})
	}
	requireSameByMinute(t, e, q, all)
}

// requireSameByMinute asks for each interval by itself: all that is counted in it
// was known when it closed. Only what is open is not: it may end later.
func requireSameByMinute(t *testing.T, e *engine, q Query, all map[string][]judge.Interval) {
	t.Helper()
	closed := func(intervals []judge.Interval) (kept []judge.Interval) {
		for _, in := range intervals {
			in.Canary.Open, in.Stable.Open = 0, 0
			if in.Canary.Weight+in.Stable.Weight+in.Canary.Skipped+in.Stable.Skipped > 0 {
				kept = append(kept, in)
			}
		}
		return kept
	}
	byMinute := map[string][]judge.Interval{}
	_, from, _ := q.seconds()
	for slot := from / minute; slot <= q.Through; slot++ {
		one := q
		one.Through, one.Subjects = slot, nil
		for _, s := range q.Subjects {
			if s.From <= slot {
				s.From = slot
				one.Subjects = append(one.Subjects, s)
			}
		}
		found, err := Ask(one, e.ask)
		require.NoError(t, err)
		for service, intervals := range found {
			byMinute[service] = append(byMinute[service], intervals...)
		}
	}
	for _, s := range q.Subjects {
		require.Equal(t, closed(all[s.Service]), closed(byMinute[s.Service]), s.Service)
	}
}

// TestTimes: which histogram each time is in.
func TestTimes(t *testing.T) {
	e := newEngine(t)
	stream := made(3, "canary", "")
	stream.firstToken = 400
	slow := ended(20, "canary", "a", succeeded)
	slow.firstToken, slow.total = 250, 9000
	unknown := ended(20, "canary", "b", succeeded)
	unknown.total, unknown.predict = 0, 0
	for _, p := range []point{stream, made(4, "canary", "").with(failed), made(5, "canary", "").with(func(p *point) { p.firstByte = 0 }),
		made(6, "canary", "a"), slow, made(7, "canary", "b"), unknown, made(8, "canary", "c")} {
		e.write([]point{p.with(func(p *point) { p.service = "http:q" })})
	}
	found, err := Ask(asked(9, "http:q"), e.ask)
	require.NoError(t, err)
	require.Len(t, found["http:q"], 2)
	times := found["http:q"][0].Canary.Times
	in := func(h histogram.Histogram) map[int]float64 {
		counts := map[int]float64{}
		for i, n := range h.Counts {
			if n > 0 {
				counts[h.First+i] = n
			}
		}
		return counts
	}
	require.Equal(t, map[int]float64{0: 1, histogram.Bucket(100): 1}, in(times[judge.FirstByte]), "of plain calls that succeeded")
	require.Equal(t, map[int]float64{histogram.Bucket(400): 1, histogram.Bucket(250): 1}, in(times[judge.FirstToken]))
	require.Equal(t, map[int]float64{histogram.Bucket(9000): 1}, in(times[judge.Total]), "where it is known")
	require.Equal(t, map[int]float64{histogram.Bucket(1500): 1}, in(times[judge.Predict]))
	expired := found["http:q"][1]
	require.EqualValues(t, first+5, expired.Index)
	require.Equal(t, map[int]float64{histogram.Buckets - 1: 1}, in(expired.Canary.Times[judge.Total]), "slower than all")
	require.EqualValues(t, 1, expired.Canary.Rows)
	require.Equal(t, []uint32{0x1234abcd}, expired.Canary.Users)
}

// TestTotal: what is taken for the total time of a prediction, which a synchronous
// create does not tell.
func TestTotal(t *testing.T) {
	waited := made(0, "canary", "a").with(func(p *point) { p.firstByte = 3000 })
	end := ended(0, "canary", "a", succeeded)
	unknown := end.with(func(p *point) { p.total = 0 })
	for i, c := range []struct {
		name   string
		points []point
		want   float64 // ms; 0 is unknown
	}{
		{"a synchronous one: the time to its headers", []point{waited, end.with(atOnce)}, 3000},
		{"one that is polled nevertheless", []point{waited, end.with(atOnce), unknown.with(func(p *point) { p.at += 2 })}, 3000},
		{"one whose time a webhook tells", []point{waited, end.with(atOnce), end}, 2000},
		{"a synchronous create that tells the time", []point{waited, end.with(func(p *point) { p.status = 201 })}, 2000},
		{"a synchronous one that took no time to speak of", []point{waited.with(func(p *point) { p.firstByte = 0 }), end.with(atOnce)}, 0},
		{"an asynchronous one whose time nobody tells", []point{waited, unknown}, 0},
		{"an asynchronous one whose time is told", []point{waited, end}, 2000},
		{"one whose end a stream alone tells", []point{waited, unknown.with(func(p *point) { p.firstToken = 250 })}, 0},
		{"one that stable rescued", []point{waited.with(failed), end.with(atOnce)}, 0},
		{"one that failed at once", []point{waited, ended(0, "canary", "a", fail).with(atOnce)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			service := fmt.Sprintf("model:acme/case%d", i)
			for _, p := range c.points {
				p.service = service
				e.write([]point{p})
			}
			found, err := Ask(asked(9, service), e.ask)
			require.NoError(t, err)
			require.Len(t, found[service], 1)
			require.EqualValues(t, 1, found[service][0].Canary.Rows)
			var want histogram.Histogram
			if c.want > 0 {
				want = histogram.Histogram{First: histogram.Bucket(c.want), Counts: []float64{1}}
			}
			require.Equal(t, want, found[service][0].Canary.Times[judge.Total])
		})
	}
}
