package main

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// samples are CPU times a request in microseconds, by scenario and contestant, one per block.
type samples map[string]map[string][]float64

// measureRound starts new processes and lets them take turns in random order, block by block.
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
		for _, turn := range rand.Perm(len(scenarios) * len(all)) {
			sc, c := &scenarios[turn/len(all)], all[turn%len(all)]
			micros, err := c.measure(ctx, sc, o.requests)
			if err != nil {
				return nil, err
			}
			measured[sc.name][c.name] = append(measured[sc.name][c.name], micros)
		}
	}
	for _, c := range all {
		if err := c.checkCounted(ctx); err != nil {
			return nil, err
		}
	}
	return measured, nil
}

// measure returns the CPU time a request, in microseconds, of one block.
func (c *contestant) measure(ctx context.Context, sc *scenario, requests int) (float64, error) {
	before, err := cpuTime(c.pid)
	if err != nil {
		return 0, err
	}
	if err := c.sendAll(ctx, sc, requests); err != nil {
		return 0, err
	}
	after, err := cpuTime(c.pid)
	if err != nil {
		return 0, err
	}
	if after <= before {
		return 0, fmt.Errorf("measure %s of %s: the process used no CPU time", sc.name, c.name)
	}
	return float64((after - before).Nanoseconds()) / 1e3 / float64(requests), nil
}
