package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// The models of the crowd, each with a stable and a canary version, and its plain model server.
const (
	chatModel  = "acme/chat" // streams
	lateModel  = "acme/late"
	longModel  = "acme/long" // answers at length
	lateServer = "late"
)

// longBytes is beyond what the worker reads whole, of a body and of an answer.
const longBytes = 200_000

// crowd is many clients of one isolate at once.
type crowd struct {
	*world
	o       options
	place   string
	until   time.Time    // nobody begins anything later
	numbers atomic.Int64 // given so far
	bodies  bodies       // that the upstream must have got

	streams, resumed, waits, longBodies, longAnswers, traps, calls atomic.Int64 // that ended
	predictions                                                    atomic.Int64 // that were made
	inStreams, inWaits                                             gauge
	streamFaults, waitFaults, trapFaults                           faults
}

func proveCrowd(ctx context.Context, o options, r *report) error {
	c, err := newCrowd(ctx, o)
	if err != nil {
		return err
	}
	defer c.close()
	memory, err := c.run(ctx, r)
	if err != nil {
		return err
	}
	r.noFaults("streams with a fault", &c.streamFaults)
	r.noFaults("waiting requests with a fault", &c.waitFaults)
	r.noFaults("requests that trap, with a fault", &c.trapFaults)
	r.tell("streams", "%d, of which %d resumed", c.streams.Load(), c.resumed.Load())
	r.tell("waiting requests", "%d, of which %d long bodies, %d long answers", c.waits.Load(), c.longBodies.Load(), c.longAnswers.Load())
	r.tell("under way at once, median", "%d streams, %d waiting requests", c.inStreams.median(), c.inWaits.median())
	c.bodies.check(r, c.upstream.Log())
	if err := c.checkTraps(ctx, r); err != nil {
		return err
	}
	if err := c.checkRecorded(ctx, r); err != nil {
		return err
	}
	return checkLevel(r, memory)
}

func newCrowd(ctx context.Context, o options) (*crowd, error) {
	bundle, err := trapBundle(ctx)
	defer os.RemoveAll(bundle)
	if err != nil {
		return nil, err
	}
	var c upstream.Catalog
	late := upstream.Lognormal(3*time.Second, 0.3)
	versions(&c, chatModel, true, upstream.Behavior{Latency: upstream.Lognormal(6*time.Second, 0.2)})
	versions(&c, lateModel, false, upstream.Behavior{Latency: late})
	versions(&c, longModel, false, upstream.Behavior{Latency: late, OutputBytes: longBytes})
	for _, arm := range []string{"-stable", "-canary"} {
		c.HTTP = append(c.HTTP, upstream.HTTPModel{Name: lateServer + arm, Behavior: upstream.Behavior{Latency: late}})
	}
	w, err := newWorld(ctx, worldOptions{worker: bundle, upstream: upstream.Options{Catalog: c}})
	if err != nil {
		return nil, err
	}
	const half = 5000
	err = w.write(ctx, modelRollout(chatModel, half), modelRollout(lateModel, half), modelRollout(longModel, half), w.serverRollout(lateServer, half))
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return &crowd{world: w, o: o, place: w.stack.Places[0].URL}, nil
}

// run lets everybody send until the time is over, and all that was begun end.
func (c *crowd) run(ctx context.Context, r *report) (*watch, error) {
	memory := watchMemory(c.stack.Places[0].PID, c.o.warmUp)
	c.until = time.Now().Add(c.o.warmUp + c.o.length)
	var everybody sync.WaitGroup
	while := func(f func(n int64)) {
		everybody.Go(func() {
			for time.Now().Before(c.until) && ctx.Err() == nil {
				f(c.numbers.Add(1))
			}
		})
	}
	for range c.o.streams {
		while(func(n int64) { c.stream(ctx, n) })
	}
	for i := range c.o.waiting {
		while(func(n int64) { c.wait(ctx, n, i) })
	}
	if c.o.trapEach > 0 {
		everybody.Go(func() { c.trapEach(ctx, c.o.trapEach) })
	}
	everybody.Go(func() { c.tellEach(ctx, 10*time.Second, memory, r) })
	everybody.Wait()
	return memory, ctx.Err()
}

// tellEach prints how far it is, and samples the gauges.
func (c *crowd) tellEach(ctx context.Context, every time.Duration, memory *watch, r *report) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for seconds := 1; time.Now().Before(c.until) && ctx.Err() == nil; seconds++ {
		<-ticker.C
		c.inStreams.sample()
		c.inWaits.sample()
		if time.Duration(seconds)*time.Second%every == 0 {
			r.say("%d streams and %d waiting requests ended, %d traps, %d faults, %.0f MB", c.streams.Load(), c.waits.Load(), c.traps.Load(),
				c.streamFaults.count()+c.waitFaults.count()+c.trapFaults.count(), float64(memory.now.Load())/MB)
		}
	}
}

// trapEach makes the core trap again and again. Who asked is served by stable.
func (c *crowd) trapEach(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var begun sync.WaitGroup
	defer begun.Wait()
	for time.Now().Before(c.until) && ctx.Err() == nil {
		<-ticker.C
		begun.Go(func() { c.trap(ctx, c.numbers.Add(1)) })
	}
}

func (c *crowd) trap(ctx context.Context, n int64) {
	served, err := c.create(ctx, lateModel, trapUser, n)
	if err == nil && served != document.Stable {
		err = fmt.Errorf("served by %s", served)
	}
	if err != nil {
		c.trapFaults.add("trap %d: %v", n, err)
	}
	c.traps.Add(1)
}

func (c *crowd) checkTraps(ctx context.Context, r *report) error {
	health, err := send(ctx, call{method: "GET", url: c.place + "/_perch/health"})
	if err != nil {
		return err
	}
	var told struct{ Traps int }
	if err := json.Unmarshal(health.body, &told); err != nil {
		return fmt.Errorf("read health: %w", err)
	}
	r.equal("traps", told.Traps, int(c.traps.Load()))
	return nil
}

// checkRecorded compares the points with what was sent.
func (c *crowd) checkRecorded(ctx context.Context, r *report) error {
	isRequest := fmt.Sprintf("%s = '%s'", telemetry.Kind, telemetry.KindRequest)
	isEnd := fmt.Sprintf("%s = '%s' AND %s = '%s'", telemetry.Kind, telemetry.KindPrediction, telemetry.Ended, telemetry.EndedSucceeded)
	sql := fmt.Sprintf("SELECT countIf(%s) AS requests, countIf(%s) AS ended FROM %s", isRequest, isEnd, c.stack.Dataset)
	requests, ended := 0, 0
	analytics := cloudflare.NewAnalytics(c.api)
	// What is written after an answer may come a little later.
	err := await(ctx, "points", 10*time.Second, func() (bool, error) {
		if _, err := c.stack.Flush(ctx); err != nil {
			return false, err
		}
		rows, err := analytics.Query(ctx, sql)
		if err != nil || len(rows) != 1 {
			return false, err
		}
		for name, into := range map[string]*int{"requests": &requests, "ended": &ended} {
			n, err := rows[0].Float(name)
			if err != nil {
				return false, err
			}
			*into = int(n)
		}
		return requests >= int(c.calls.Load()) && ended >= int(c.predictions.Load()), nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.say("%v", err)
	}
	r.equal("requests recorded", requests, int(c.calls.Load()))
	r.equal("predictions whose end is recorded", ended, int(c.predictions.Load()))
	return nil
}

// maxGrowth is how much larger memory may be in the last third of the time than in the middle one.
const maxGrowth = 0.10

func checkLevel(r *report, memory *watch) error {
	thirds, err := memory.thirds()
	if err != nil {
		return err
	}
	r.tell("workerd's memory by thirds", "%.0f, %.0f, %.0f MB", thirds[0]/MB, thirds[1]/MB, thirds[2]/MB)
	growth := thirds[2]/thirds[1] - 1
	r.check(growth <= maxGrowth, "growth from the middle third to the last", fmt.Sprintf("%+.1f %%", 100*growth), fmt.Sprintf("≤ %.0f %%", 100*maxGrowth))
	return nil
}
