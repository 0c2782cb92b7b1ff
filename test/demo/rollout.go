package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"perch/shared/document"
	"perch/test/load"
)

const (
	requestsPerSecond = 300
	warmUp            = 5 * time.Second // connections and processes are cold at first, and start looks at stable's last seconds
	// kvSettled is when a write has reached every place: cacheTtl and the oldest age, scaled, with room to spare.
	kvSettled = 45*time.Second/timeScale + 500*time.Millisecond
)

// act is one rollout of the demo.
type act struct {
	title   string
	version string
	exit    int // of orchestrator run
}

// outcome is what the users of one rollout saw.
type outcome struct {
	act
	npm       map[string]npmArm
	load      *load.Result
	maxShare  int       // basis points, the most that the document ever gave the canary
	startedAt time.Time // first canary answer
	endedAt   time.Time // last canary answer
	late      int       // canary answers after the cache time had passed since the verdict
}

type npmArm struct{ OK, Failed int }

// rollout plays one act: traffic, start, run, and what came of it.
func (s *stage) rollout(ctx context.Context, a act) (outcome, error) {
	s.say("%s (version %s, %d requests a second and the npm client)", a.title, short(a.version), requestsPerSecond)
	o := outcome{act: a}
	generator, err := load.New(load.Options{
		Service: load.Model(s.worker(), token, model), Users: 20_000, RatePerSecond: requestsPerSecond, MaxInFlight: 200,
	})
	if err != nil {
		return o, err
	}
	traffic, stopTraffic := context.WithCancel(ctx)
	defer stopTraffic()
	var loading sync.WaitGroup
	loading.Go(func() { o.load = generator.Run(traffic) })
	stopClient, err := s.npmClient(traffic)
	if err != nil {
		return o, err
	}
	watch := s.watchShare(traffic, &loading)
	if err := wait(ctx, warmUp); err != nil {
		return o, err
	}
	warm := generator.Snapshot()
	err = s.orchestrator(ctx, exitDone, "start", "--canary", "version="+model+":"+a.version, model)
	if err == nil {
		err = s.orchestrator(ctx, a.exit, "run", model)
	}
	if err != nil {
		return o, err
	}
	if err := wait(ctx, kvSettled); err != nil {
		return o, err
	}
	settled := generator.Snapshot()
	if err := wait(ctx, 2*time.Second); err != nil {
		return o, err
	}
	o.late = generator.Snapshot().Since(settled).Arms[document.Canary].Calls()
	o.npm, err = stopClient()
	stopTraffic()
	loading.Wait()
	o.load = o.load.Since(warm)
	o.maxShare = watch()
	canary := o.load.Arms[document.Canary]
	o.startedAt, o.endedAt = canary.First, canary.Last
	return o, err
}

// watchShare looks at KV's document while the traffic runs; the function it
// returns tells the largest share, in basis points, after the traffic has ended.
func (s *stage) watchShare(ctx context.Context, group *sync.WaitGroup) func() int {
	most := 0
	group.Go(func() {
		for wait(ctx, 100*time.Millisecond) == nil {
			if d, err := s.document(ctx); err == nil {
				most = max(most, d.BasisPoints)
			}
		}
	})
	return func() int { return most }
}

// document reads the model's rollout document past every cache.
func (s *stage) document(ctx context.Context) (*document.Document, error) {
	values, err := s.stack.KVValues(ctx)
	if err != nil {
		return nil, err
	}
	return document.Parse([]byte(values[service.RolloutKey()]))
}

var service = document.Service{Kind: document.KindModel, Name: model}

// check says what did not end as it should have.
func (s *stage) check(ctx context.Context, good, bad outcome) error {
	d, err := s.document(ctx)
	if err != nil {
		return err
	}
	var wrong []string
	stable := d.Targets[d.Target(document.Stable)]
	if stable.VersionID() != v2 {
		wrong = append(wrong, "the good version is not stable")
	}
	if d.BasisPoints != 0 {
		wrong = append(wrong, "the bad canary still has a share")
	}
	if good.maxShare != 10_000 {
		wrong = append(wrong, "the good canary never had 100 %")
	}
	if bad.late > 0 {
		wrong = append(wrong, fmt.Sprintf("%d users got the bad version after the cache time had passed", bad.late))
	}
	for _, o := range []outcome{good, bad} {
		if len(o.npm) == 0 || o.load.Calls() == 0 {
			wrong = append(wrong, "there was no traffic")
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func short(version string) string { return version[:8] }

// shortened writes the version ids in a command's argument as people would.
func shortened(arg string) string {
	for _, id := range []string{v1, v2, v3} {
		arg = strings.ReplaceAll(arg, id, short(id)+"…")
	}
	return arg
}
