package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
	"perch/shared/telemetry"
)

// seen is a point that a query sees, and how many it stands for.
type seen struct {
	point
	weight float64
}

// tallies is what was counted, by a key that tells all there is to tell apart.
type tallies map[string]float64

func key(service string, slot int64, variant, what string) string {
	return fmt.Sprintf("%s %d %s %s", service, slot-first, variant, what)
}

// told turns what Read returned into tallies.
func told(found map[string][]judge.Interval) tallies {
	all := tallies{}
	for service, intervals := range found {
		for _, in := range intervals {
			for variant, c := range map[string]judge.Counts{"canary": in.Canary, "stable": in.Stable} {
				add := func(what string, n float64) {
					if n != 0 {
						all[key(service, in.Index, variant, what)] += n
					}
				}
				add("rows", c.Rows)
				add("weight", c.Weight)
				add("squares", c.WeightSquared)
				add("errors", c.Errors)
				add("client errors", c.ClientErrors)
				add("open", c.Open)
				add("skipped", c.Skipped)
				add("good", c.Good)
				add("bad", c.Bad)
				for timing, h := range c.Times {
					for i, n := range h.Counts {
						add(fmt.Sprintf("time %d bucket %d", timing, h.First+i), n)
					}
				}
				for kind, users := range map[string][]uint32{"user": c.Users, "failing": c.FailingUsers, "client failing": c.ClientFailingUsers} {
					for _, user := range users {
						add(fmt.Sprintf("%s %08x", kind, user), 1)
					}
				}
			}
		}
	}
	return all
}

// requireSame fails with the first differences alone: tallies are long.
func requireSame(t *testing.T, want, got tallies) {
	t.Helper()
	var differences []string
	for k := range want {
		if want[k] != got[k] {
			differences = append(differences, fmt.Sprintf("%s: want %g, got %g", k, want[k], got[k]))
		}
	}
	for k := range got {
		if _, wanted := want[k]; !wanted {
			differences = append(differences, fmt.Sprintf("%s: want none, got %g", k, got[k]))
		}
	}
	slices.Sort(differences)
	require.Empty(t, differences[:min(10, len(differences))])
}

// recount counts points by looking at one request and one prediction after the
// other: a second implementation of the statement and of Read, without SQL.
func recount(q Query, points []seen) tallies {
	all := tallies{}
	byID := map[string][]seen{}
	for _, p := range points {
		if p.kind != telemetry.KindRequest && p.kind != telemetry.KindPrediction || p.at >= (q.Through+1)*minute {
			continue
		}
		if p.id == "" {
			all.addPlain(q, p)
		} else {
			byID[p.service+p.id] = append(byID[p.service+p.id], p)
		}
	}
	for _, course := range byID {
		all.addPrediction(q, course)
	}
	return all
}

func (t tallies) addPlain(q Query, p seen) {
	switch {
	case p.class == telemetry.ClassBreaker:
		t.add(q, p, p.at, "skipped", p.weight)
	case p.outcome == telemetry.OutcomeExcluded:
	default:
		times := map[judge.Timing]float64{}
		if p.outcome == telemetry.OutcomeOK {
			times[judge.FirstByte] = max(p.firstByte, 1e-9)
			times[judge.FirstToken] = p.firstToken
		}
		t.addUnit(q, p, p.at, p.outcome, times, p.weight)
	}
}

func (t tallies) addPrediction(q Query, course []seen) {
	var request *seen
	weight, total, predict, token, answered, atOnce := 0.0, 0.0, 0.0, 0.0, 0.0, false
	endAt, errorAt, refusedAt, canceledAt := math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)
	for i, p := range course {
		at := float64(p.at)
		if p.kind == telemetry.KindRequest {
			request = &course[i]
		} else if p.end == succeeded && p.status == 201 {
			atOnce = true
		}
		if p.outcome == telemetry.OutcomeOK {
			answered = max(answered, p.firstByte)
		}
		weight, total, predict, token = max(weight, p.weight), max(total, p.total), max(predict, p.predict), max(token, p.firstToken)
		if p.outcome == telemetry.OutcomeError {
			errorAt = min(errorAt, at)
		}
		if p.kind == telemetry.KindPrediction {
			endAt = min(endAt, at)
		}
		if p.outcome == telemetry.OutcomeClientError {
			refusedAt = min(refusedAt, at)
		}
		if p.end == telemetry.EndedCanceled {
			canceledAt = min(canceledAt, at)
		}
	}
	if total == 0 && atOnce {
		total = answered
	}
	endAt = min(endAt, errorAt)
	who := course[0]
	if request != nil {
		who = *request
		if request.outcome == telemetry.OutcomeExcluded {
			if request.class == telemetry.ClassBreaker {
				t.add(q, who, who.at, "skipped", weight)
			}
			return
		}
		if weight == 1 {
			endAt = max(endAt, float64(request.at))
		}
	} else if weight == 1 {
		return
	}
	expiresAt := math.Inf(1)
	if weight == 1 {
		expiresAt = float64(request.at) + expire.Seconds()
	}
	switch {
	case endAt > expiresAt && expiresAt < float64((q.Through+1)*minute):
		t.addUnit(q, who, int64(expiresAt), "expired", map[judge.Timing]float64{judge.Total: math.MaxFloat64}, weight)
	case endAt > expiresAt:
		t.add(q, who, who.at, "open", weight)
	case math.IsInf(endAt, 1): // of a sample
	case errorAt <= endAt:
		t.addUnit(q, who, int64(endAt), telemetry.OutcomeError, nil, weight)
	case canceledAt <= endAt:
	case refusedAt <= endAt:
		t.addUnit(q, who, int64(endAt), telemetry.OutcomeClientError, nil, weight)
	default:
		t.addUnit(q, who, int64(endAt), telemetry.OutcomeOK, map[judge.Timing]float64{judge.Total: total, judge.Predict: predict, judge.FirstToken: token}, weight)
	}
}

func (t tallies) addUnit(q Query, who seen, at int64, outcome string, times map[judge.Timing]float64, weight float64) {
	t.add(q, who, at, "rows", 1)
	t.add(q, who, at, "weight", weight)
	t.add(q, who, at, "squares", weight*weight)
	share := q.UserShare
	for _, s := range q.Subjects {
		if s.Service == who.service && s.UserShare != 0 {
			share = s.UserShare
		}
	}
	below := func(digits string) bool {
		n, err := strconv.ParseUint(digits, 16, 32)
		return err == nil && float64(n) < share*(1<<32)
	}
	for timing, ms := range times {
		if ms > 0 && (timing == judge.FirstByte || timing == judge.Total || below(who.trace[24:])) {
			t.add(q, who, at, fmt.Sprintf("time %d bucket %d", timing, histogram.Bucket(ms)), weight)
		}
	}
	user := who.user[:8]
	if below(user) {
		t.set(q, who, at, "user "+user)
	}
	switch outcome {
	case telemetry.OutcomeError:
		t.add(q, who, at, "errors", weight)
		t.set(q, who, at, "failing "+user)
	case telemetry.OutcomeClientError:
		t.add(q, who, at, "client errors", weight)
		t.set(q, who, at, "client failing "+user)
	}
}

func (t tallies) set(q Query, who seen, at int64, what string) {
	t.add(q, who, at, what, 1)
	if k := key(who.service, at/minute, who.variant, what); t[k] > 1 {
		t[k] = 1
	}
}

// add counts what happened at a time if the query is about it.
func (t tallies) add(q Query, who seen, at int64, what string, n float64) {
	if who.variant != "stable" && who.variant != "canary" {
		return
	}
	for _, s := range q.Subjects {
		slot := at / minute
		if s.Service != who.service || slot < s.From || slot > q.Through {
			continue
		}
		byPercentage := who.reason == telemetry.ReasonPercentage
		if slot*minute < s.Began.Unix() {
			if who.variant != "stable" || !byPercentage && who.reason != telemetry.ReasonHalted && who.reason != telemetry.ReasonUnattended {
				continue
			}
		} else if !byPercentage && who.reason != telemetry.ReasonUnattended || who.rollout != s.Rollout {
			continue
		}
		t[key(who.service, slot, who.variant, what)] += n
	}
}

// chance makes random courses of events.
type chance struct {
	*rand.Rand
	points []point
}

func pick[T any](r *chance, values ...T) T { return values[r.IntN(len(values))] }

// ms is a random time that is at no bucket's edge.
func (r *chance) ms() float64 {
	for {
		ms := math.Exp(r.Float64()*22 - 2)
		if place := math.Log(ms) / math.Log(histogram.Base); math.Abs(place-math.Round(place)) > 1e-6 {
			return ms
		}
	}
}

func (r *chance) request(service, id string, last int) point {
	p := made(r.IntN(last)-3*minute, pick(r, "canary", "stable", "stable", "stable"), id)
	p.service, p.servedBy, p.firstByte = service, p.variant, r.ms()
	p.user = fmt.Sprintf("%016x", r.Uint64N(60)*0x0444_4444_4444_4443)
	p.trace = fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
	if r.IntN(20) == 0 {
		p.reason = pick(r, telemetry.ReasonHalted, telemetry.ReasonUnattended, telemetry.ReasonOverride, telemetry.ReasonPolled, telemetry.ReasonTrap)
	}
	if r.IntN(20) == 0 {
		p.rollout = "r0"
	}
	if r.IntN(20) == 0 {
		p.variant = "person"
	}
	if r.IntN(4) == 0 {
		p.firstToken = r.ms()
	}
	switch r.IntN(12) {
	case 0:
		failed(&p)
	case 1:
		refused(&p)
	case 2:
		pick(r, skip, gone)(&p)
	}
	return p
}

// prediction adds the points of a prediction: its request (or none), and its end
// as it was seen, if at all, early or late, once or several times.
func (r *chance) prediction(service string, n, last int) {
	request := r.request(service, fmt.Sprintf("p%d", n), last)
	if r.IntN(20) > 0 {
		r.points = append(r.points, request)
	}
	how := pick(r, succeeded, succeeded, succeeded, fail, aborted, canceled, "")
	total, predict := pick(r, 0, r.ms()), pick(r, 0, r.ms())
	delay := pick(r, 0, r.IntN(20), r.IntN(120), r.IntN(1200)) - pick(r, 0, 0, r.IntN(60))
	isSynchronous := r.IntN(2) == 0
	for i := range r.IntN(4) {
		p := ended(0, request.variant, request.id, how)
		p.at, p.service, p.total, p.predict, p.user, p.trace = request.at+int64(delay), service, total, predict, request.user, request.trace
		p.rollout, p.reason = request.rollout, request.reason
		if i == 0 && isSynchronous {
			p.status, p.firstByte = 201, request.firstByte
		}
		if r.IntN(5) == 0 {
			polled(&p)
			p.variant = pick(r, "canary", "stable", "person")
		}
		r.points = append(r.points, p)
		delay += r.IntN(200)
	}
}

// random returns the points of some services in shuffled order, and the query.
func random(seed uint64, services, units, minutes int) ([]point, Query) {
	r := &chance{Rand: rand.New(rand.NewPCG(seed, 4))}
	q := Query{Dataset: dataset, Interval: time.Minute, Expire: expire, Through: int64(first + minutes - 1), UserShare: 1}
	for i := range services {
		service := fmt.Sprintf("model:acme/s%d", i)
		q.Subjects = append(q.Subjects, Subject{
			Service: service, Rollout: "r1", Began: time.Unix(at(r.IntN(4*minute)), int64(r.IntN(2))), From: first - 3 + int64(r.IntN(5)),
			UserShare: pick(r, 0, 0, 0.5, 1.0/16),
		})
		for n := range units {
			if r.IntN(3) > 0 {
				r.points = append(r.points, r.request(service, "", minutes*minute))
			} else {
				r.prediction(service, n, minutes*minute)
			}
		}
	}
	r.Shuffle(len(r.points), func(i, j int) { r.points[i], r.points[j] = r.points[j], r.points[i] })
	for i := range r.points {
		r.points[i].number = strconv.Itoa(i)
	}
	return r.points, q
}

// visible are the points that queries see under the present sampling.
func (e *engine) visible(points []point) []seen {
	rows, err := e.ask("SELECT blob8 AS number, _sample_interval AS weight FROM " + dataset)
	require.NoError(e, err)
	var kept []seen
	for _, row := range rows {
		number, err := row.Float("number")
		require.NoError(e, err)
		weight, err := row.Float("weight")
		require.NoError(e, err)
		kept = append(kept, seen{points[int(number)], weight})
	}
	return kept
}

// TestAgainstRecount: thousands of random points, counted by SQL and by a plain
// program, whole, sampled, and minute by minute.
func TestAgainstRecount(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			e := newEngine(t)
			points, q := random(seed, 4, 1500, 14)
			e.write(points)
			found, err := Ask(q, e.ask)
			require.NoError(t, err)
			want := recount(q, e.visible(points))
			require.Greater(t, len(want), 2000)
			requireSame(t, want, told(found))
			requireSameByMinute(t, e, q, found)

			e.sample(10)
			kept := e.visible(points)
			require.InDelta(t, len(points)/10, len(kept), float64(len(points)/30))
			found, err = Ask(q, e.ask)
			require.NoError(t, err)
			requireSame(t, recount(q, kept), told(found))
		})
	}
}
