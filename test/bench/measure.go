package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"perch/test/process"
)

// samples are CPU times a request in microseconds, by scenario and contestant, one per block.
type samples map[string]map[string][]float64

// measureRound starts new processes and lets them take turns, block by block.
func measureRound(ctx context.Context, o options, up *upstream, scenarios []scenario) (samples, error) {
	all, err := startContestants(ctx, up, scenarios)
	if err != nil {
		return nil, err
	}
	defer stopContestants(all)
	if err := check(ctx, all, scenarios); err != nil {
		return nil, err
	}
	measured := samples{}
	for i := range scenarios {
		measured[scenarios[i].name] = map[string][]float64{}
		for _, c := range all {
			if err := c.sendAll(ctx, &scenarios[i], o.warmUp); err != nil {
				return nil, err
			}
		}
	}
	for range o.blocks {
		for _, i := range rand.Perm(len(scenarios)) {
			if err := measureBlock(ctx, all, &scenarios[i], o.requests, measured[scenarios[i].name]); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range all {
		if err := c.checkCounted(ctx); err != nil {
			return nil, err
		}
	}
	return measured, nil
}

// measureBlock lets all contestants take their turns in random order, one right after the other: whatever else runs on
// the machine changes over seconds and touches all alike.
func measureBlock(ctx context.Context, all []*contestant, sc *scenario, requests int, into map[string][]float64) error {
	for _, i := range rand.Perm(len(all)) {
		micros, err := all[i].measure(ctx, sc, requests)
		if err != nil {
			return err
		}
		into[all[i].name] = append(into[all[i].name], micros)
	}
	return nil
}

// measure returns the CPU time a request, in microseconds, of one turn.
func (c *contestant) measure(ctx context.Context, sc *scenario, requests int) (float64, error) {
	before, err := process.CPUTime(c.pid)
	if err != nil {
		return 0, err
	}
	if err := c.sendAll(ctx, sc, requests); err != nil {
		return 0, err
	}
	after, err := process.CPUTime(c.pid)
	if err != nil {
		return 0, err
	}
	if after <= before {
		return 0, fmt.Errorf("measure %s of %s: the process used no CPU time", sc.name, c.name)
	}
	return float64((after - before).Nanoseconds()) / 1e3 / float64(requests), nil
}
