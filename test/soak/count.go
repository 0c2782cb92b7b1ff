package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// The services whose predictions are counted: one whose outcomes are learnt from what passes through, and one that has
// webhooks of them, each of which comes twice.
const (
	pollModel = "acme/polls"
	hookModel = "acme/hooks"
)

var (
	countedModels = []string{pollModel, hookModel}
	arms          = []string{document.Stable, document.Canary}
)

// widePolicy has a step that lasts longer than the proof, and limits that nothing is past: the judge stops counting where it decides.
const widePolicy = `steps: [50, 100]
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

func policyOf(model string) string {
	if model == hookModel {
		return widePolicy + "edge: {outcomes: webhook}\n"
	}
	return widePolicy
}

// census makes predictions and leaves them in all the ways in which clients do.
type census struct {
	*world
	x      *orchestrator
	places []string
	faults faults
	ways   [ways]atomic.Int64
}

func proveCount(ctx context.Context, o options, r *report) error {
	c, err := newCensus(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.x.close()
	c.makeAll(ctx, o.predictions, r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.noFaults("calls with a fault", &c.faults)
	for way := range c.ways {
		r.tell(wayNames[way], "%d", c.ways[way].Load())
	}
	truth, err := c.truth(ctx)
	if err != nil {
		return err
	}
	made := 0
	for _, model := range countedModels {
		for _, arm := range arms {
			made += truth[model][arm].all()
		}
	}
	r.equal("predictions asked for, by the upstream's log", made, o.predictions)
	for _, model := range countedModels {
		if err := c.compare(ctx, model, truth[model], r); err != nil {
			return err
		}
	}
	return nil
}

func newCensus(ctx context.Context) (*census, error) {
	var catalog upstream.Catalog
	for _, model := range countedModels {
		versions(&catalog, model, true, upstream.Behavior{Latency: upstream.Lognormal(20*time.Millisecond, 0.3), Queue: upstream.Fixed(5 * time.Millisecond)})
	}
	for i := range catalog.Versions {
		v := &catalog.Versions[i]
		v.Behavior.FailedRate = 0.03
		if v.ID == upstream.VersionID(v.Model, document.Canary) {
			v.Behavior.FailedRate, v.Behavior.ErrorRate = 0.15, 0.05
		}
	}
	w, err := newWorld(ctx, worldOptions{places: 2, upstream: upstream.Options{Catalog: catalog, AllowHTTPWebhooks: true, LogLimit: 500_000}})
	if err != nil {
		return nil, err
	}
	x, err := newOrchestrator(w)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	c := &census{world: w, x: x}
	for _, place := range w.stack.Places {
		c.places = append(c.places, place.URL)
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return c, nil
}

// start begins a rollout of each model, which is at 50 % at once.
func (c *census) start(ctx context.Context) error {
	for _, model := range countedModels {
		for _, arm := range arms {
			err := c.upstream.SetFault(upstream.VersionID(model, arm),
				upstream.Fault{Name: upstream.FaultAborted, Rate: 0.05}, upstream.Fault{Name: upstream.FaultCanceled, Rate: 0.05},
				upstream.Fault{Name: upstream.FaultWebhookTwice, Rate: 1})
			if err != nil {
				return err
			}
		}
		stable, canary := "version="+reference(model, document.Stable), "version="+reference(model, document.Canary)
		if _, err := c.x.run(ctx, policyOf(model), "init", "--stable", stable, model); err != nil {
			return err
		}
		if _, err := c.x.run(ctx, policyOf(model), "start", "--canary", canary, model); err != nil {
			return err
		}
		if err := c.awaitShown(ctx, "model:"+model, 50); err != nil {
			return err
		}
	}
	// A step is judged by whole seconds: that in which it began is not one of its own.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	return nil
}

const (
	waits = iota
	pollsByID
	pollsByURL
	listens
	cancels
	leaves
	ways
)

var wayNames = [ways]string{
	"predictions waited for", "polled five times by the bare id", "polled five times by urls.get", "streamed", "canceled", "never asked about",
}

// makeAll makes n predictions, some at once.
func (c *census) makeAll(ctx context.Context, n int, r *report) {
	const atOnce = 24
	var next atomic.Int64
	var makers sync.WaitGroup
	for range atOnce {
		makers.Go(func() {
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				if err := c.makeOne(ctx, int(i)); err != nil {
					c.faults.add("prediction %d: %v", i, err)
				}
				if i%1000 == 0 {
					r.say("%d predictions, %d faults", i, c.faults.count())
				}
			}
		})
	}
	makers.Wait()
}

func (c *census) makeOne(ctx context.Context, i int) error {
	model, way := pollModel, i%ways
	if i/ways%3 == 0 {
		model = hookModel
	}
	c.ways[way].Add(1)
	headers := map[string]string{}
	if way == waits {
		headers["prefer"] = "wait"
	}
	place := func(n int) string { return c.places[(i/ways+n)%len(c.places)] }
	r, err := send(ctx, call{
		method: http.MethodPost, url: place(0) + "/v1/models/" + model + "/predictions", user: fmt.Sprint("user-", i),
		headers: headers, body: strings.NewReader(`{"input":{"prompt":"one two three"}}`),
	})
	if err != nil {
		return err
	}
	p, err := r.prediction()
	if err != nil {
		return err
	}
	switch way {
	case pollsByID:
		return c.poll(ctx, func(n int) (string, error) { return place(n) + "/v1/predictions/" + p.ID, nil })
	case pollsByURL:
		return c.poll(ctx, func(n int) (string, error) { return at(place(n), p.URLs.Get) })
	case listens:
		return c.expect(ctx, call{method: http.MethodGet, url: p.URLs.Stream, headers: map[string]string{"accept": "text/event-stream"}})
	case cancels:
		return c.expect(ctx, call{method: http.MethodPost, url: p.URLs.Cancel})
	}
	return nil
}

// poll asks, mostly elsewhere than where the prediction was made, until five answers have told its end.
func (c *census) poll(ctx context.Context, where func(n int) (string, error)) error {
	ended := 0
	for n := 0; ended < 5; n++ {
		url, err := where(n)
		if err != nil {
			return err
		}
		r, err := send(ctx, call{method: http.MethodGet, url: url})
		if err != nil {
			return err
		}
		p, err := r.prediction()
		if err != nil {
			return err
		}
		if p.Status != "starting" && p.Status != "processing" {
			ended++
		}
	}
	return nil
}

func (c *census) expect(ctx context.Context, request call) error {
	r, err := send(ctx, request)
	if err == nil && r.status != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", request.method, r.status, r.body)
	}
	return err
}

// settle is how long it may take until all ends are known: one look of follow asks about 300 predictions.
const settle = time.Minute

// compare follows what nobody asked about, as a schedule would, and holds the judge's count against the truth.
func (c *census) compare(ctx context.Context, model string, truth map[string]*arm, r *report) error {
	policy := policyOf(model)
	var got map[string]judged
	var said string
	looks := 0
	err := await(ctx, "all ends of "+model, settle, func() (bool, error) {
		followed, err := c.x.run(ctx, policy, "follow", "--older-than", "1s", model)
		if err != nil {
			return false, err
		}
		if looks++; said != followed {
			r.say("%s: %s", model, strings.TrimSpace(followed))
			said = followed
		}
		if _, err := c.stack.Flush(ctx); err != nil {
			return false, err
		}
		got, err = c.x.judge(ctx, policy, model)
		return err == nil && agree(got, truth), err
	})
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		r.say("%v", err)
	}
	r.tell(model+": looks of follow", "%d", looks)
	for _, name := range arms {
		r.equal(model+", "+name+": counted by the judge", int(got[name].Requests), int(truth[name].judged().Requests))
		r.equal(model+", "+name+": counted as errors", int(got[name].Errors), int(truth[name].judged().Errors))
		r.equal(model+", "+name+": end unknown", int(got[name].Open), 0)
	}
	return c.compareEnds(ctx, model, truth, r)
}

func agree(got map[string]judged, truth map[string]*arm) bool {
	for name, want := range truth {
		if got[name] != want.judged() {
			return false
		}
	}
	return true
}

// compareEnds holds the ends that are recorded of each prediction against the upstream's word.
func (c *census) compareEnds(ctx context.Context, model string, truth map[string]*arm, r *report) error {
	rows, err := cloudflare.NewAnalytics(c.api).Query(ctx, fmt.Sprintf(
		"SELECT %s AS prediction, %s AS ended, count() AS times FROM %s WHERE %s = 'model:%s' AND %s = '%s' GROUP BY prediction, ended LIMIT 1000000",
		telemetry.Prediction, telemetry.Ended, c.stack.Dataset, telemetry.Service, model, telemetry.Kind, telemetry.KindPrediction))
	if err != nil {
		return err
	}
	recorded := map[string][]string{}
	sightings := 0
	for _, row := range rows {
		id, err := row.Text("prediction")
		if err != nil {
			return err
		}
		ended, err := row.Text("ended")
		if err != nil {
			return err
		}
		times, err := row.Float("times")
		if err != nil {
			return err
		}
		recorded[id] = append(recorded[id], ended)
		sightings += int(times)
	}
	r.tell(model+": ends recorded", "%d times, of %d predictions", sightings, len(recorded))
	for _, name := range arms {
		got := map[string]int{}
		var others faults
		for id, ended := range truth[name].ended {
			if slices.Equal(recorded[id], []string{ended}) {
				got[ended]++
			} else {
				others.add("prediction %s ended as %s, recorded is %q", id, ended, recorded[id])
			}
		}
		r.noFaults(model+", "+name+": recorded otherwise", &others)
		for _, ended := range slices.Sorted(maps.Keys(truth[name].tally())) {
			r.equal(fmt.Sprintf("%s, %s: recorded as %s", model, name, ended), got[ended], truth[name].tally()[ended])
		}
	}
	return nil
}
