package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"perch/test/process"
)

// samples are CPU times a request in microseconds, by scenario and contestant, one per block.
type samples map[string]map[string][]float64

// round is what one set of processes showed.
type round struct {
	compared samples
	features map[string]*pair
}

// measureRound starts new processes and lets them take turns, block by block.
func measureRound(ctx context.Context, o options, up *upstream, scenarios []scenario, features []feature, cr *credentials) (*round, error) {
	all, err := startContestants(ctx, up, scenarios)
	if err != nil {
		return nil, err
	}
	defer stopContestants(all)
	featured, err := startFeatured(ctx, up, features, cr)
	if err != nil {
		return nil, err
	}
	defer stopContestants([]*contestant{featured})
	if err := check(ctx, all, scenarios); err != nil {
		return nil, err
	}
	if err := featured.checkFeatures(ctx, features); err != nil {
		return nil, err
	}
	measured := &round{compared: samples{}, features: map[string]*pair{}}
	for i := range features {
		measured.features[features[i].name] = &pair{}
	}
	if err := featured.warmUpFeatures(ctx, features, o.warmUp/featureWarmUp); err != nil {
		return nil, err
	}
	for i := range scenarios {
		measured.compared[scenarios[i].name] = map[string][]float64{}
		for _, c := range all {
			if err := c.sendAll(ctx, &scenarios[i], o.warmUp); err != nil {
				return nil, err
			}
		}
	}
	for block := range o.blocks {
		for _, i := range rand.Perm(len(scenarios)) {
			if err := measureBlock(ctx, all, &scenarios[i], o.requests, measured.compared[scenarios[i].name]); err != nil {
				return nil, err
			}
		}
		if block%featureEvery != 0 {
			continue
		}
		for _, i := range rand.Perm(len(features)) {
			f := &features[i]
			if err := featured.measureFeature(ctx, f, o.requests, measured.features[f.name]); err != nil {
				return nil, fmt.Errorf("measure feature %s: %w", f.name, err)
			}
		}
	}
	for _, c := range append(all, featured) {
		if err := c.checkCounted(ctx); err != nil {
			return nil, err
		}
	}
	return measured, nil
}

// featureWarmUp is how many times fewer requests warm a feature up than a scenario: most of their code is the same.
const featureWarmUp = 6

// featureEvery is after how many blocks of the comparison the features have one.
const featureEvery = 2

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
