package command

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/stack"
)

// point is one row as the worker writes it; second counts from the first write.
type point struct {
	second                                           int
	variant, kind, outcome, reason, rollout, id, end string
	service, class                                   string
	firstByteMS, totalMS, predictMS                  float64
}

// ledger is a real SQL engine that points are written to.
type ledger struct {
	*testing.T
	stack *stack.Stack
	x     *session
	began int64 // Unix time of second 0
}

func newLedger(t *testing.T, sample int) *ledger {
	t.Parallel()
	s, err := stack.Start(t.Context(), stack.Options{
		Worker: "test/stack/testdata/worker", Config: "test/stack/testdata/wrangler.toml", Sample: sample, TimeScale: 1000,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	config := cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset}
	x := &session{account: &account{app: &app{clock: wallClock{}}, settings: settings{cloudflare: config}, source: cloudflare.NewAnalytics(config)}, service: flux}
	return &ledger{T: t, stack: s, x: x}
}

// write writes points, each in its second: timestamps have no finer part.
func (l *ledger) write(points []point) {
	l.Helper()
	last := 0
	for _, p := range points {
		last = max(last, p.second)
	}
	for second := 0; second <= last; second++ {
		l.nextSecond()
		if second == 0 {
			l.began = time.Now().Unix()
		}
		for _, p := range points {
			if p.second == second {
				l.writeOne(p)
			}
		}
		require.Equal(l, l.began+int64(second), time.Now().Unix(), "too many points for a second")
	}
	_, err := l.stack.Flush(l.Context())
	require.NoError(l, err)
}

// nextSecond waits for the clock to show another one.
func (l *ledger) nextSecond() {
	for now := time.Now().Unix(); time.Now().Unix() == now; {
		time.Sleep(time.Millisecond)
	}
}

func (l *ledger) writeOne(p point) {
	l.Helper()
	if p.service == "" {
		p.service = flux.String()
	}
	texts := map[telemetry.Column]string{
		telemetry.Service: p.service, telemetry.Variant: p.variant, telemetry.Kind: p.kind, telemetry.Outcome: p.outcome,
		telemetry.Reason: p.reason, telemetry.Rollout: p.rollout, telemetry.Prediction: p.id, telemetry.Ended: p.end, telemetry.ErrorClass: p.class,
	}
	numbers := map[telemetry.Column]float64{telemetry.FirstByteMS: p.firstByteMS, telemetry.TotalMS: p.totalMS, telemetry.PredictMS: p.predictMS}
	blobs, doubles := make([]string, 14), make([]float64, 9)
	for i := range blobs {
		blobs[i] = texts[telemetry.Column("blob"+strconv.Itoa(i+1))]
	}
	for i := range doubles {
		doubles[i] = numbers[telemetry.Column("double"+strconv.Itoa(i+1))]
	}
	text, err := json.Marshal(map[string]any{"count": 1, "point": map[string]any{
		"blobs": blobs, "doubles": doubles, "indexes": []string{telemetry.IndexOf(p.service, p.variant)},
	}})
	require.NoError(l, err)
	response, err := http.Get(l.stack.Places[0].URL + "/points?write=" + url.QueryEscape(string(text)))
	require.NoError(l, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(l, err)
	require.JSONEq(l, `{"written":1}`, string(body))
}

// window measures the seconds from ≤ second < to.
func (l *ledger) window(from, to int) judge.Window {
	l.Helper()
	at := func(second int) time.Time { return time.Unix(l.began+int64(second), 0) }
	w := judge.Window{Span: judge.Span{From: at(from), To: at(to)}}
	s := rollout.State{StartedAt: at(0), Document: rollout.Document{Document: &document.Document{Rollout: "r1"}}}
	require.NoError(l, l.x.measure(l.Context(), &w, s))
	return w
}

// made is the point of a request that made a prediction, ended the point of its
// end as it was seen once.
func made(second int, variant, id string) point {
	return point{second: second, variant: variant, kind: telemetry.KindRequest, outcome: telemetry.OutcomeOK,
		reason: telemetry.ReasonPercentage, rollout: "r1", id: id, firstByteMS: 100}
}

func ended(second int, variant, id, how string) point {
	outcome := map[string]string{telemetry.EndedSucceeded: telemetry.OutcomeOK, telemetry.EndedFailed: telemetry.OutcomeError,
		telemetry.EndedAborted: telemetry.OutcomeError, telemetry.EndedCanceled: telemetry.OutcomeExcluded}[how]
	return point{second: second, variant: variant, kind: telemetry.KindPrediction, outcome: outcome,
		reason: telemetry.ReasonPercentage, rollout: "r1", id: id, end: how, totalMS: 2000, predictMS: 1500}
}

func (p point) with(change func(*point)) point {
	change(&p)
	return p
}

// TestUnitsCountedOnce: what each course of events counts as, in the first
// second and in the second one.
func TestUnitsCountedOnce(t *testing.T) {
	failed := func(p *point) { p.outcome = telemetry.OutcomeError }
	skip := func(p *point) { p.outcome, p.class = telemetry.OutcomeExcluded, telemetry.ClassBreaker }
	gone := func(p *point) { p.outcome, p.class = telemetry.OutcomeExcluded, telemetry.ClassClient }
	polled := func(p *point) { p.reason, p.rollout = telemetry.ReasonPolled, "r2" }
	const succeeded, fail, aborted, canceled = telemetry.EndedSucceeded, telemetry.EndedFailed, telemetry.EndedAborted, telemetry.EndedCanceled
	type count struct{ units, errors, open float64 }
	cases := []struct {
		name          string
		points        []point
		first, second count // of the canary
	}{
		{"a request without a prediction", []point{made(0, "canary", "")}, count{1, 0, 0}, count{}},
		{"one that failed", []point{made(0, "canary", "").with(failed)}, count{1, 1, 0}, count{}},
		{"a synchronous prediction", []point{made(0, "canary", "a"), ended(0, "canary", "a", succeeded)}, count{1, 0, 0}, count{}},
		{"one that is polled five times", []point{made(0, "canary", "a"), ended(0, "canary", "a", succeeded), ended(0, "canary", "a", succeeded),
			ended(1, "canary", "a", succeeded), ended(1, "canary", "a", succeeded), ended(1, "canary", "a", succeeded)}, count{1, 0, 0}, count{}},
		{"a webhook that comes twice", []point{made(0, "canary", "a"), ended(1, "canary", "a", fail), ended(1, "canary", "a", fail)}, count{0, 0, 1}, count{1, 1, 0}},
		{"an aborted one", []point{made(0, "canary", "a"), ended(1, "canary", "a", aborted)}, count{0, 0, 1}, count{1, 1, 0}},
		{"a cancelled one", []point{made(0, "canary", "a"), ended(0, "canary", "a", canceled)}, count{}, count{}},
		{"one whose end nobody has seen", []point{made(0, "canary", "a")}, count{0, 0, 1}, count{}},
		{"one that stable rescued and the client cancelled", []point{made(0, "canary", "a").with(failed), ended(1, "canary", "a", canceled)}, count{1, 1, 0}, count{}},
		{"one that stable rescued", []point{made(0, "canary", "a").with(failed), ended(1, "canary", "a", succeeded)}, count{1, 1, 0}, count{}},
		{"one that the breaker kept from the canary", []point{made(0, "canary", "a").with(skip),
			ended(0, "canary", "a", fail)}, count{}, count{}},
		{"one without a prediction that the breaker kept from the canary", []point{made(0, "canary", "").with(skip)}, count{}, count{}},
		{"a bare poll, whose alias names another variant", []point{made(0, "canary", "a"), ended(0, "stable", "a", fail).with(polled)}, count{1, 1, 0}, count{}},
		{"a bare poll of what Perch did not make", []point{ended(0, "canary", "a", fail).with(func(p *point) { p.reason = telemetry.ReasonPolled })}, count{}, count{}},
		{"one that was accepted though its request timed out", []point{made(0, "canary", "").with(failed), ended(1, "canary", "a", succeeded)}, count{1, 1, 0}, count{}},
		{"one that was accepted and whose client had gone", []point{made(0, "canary", "").with(gone), ended(1, "canary", "a", fail)}, count{}, count{}},
		{"what an override sent there", []point{made(0, "canary", "a").with(func(p *point) { p.reason = telemetry.ReasonOverride }), ended(0, "canary", "a", fail)}, count{}, count{}},
		{"another rollout's", []point{made(0, "canary", "a").with(func(p *point) { p.rollout = "r0" }), ended(0, "canary", "a", fail)}, count{}, count{}},
		{"stable's", []point{made(0, "stable", "a"), ended(0, "stable", "a", fail)}, count{}, count{}},
	}
	var points []point
	for i, c := range cases {
		for _, p := range c.points {
			if p.id != "" {
				p.id = fmt.Sprintf("case%d%s", i, p.id)
			}
			p.service = fmt.Sprintf("model:acme/case%d", i)
			points = append(points, p)
		}
	}
	l := newLedger(t, 1)
	l.write(points)
	of := func(a judge.Arm) count { return count{a.Requests, a.Errors, a.Open} }
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l.x.service.Name = fmt.Sprintf("acme/case%d", i)
			first := l.window(0, 1)
			require.Equal(t, c.first, of(first.Canary), "first second")
			require.Equal(t, c.second, of(l.window(1, 2).Canary), "second one")
			require.EqualValues(t, first.Canary.Requests, first.Canary.Rows)
		})
	}
	l.x.service.Name = "acme/case2"
	arm := l.window(0, 1).Canary
	require.Equal(t, []float64{100, 2000, 1500}, []float64{arm.P95MS, arm.TotalP95MS, arm.PredictP95MS})
	require.EqualValues(t, 1, arm.OKRows)
	for i, c := range cases {
		l.x.service.Name = fmt.Sprintf("acme/case%d", i)
		require.EqualValues(t, strings.Contains(c.name, "breaker"), l.window(0, 1).Canary.Skipped == 1, c.name)
	}
	l.x.service.Name = "acme/case3"
	require.Zero(t, l.window(5, 9).Canary)
}

// TestUnitsAgainstOracle: random courses of events, counted by SQL and by a
// program that looks at one prediction after the other.
func TestUnitsAgainstOracle(t *testing.T) {
	const seconds, predictions = 4, 250
	r := rand.New(rand.NewPCG(7, 11))
	var points []point
	want := map[string]map[int]judge.Arm{"canary": {}, "stable": {}}
	for i := range predictions {
		variant := []string{"canary", "stable"}[r.IntN(2)]
		id := fmt.Sprintf("p%d", i)
		request := made(r.IntN(seconds), variant, id)
		how := []string{telemetry.EndedSucceeded, telemetry.EndedFailed, telemetry.EndedAborted, telemetry.EndedCanceled}[r.IntN(4)]
		if r.IntN(5) == 0 {
			request.outcome = telemetry.OutcomeError
		}
		course := []point{request}
		for range r.IntN(5) {
			course = append(course, ended(request.second+r.IntN(seconds-request.second), variant, id, how))
		}
		points = append(points, course...)
		if second, isError := oracle(course); second >= 0 {
			arm := want[variant][second]
			arm.Rows, arm.Requests = arm.Rows+1, arm.Requests+1
			if isError {
				arm.Errors++
			}
			want[variant][second] = arm
		}
	}
	r.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	l := newLedger(t, 1)
	l.write(points)
	counted := int64(0)
	for second := range seconds {
		w := l.window(second, second+1)
		for variant, got := range map[string]judge.Arm{"canary": w.Canary, "stable": w.Stable} {
			counted += got.Rows
			got = judge.Arm{Rows: got.Rows, Requests: got.Requests, Errors: got.Errors}
			require.Equal(t, want[variant][second], got, "%s in second %d", variant, second)
		}
	}
	whole := l.window(0, seconds)
	require.Equal(t, counted, whole.Canary.Rows+whole.Stable.Rows, "windows side by side count what one window does")
	require.Greater(t, counted, int64(predictions/3))
}

// oracle says in which second a prediction counts, -1 if in none, and as what.
func oracle(course []point) (second int, isError bool) {
	second = -1
	canceled := false
	for _, p := range course {
		canceled = canceled || p.end == telemetry.EndedCanceled
		isEnd := p.kind == telemetry.KindPrediction || p.outcome == telemetry.OutcomeError
		if isEnd && (second < 0 || p.second < second) {
			second = p.second
		}
		isError = isError || p.outcome == telemetry.OutcomeError
	}
	if canceled && !isError {
		return -1, false
	}
	return second, isError
}

// TestUnitsSampled: rows of a sample stand for all.
func TestUnitsSampled(t *testing.T) {
	l := newLedger(t, 4)
	var points []point
	for i := range 800 {
		how := telemetry.EndedSucceeded
		if i%4 == 0 {
			how = telemetry.EndedFailed
		}
		points = append(points, ended(i%2, "canary", fmt.Sprintf("p%d", i), how))
	}
	l.write(points)
	arm := l.window(0, 2).Canary
	require.InDelta(t, 200, arm.Rows, 60)
	require.EqualValues(t, 4*arm.Rows, arm.Requests)
	require.InDelta(t, 0.25, arm.ErrorRate(), 0.1)
}
