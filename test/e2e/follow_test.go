package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// many is how many predictions are counted; 10,000 take some minutes.
var many = flag.Int("predictions", 400, "predictions that TestJudgeCountsEveryPredictionOnce makes")

// wide is a policy whose one step holds all that a test does: the judge stops
// counting where it decides, so nothing is past its limits.
const wide = `steps: [50, 100]
interval: 1s
look: 1s
bake: 30m
window: 30m
reference: 30m
history: 10s
lag: 1s
expire: 30m
unattended_after: 60m
deadline: 3h
metrics: {errors: {rollback: {absolute: 100}, promote: {absolute: 99}}, client_errors: off, latency_p50: off, latency_p95: off, total_p50: off, total_p95: off}
`

// counted is what the judge counts of one variant.
type counted struct {
	Requests, Errors float64
	Open             float64 // of the canary alone
}

// judged is what the judge's own SQL counts of a service since its step began.
func (w *world) judged(service string) map[string]counted {
	w.Helper()
	var status struct {
		Verdict struct {
			Open    float64
			Metrics []struct {
				Metric string
				Window struct {
					Canary, Stable float64
					CanaryRows     float64 `json:"canary_rows"`
					StableRows     float64 `json:"stable_rows"`
				}
			}
		}
	}
	r := w.orchestrate(exitDone, wide, "status", "--json", service)
	require.NoError(w, json.Unmarshal([]byte(r.stdout), &status), r.stdout)
	found := map[string]counted{}
	for _, m := range status.Verdict.Metrics {
		if n := m.Window; m.Metric == "errors" {
			found[document.Canary] = counted{n.CanaryRows, math.Round(n.Canary * n.CanaryRows), status.Verdict.Open}
			found[document.Stable] = counted{Requests: n.StableRows, Errors: math.Round(n.Stable * n.StableRows)}
		}
	}
	return found
}

// tally is what the test itself has seen: who was assigned to whom, and who answered.
type tally struct {
	mu          sync.Mutex
	predictions map[string]made // by id
}

type made struct{ service, variant, servedBy string }

// counts is what ought to be counted, by the upstream's word on each prediction.
func (w *world) counts(t *tally, service string) map[string]counted {
	found := map[string]counted{}
	for id, m := range t.predictions {
		if m.service != service {
			continue
		}
		c := found[m.variant]
		switch end := w.ended(id); {
		case m.servedBy != m.variant, end == "failed", end == "aborted":
			c.Requests, c.Errors = c.Requests+1, c.Errors+1
		case end == "succeeded":
			c.Requests++
		}
		found[m.variant] = c
	}
	return found
}

// TestJudgeCountsEveryPredictionOnce: whatever a client does after it made a
// prediction, the judge counts the prediction's end once, for the variant that it
// was assigned to; the upstream's own word is the oracle.
func TestJudgeCountsEveryPredictionOnce(t *testing.T) {
	const polls, hooks, places = "acme/polls", "acme/hooks", 2
	twin, err := upstream.New(upstream.Options{Seed: 1})
	require.NoError(t, err)
	w := newWorld(t, worldOptions{
		Models: []string{polls, hooks}, Places: places, Vars: map[string]string{"PERCH_PRIVATE_WEBHOOKS": "1"},
		Secrets:  map[string]string{"REPLICATE_WEBHOOK_SECRET": twin.WebhookSecret()},
		Upstream: func(o *upstream.Options) { o.AllowHTTPWebhooks = true },
	})
	for _, model := range []string{polls, hooks} {
		quick := upstream.Behavior{Latency: upstream.Latency{MedianMS: 20, Sigma: 0.3}, Queue: upstream.Fixed(5 * time.Millisecond)}
		require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Stable), quick))
		quick.FailedRate, quick.ErrorRate = 0.2, 0.1
		require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Canary), quick))
		require.NoError(t, w.upstream.SetFault(versionID(model, document.Canary), upstream.Fault{Name: upstream.FaultWebhookTwice, Rate: 1}))
	}
	// Without the breaker, who answered tells whether the canary was asked.
	w.begin(polls, wide+"edge: {fallback: {breaker_failures: 0}}\n")
	w.begin(hooks, wide+"edge: {outcomes: webhook, fallback: {on: [connect, reset, timeout, 5xx, failed], breaker_failures: 0}}\n")
	began := time.Now()
	for _, model := range []string{polls, hooks} {
		w.awaitShown(model, "50")
	}
	// The judge counts whole seconds: none that the step began in.
	require.Eventually(t, func() bool { return time.Now().Unix() > began.Unix() }, 2*time.Second, 10*time.Millisecond)
	w.upstream.ClearLog()
	all := &tally{predictions: map[string]made{}}
	w.parallel(*many, func(i int) { w.predictAndLeave(all, i, places, polls, hooks) })

	for _, model := range []string{polls, hooks} {
		for id, m := range all.predictions {
			if m.service == model {
				w.awaitEnd(id)
			}
		}
	}
	rescued, failed := map[string]int{}, map[string]int{}
	for _, m := range all.predictions {
		if m.servedBy != m.variant {
			rescued[m.service]++
		}
	}
	for _, e := range w.upstream.Log() {
		if e.Method == http.MethodPost && e.Status >= 500 {
			failed[map[bool]string{true: hooks, false: polls}[e.Version == versionID(hooks, document.Canary)]]++
		}
	}
	require.Equal(t, failed[polls], rescued[polls], "each error of the canary is one that stable rescued")
	require.Greater(t, rescued[hooks], failed[hooks], "and synchronous predictions that failed are too")
	require.Len(t, all.predictions, *many)

	for _, model := range []string{polls, hooks} {
		want := w.counts(all, model)
		var got map[string]counted
		agrees := func() bool {
			w.orchestrate(exitDone, wide, "follow", "--older-than", "1s", model)
			got = w.judged(model)
			return got[document.Canary] == want[document.Canary] && got[document.Stable] == want[document.Stable]
		}
		for until := time.Now().Add(2 * time.Minute); !agrees(); {
			require.True(t, time.Now().Before(until), "%s: want %+v, the judge counts %+v%s", model, want, got, w.unlike(all, model))
		}
		t.Logf("%s: %+v", model, want)
		r := w.orchestrate(exitDone, wide, "follow", "--older-than", "1s", model)
		require.Equal(t, "no prediction is without a known end\n", r.stdout)
		require.Greater(t, want[document.Canary].Errors, 0.0)
		require.Zero(t, want[document.Stable].Errors)
	}
}

// unlike lists the predictions of which SQL knows another end than the upstream,
// or not just one request.
func (w *world) unlike(t *tally, service string) (list string) {
	known := w.endings("model:" + service)
	for id, m := range t.predictions {
		if e := known[id]; m.service == service && m.servedBy == m.variant && (e.Ended != w.ended(id) || e.Requests != 1) {
			list += fmt.Sprintf("\n%s %+v ended %s: %+v", id, m, w.ended(id), e)
		}
	}
	return list
}

// predictAndLeave makes one prediction, and asks for its end in one of the ways
// in which clients do.
func (w *world) predictAndLeave(all *tally, i, places int, polls, hooks string) {
	model, way := polls, i%6
	if i%3 == 0 {
		model, way = hooks, i/3%6
	}
	headers := map[string]string{"x-user-id": fmt.Sprint("user-", i)}
	if way == 0 {
		headers["prefer"] = "wait"
	}
	r := w.do(call{Place: i % places, Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"one two three"}}`, Headers: headers})
	require.Equal(w, 201, r.Status, r.Body)
	var got links
	require.NoError(w, json.Unmarshal([]byte(r.Body), &got))
	all.mu.Lock()
	all.predictions[got.ID] = made{model, r.variant(), r.Header.Get("x-perch-served-by")}
	all.mu.Unlock()
	switch way {
	case 1, 2: // polls five times, by its URL or the bare id, mostly elsewhere than where it was made
		w.awaitEnd(got.ID)
		path := "/v1/predictions/" + got.ID
		if way == 1 {
			path = requestURI(w.T, got.URLs.Get)
		}
		for n := range 5 {
			require.Equal(w, 200, w.do(call{Place: (i + n) % places, Method: "GET", Path: path}).Status)
		}
	case 3:
		s := w.do(call{Place: (i + 1) % places, Method: "GET", Path: requestURI(w.T, got.URLs.Stream), Headers: map[string]string{"accept": "text/event-stream"}})
		require.Equal(w, 200, s.Status, s.Body)
	case 4:
		w.do(call{Place: i % places, Path: requestURI(w.T, got.URLs.Cancel)})
	}
}

// TestFollowUnderAHeldToken: predictions that clients made by API key, and left,
// are followed by the seal alone.
func TestFollowUnderAHeldToken(t *testing.T) {
	const model = "acme/held"
	w := heldWorld(t, worldOptions{Models: []string{model}})
	w.begin(model, wide+fmt.Sprintf(`edge:
  access:
    token: secret:REPLICATE_TOKEN
    keys: [{name: mobile, sha256: %x}]
`, sha256.Sum256([]byte("mobile-key"))))
	var r reply
	require.Eventually(t, func() bool {
		r = w.enter(model, map[string]string{"authorization": "Bearer mobile-key"})
		return r.Status == 201
	}, 10*time.Second, 20*time.Millisecond, "%s", r.Body)
	require.Eventually(t, func() bool {
		cmd := w.command(w.stack.API, wide, "follow", "--older-than", "1s", "--json", model)
		cmd.Env = append(cmd.Env, "REPLICATE_API_TOKEN=")
		follow := w.finish(cmd)
		require.Equal(t, exitDone, follow.exit, follow.stdout+follow.stderr)
		return w.judged(model)[r.variant()] == counted{Requests: 1}
	}, 20*time.Second, 300*time.Millisecond)
	require.NotContains(t, w.stack.Log(), heldToken)
}
