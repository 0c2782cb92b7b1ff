package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/seal"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// ending is what SQL knows of a prediction.
type ending struct {
	Variant, Reason, Ended, Outcome, Class string
	Rows                                   float64
	Requests                               float64
	TotalMS, PredictMS, QueueMS            float64
	FirstTokenMS, EventsPerSecond          float64
}

// endings counts each prediction once, by plain SQL: the request that made it
// knows best whose it is.
func (w *world) endings(service string) map[string]ending {
	w.Helper()
	s := w.stack
	_, err := s.Flush(w.Context())
	require.NoError(w, err)
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	isRequest := fmt.Sprintf("if(%s = '%s', 1, 0)", telemetry.Kind, telemetry.KindRequest)
	isEnd := fmt.Sprintf("if(%s != '', 1, 0)", telemetry.Ended)
	rows, err := analytics.Query(w.Context(), fmt.Sprintf(`SELECT %s AS prediction, argMax(%s, %s) AS variant, argMax(%s, %s) AS reason, argMax(%s, %s) AS ended, `+
		`argMax(%s, %s) AS outcome, argMax(%s, %s) AS class, count() AS all_rows, sum(%s) AS requests, `+
		`max(%s) AS total, max(%s) AS predict, max(%s) AS queue, max(%s) AS first_token, max(%s) AS events `+
		`FROM %s WHERE %s = '%s' AND %s != '' GROUP BY prediction LIMIT 100000`,
		telemetry.Prediction, telemetry.Variant, isRequest, telemetry.Reason, isRequest, telemetry.Ended, isEnd,
		telemetry.Outcome, isEnd, telemetry.ErrorClass, isEnd, isRequest,
		telemetry.TotalMS, telemetry.PredictMS, telemetry.QueueMS, telemetry.FirstTokenMS, telemetry.EventsPerSecond,
		s.Dataset, telemetry.Service, service, telemetry.Prediction))
	require.NoError(w, err)
	found := map[string]ending{}
	for _, row := range rows {
		var id string
		var e ending
		for column, into := range map[string]*string{"prediction": &id, "variant": &e.Variant, "reason": &e.Reason, "ended": &e.Ended, "outcome": &e.Outcome, "class": &e.Class} {
			*into, err = row.Text(column)
			require.NoError(w, err)
		}
		for column, into := range map[string]*float64{
			"all_rows": &e.Rows, "requests": &e.Requests, "total": &e.TotalMS, "predict": &e.PredictMS, "queue": &e.QueueMS,
			"first_token": &e.FirstTokenMS, "events": &e.EventsPerSecond,
		} {
			*into, err = row.Float(column)
			require.NoError(w, err)
		}
		found[id] = e
	}
	return found
}

// ended is the upstream's own word on a prediction.
func (w *world) ended(id string) string {
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.upstream.URL()+"/v1/predictions/"+id, nil)
	require.NoError(w, err)
	request.Header.Set("authorization", "Bearer test-token")
	response, err := client.Do(request)
	require.NoError(w, err)
	defer response.Body.Close()
	var got links
	require.NoError(w, json.NewDecoder(response.Body).Decode(&got))
	return got.Status
}

// TestEveryOutcomeOnce: each routed prediction's end is counted once, for the
// variant that it ran on, and as the upstream says that it ended: whether the
// client waited, polled five times, streamed or never asked again.
func TestEveryOutcomeOnce(t *testing.T) {
	const model, predictions, places = "acme/flux", 300, 2
	w := newWorld(t, worldOptions{Models: []string{model}, Places: places})
	w.write(rollout(model, 5000))
	w.alias(model)
	quick := upstream.Latency{MedianMS: 20, Sigma: 0.3}
	require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Stable), upstream.Behavior{Latency: quick, Queue: upstream.Fixed(5 * time.Millisecond)}))
	require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Canary), upstream.Behavior{Latency: quick, Queue: upstream.Fixed(5 * time.Millisecond), FailedRate: 0.3}))

	var mu sync.Mutex
	unasked := []string{}
	ways := []func(i int, user map[string]string){
		func(i int, user map[string]string) { // waits
			r := w.do(call{Place: i % places, Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"a b"}}`, Headers: with(user, "prefer", "wait")})
			require.Equal(w, 201, r.Status, r.Body)
		},
		func(i int, user map[string]string) { // polls five times, by id or URL, mostly elsewhere than where it was made
			made := w.createAt(i%places, model, user)
			w.awaitEnd(made.ID)
			for n := range 5 {
				path := "/v1/predictions/" + made.ID
				if i%2 == 0 {
					path = requestURI(w.T, made.URLs.Get)
				}
				require.Equal(w, 200, w.do(call{Place: (i + n) % places, Method: "GET", Path: path}).Status)
			}
		},
		func(i int, user map[string]string) { // streams
			made := w.createAt(i%places, model, user)
			r := w.do(call{Place: (i + 1) % places, Method: "GET", Path: requestURI(w.T, made.URLs.Stream), Headers: map[string]string{"accept": "text/event-stream"}})
			require.Equal(w, 200, r.Status, r.Body)
			require.Contains(w, r.Body, "event: done")
		},
		func(i int, user map[string]string) { // never asks
			made := w.createAt(i%places, model, user)
			mu.Lock()
			defer mu.Unlock()
			unasked = append(unasked, made.ID)
		},
	}
	w.upstream.ClearLog()
	w.parallel(predictions, func(i int) { ways[i%len(ways)](i, map[string]string{"x-user-id": fmt.Sprint("user-", i)}) })

	ran := map[string]string{} // prediction → version, as the upstream saw it
	for _, e := range w.upstream.Log() {
		if e.Method == http.MethodPost && e.Prediction != "" {
			ran[e.Prediction] = e.Version
		}
	}
	require.Len(t, ran, predictions)
	require.Eventually(t, func() bool {
		requests := 0.0
		for _, e := range w.endings("model:" + model) {
			requests += e.Requests
		}
		return requests == predictions
	}, 10*time.Second, 100*time.Millisecond, "not every request has its point")
	for _, id := range unasked {
		require.Empty(t, w.endings("model:" + model)[id].Ended, "nobody asked")
		break
	}

	w.parallel(len(unasked), func(i int) { // as the orchestrator does in the end
		id := unasked[i]
		w.awaitEnd(id)
		text, err := sealKey.Seal(seal.Context{
			Purpose: seal.Follow, Service: "model:" + model, Variant: armOf(model, ran[id]), Rollout: "r1",
			Reason: telemetry.ReasonPercentage, Prediction: id, ExpiresAt: time.Now().Add(time.Minute).Unix(),
		})
		require.NoError(w, err)
		require.Equal(w, 200, w.do(call{Method: "GET", Path: "/v1/predictions/" + id + "?perch=" + text}).Status)
	})
	var found map[string]ending
	require.Eventually(t, func() bool {
		found = w.endings("model:" + model)
		for id := range ran {
			if found[id].Ended == "" {
				return false
			}
		}
		return true
	}, 10*time.Second, 100*time.Millisecond, "some end is not recorded")
	require.Len(t, found, predictions)
	failed := 0
	for id, version := range ran {
		e := found[id]
		require.Equal(t, armOf(model, version), e.Variant, id)
		require.Equal(t, telemetry.ReasonPercentage, e.Reason, id)
		require.Equal(t, 1.0, e.Requests, id)
		require.Equal(t, w.ended(id), e.Ended, id)
		want, class := telemetry.OutcomeOK, ""
		if e.Ended == telemetry.EndedFailed {
			want, class = telemetry.OutcomeError, telemetry.ClassFailed
			failed++
		}
		require.Equal(t, want, e.Outcome, id)
		require.Equal(t, class, e.Class, id)
	}
	require.Greater(t, failed, 10)
	require.Less(t, failed, predictions/4)
}

func armOf(model, version string) string {
	if version == versionID(model, document.Canary) {
		return document.Canary
	}
	return document.Stable
}

func with(headers map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for name, value := range headers {
		all[name] = value
	}
	return all
}

func requestURI(t *testing.T, link string) string {
	u, err := url.Parse(link)
	require.NoError(t, err)
	return u.RequestURI()
}

func (w *world) createAt(place int, model string, headers map[string]string) links {
	w.Helper()
	r := w.do(call{Place: place, Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"one two three"}}`, Headers: headers})
	require.Equal(w, 201, r.Status, r.Body)
	var got links
	require.NoError(w, json.Unmarshal([]byte(r.Body), &got))
	return got
}

// awaitEnd waits until a prediction has ended, without asking through the worker.
func (w *world) awaitEnd(id string) {
	w.Helper()
	require.Eventually(w, func() bool {
		status := w.ended(id)
		return status != "starting" && status != "processing"
	}, 10*time.Second, 5*time.Millisecond)
}

// TestOutcomeColumns: what is recorded of a prediction's end, by the way in which
// it was learnt.
func TestOutcomeColumns(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	w.alias(model)
	behave := func(b upstream.Behavior) {
		b.Queue = upstream.Fixed(60 * time.Millisecond)
		if b.Latency.MedianMS == 0 {
			b.Latency = upstream.Fixed(120 * time.Millisecond)
		}
		require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Canary), b))
	}
	learn := map[string]func() string{
		"poll": func() string {
			made := w.create(model, nil)
			w.awaitEnd(made.ID)
			w.follow("GET", made.URLs.Get, nil)
			return made.ID
		},
		"bare poll": func() string {
			made := w.create(model, nil)
			w.awaitEnd(made.ID)
			w.do(call{Method: "GET", Path: "/v1/predictions/" + made.ID})
			return made.ID
		},
		"cancel": func() string {
			made := w.create(model, nil)
			w.follow("POST", made.URLs.Cancel, nil)
			return made.ID
		},
		"stream": func() string {
			made := w.create(model, nil)
			w.follow("GET", made.URLs.Stream, nil)
			return made.ID
		},
		"wait": func() string {
			return w.create(model, map[string]string{"prefer": "wait"}).ID
		},
	}
	for _, tt := range []struct {
		name, how, ended, outcome, class string
		behavior                         upstream.Behavior
		queue, predict, total, token     bool
	}{
		{"a poll of one that succeeded", "poll", "succeeded", "ok", "", upstream.Behavior{}, true, true, true, false},
		{"a poll of one that failed", "poll", "failed", "error", "failed", upstream.Behavior{FailedRate: 1}, true, true, true, false},
		{"a poll of a long one", "poll", "succeeded", "ok", "", upstream.Behavior{OutputBytes: 300_000}, true, true, true, false},
		{"a poll by the bare id", "bare poll", "succeeded", "ok", "", upstream.Behavior{}, true, true, true, false},
		{"a cancellation", "cancel", "canceled", "excluded", "client", upstream.Behavior{Latency: upstream.Fixed(10 * time.Second)}, false, false, true, false},
		{"a stream", "stream", "succeeded", "ok", "", upstream.Behavior{}, false, false, false, true},
		{"a stream of one that fails", "stream", "failed", "error", "failed", upstream.Behavior{FailedRate: 1}, false, false, false, true},
		{"the answer that was waited for", "wait", "succeeded", "ok", "", upstream.Behavior{}, true, false, false, false},
		{"the answer that was waited for, and failed", "wait", "failed", "error", "failed", upstream.Behavior{FailedRate: 1}, true, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behave(tt.behavior)
			id := learn[tt.how]()
			var got ending
			require.Eventually(t, func() bool {
				got = w.endings("model:" + model)[id]
				return got.Ended != ""
			}, 5*time.Second, 20*time.Millisecond)
			require.Equal(t, []string{"canary", "percentage", tt.ended, tt.outcome, tt.class}, []string{got.Variant, got.Reason, got.Ended, got.Outcome, got.Class})
			for name, value := range map[string]struct {
				known bool
				ms    float64
			}{"queue": {tt.queue, got.QueueMS}, "predict": {tt.predict, got.PredictMS}, "total": {tt.total, got.TotalMS}, "first token": {tt.token, got.FirstTokenMS}} {
				require.Equal(t, value.known, value.ms > 0, "%s: %v ms", name, value.ms)
				require.Less(t, value.ms, 5000.0, name)
			}
		})
	}
}

// TestUnknownIsolate: an isolate that did not make a prediction learns from the
// aliases whose it is; the request that made it still knows better.
func TestUnknownIsolate(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}, Places: 2})
	w.write(rollout(model, 10_000))
	w.alias(model)
	made := w.createAt(0, model, map[string]string{"x-user-id": "me"})
	w.awaitEnd(made.ID)
	r := w.do(call{Place: 1, Method: "GET", Path: "/v1/predictions/" + made.ID})
	require.Equal(t, 200, r.Status)
	require.Eventually(t, func() bool { return w.endings("model:" + model)[made.ID].Rows == 2 }, 5*time.Second, 20*time.Millisecond)
	got := w.endings("model:" + model)[made.ID]
	require.Equal(t, []string{"canary", "percentage", "succeeded"}, []string{got.Variant, got.Reason, got.Ended})
	rows := w.points(r.Header.Get("x-perch-trace"))
	reason, err := rows[0].Text(string(telemetry.Reason))
	require.NoError(t, err)
	require.Equal(t, telemetry.ReasonPolled, reason)
}

// TestRescuedPredictionOnce: a synchronous prediction that failed, and that stable
// made up for, is one error of the canary, though Replicate reports it as well;
// stable's own prediction counts for nobody.
func TestRescuedPredictionOnce(t *testing.T) {
	h := newHooked(t, nil)
	d := rollout(hookModel, 10_000)
	d.Outcomes, d.Generation = document.OutcomesWebhook, 2
	fallback := document.DefaultFallback()
	fallback.On |= document.OnFailed
	fallback.BreakerFailures = 0
	d.Fallback = &fallback
	h.write(d)
	require.NoError(t, h.upstream.SetBehavior(versionID(hookModel, document.Canary), upstream.Behavior{FailedRate: 1}))
	require.Eventually(t, func() bool {
		return h.predict(0, hookModel, "early").Header.Get("x-perch-fallback") == "failed"
	}, 2*settled, 50*time.Millisecond)

	h.upstream.ClearLog()
	r := h.predict(0, hookModel, "user")
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, document.Stable, r.Header.Get("x-perch-served-by"))
	var served links
	require.NoError(t, json.Unmarshal([]byte(r.Body), &served))
	h.follow("GET", served.URLs.Get, nil)
	failed := ""
	for _, e := range h.upstream.Log() {
		if e.Method == http.MethodPost && e.Version == versionID(hookModel, document.Canary) {
			failed = e.Prediction
		}
	}
	require.NotEmpty(t, failed)
	require.Eventually(t, func() bool { return h.endings("model:" + hookModel)[failed].Rows == 2 }, 10*time.Second, 50*time.Millisecond,
		"the request and the webhook")
	got := h.endings("model:" + hookModel)
	require.Equal(t, []string{"canary", "percentage", "failed", "error", "failed"},
		[]string{got[failed].Variant, got[failed].Reason, got[failed].Ended, got[failed].Outcome, got[failed].Class})
	require.Equal(t, 1.0, got[failed].Requests)
	require.NotContains(t, got, served.ID)
	rows := h.points(r.Header.Get("x-perch-trace"))
	for _, row := range rows {
		variant, err := row.Text(string(telemetry.Variant))
		require.NoError(t, err)
		require.Equal(t, document.Canary, variant)
	}
}
