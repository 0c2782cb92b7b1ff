// Command bench measures in workerd what Perch's worker costs a request: CPU time beside the same shell with its
// decisions in JavaScript, routers written by hand, and no worker at all; what each of its features adds; and whether
// its memory levels off. It ends with status 1 if a limit is passed or a variant does not do its job.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

// options say how much to measure.
type options struct {
	rounds   int    // each with processes of its own
	blocks   int    // per round and scenario; in each, every variant has a turn
	requests int    // per turn
	warmUp   int    // requests before the first block, per scenario and variant
	memory   int    // requests of the memory run
	output   string // the JSON file
	only     string // name of the one scenario to measure, or ""
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == upstreamCommand {
		exit(serveUpstream())
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, each with new processes")
	flag.IntVar(&o.blocks, "blocks", 16, "blocks per round and scenario; in each, every variant has a turn")
	flag.IntVar(&o.requests, "requests", 100, "requests per turn")
	flag.IntVar(&o.warmUp, "warm-up", 1500, "requests per scenario and variant before the first block")
	flag.IntVar(&o.memory, "memory", 200_000, "requests of the memory run; 0 leaves it out")
	flag.StringVar(&o.output, "output", ".build/bench.json", "file for the figures")
	flag.StringVar(&o.only, "scenario", "", "measure only this scenario (model, version or http) or feature")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, o))
}

func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	os.Exit(1)
}

// errLimit is the end of a run that measured all and found a limit passed.
var errLimit = errors.New("a limit is passed")

func run(ctx context.Context, o options) error {
	began := time.Now()
	if o.rounds < 1 || o.blocks < 1 || o.requests < connections {
		return fmt.Errorf("check flags: use at least 1 round, 1 block and %d requests", connections)
	}
	if err := bundleAll(ctx); err != nil {
		return err
	}
	upstream, err := startUpstream(ctx)
	if err != nil {
		return err
	}
	defer upstream.stop()
	credentials, err := newCredentials()
	if err != nil {
		return err
	}
	report := report{Limits: limits, scenarios: scenarios(upstream.url), features: features(upstream.url, credentials)}
	if o.only != "" {
		report.scenarios = slices.DeleteFunc(report.scenarios, func(sc scenario) bool { return sc.name != o.only })
		report.features = slices.DeleteFunc(report.features, func(f feature) bool { return f.name != o.only })
	}
	if len(report.scenarios)+len(report.features) == 0 {
		return fmt.Errorf("check flags: there is no scenario or feature %s", o.only)
	}
	for round := range o.rounds {
		fmt.Printf("round %d of %d\n", round+1, o.rounds)
		samples, err := measureRound(ctx, o, upstream, report.scenarios, report.features, credentials)
		if err != nil {
			return fmt.Errorf("measure round %d: %w", round+1, err)
		}
		report.rounds = append(report.rounds, samples)
	}
	report.compare()
	report.print(os.Stdout)
	if o.memory > 0 && len(report.scenarios) > 0 {
		if report.Memory, err = measureMemory(ctx, o.memory, upstream, report.scenarios); err != nil {
			return fmt.Errorf("measure memory: %w", err)
		}
		report.Memory.print(os.Stdout)
	}
	if err := report.write(o.output); err != nil {
		return err
	}
	fmt.Printf("\n%s after %s\n", o.output, time.Since(began).Round(time.Second))
	if !report.holds() {
		return errLimit
	}
	return nil
}
