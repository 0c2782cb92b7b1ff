package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// pair are CPU times a request in microseconds, one of each per block.
type pair struct{ plain, with []float64 }

// startFeatured starts one worker for all features.
func startFeatured(ctx context.Context, up *upstream, all []feature, c *credentials) (*contestant, error) {
	var scenarios []scenario
	for i := range all {
		scenarios = append(scenarios, all[i].plain, all[i].with)
	}
	return startContestant(ctx, variants[0], up, scenarios, c.secrets)
}

// checkFeatures proves that every feature does what is measured, and that the plain request does not.
func (c *contestant) checkFeatures(ctx context.Context, all []feature) error {
	for i := range all {
		if err := c.checkFeature(ctx, &all[i]); err != nil {
			return fmt.Errorf("check feature %s: %w", all[i].name, err)
		}
	}
	return nil
}

func (c *contestant) checkFeature(ctx context.Context, f *feature) error {
	if f.refused != nil {
		if a, err := c.client.do(ctx, f.refused, c.client.sent.Add(1), 1, true); err != nil || a.status != 401 {
			return fmt.Errorf("a wrong credential was answered %d %s: %w", a.status, a.body, err)
		}
	}
	for _, sc := range []scenario{f.plain, f.with} {
		a, err := c.sendOne(ctx, sc, f.echo)
		if err != nil {
			return err
		}
		if isWith := sc.path == f.with.path && sc.header[askHeader] == f.with.header[askHeader]; f.proof != nil && f.proof(&a) != isWith {
			return fmt.Errorf("proof of %s: want %t of %d %v %.2000s", sc.name, isWith, a.status, a.header, a.body)
		}
	}
	return nil
}

// sendOne sends a scenario's request once, which counts like a timed one unless it is to be echoed.
func (c *contestant) sendOne(ctx context.Context, sc scenario, echo bool) (answered, error) {
	if echo {
		header := map[string]string{}
		for name, value := range sc.header {
			header[name] = value
		}
		header[askHeader] = askEcho
		sc.header = header
	}
	a, err := c.client.do(ctx, &sc, c.client.sent.Add(1), 1, true)
	if err != nil {
		return a, err
	}
	if a.status >= 400 {
		return a, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if !echo {
		count(c.routed, &sc, a.variant)
	}
	return a, nil
}

func (f *feature) requests(usual int) int { return max(connections, usual/max(1, f.share)) }

// warmUp lets the code of every feature become warm.
func (c *contestant) warmUpFeatures(ctx context.Context, all []feature, requests int) error {
	for i := range all {
		for _, sc := range []*scenario{&all[i].plain, &all[i].with} {
			if err := c.sendAll(ctx, sc, all[i].requests(requests)); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureFeature lets a feature's two requests take turns in random order.
func (c *contestant) measureFeature(ctx context.Context, f *feature, requests int, into *pair) error {
	turns := []func() error{
		func() error { return c.measureInto(ctx, &f.plain, f.requests(requests), &into.plain) },
		func() error { return c.measureInto(ctx, &f.with, f.requests(requests), &into.with) },
	}
	rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	return errors.Join(turns[0](), turns[1]())
}

func (c *contestant) measureInto(ctx context.Context, sc *scenario, requests int, into *[]float64) error {
	micros, err := c.measure(ctx, sc, requests)
	*into = append(*into, micros)
	return err
}
