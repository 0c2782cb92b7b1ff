// Command soak proves in minutes what tests cannot in seconds: that one isolate serves hundreds of streams and waiting
// requests while its core traps, that a body of 100 MB passes in constant memory, and that every one of many
// predictions is counted once. It ends with status 1 if something that must hold does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// options say how much to prove.
type options struct {
	only        string        // name of the one proof, or ""
	length      time.Duration // of crowd
	warmUp      time.Duration // of crowd, before that
	streams     int           // of crowd, at once
	waiting     int           // of crowd, at once
	trapEach    time.Duration // of crowd; 0 for no traps
	bodyBytes   int64         // of bodies
	predictions int           // of count
}

// proof is one of the command's.
type proof struct {
	name, intent string
	run          func(context.Context, options, *report) error
}

var proofs = []proof{
	{"crowd", "streams and waiting requests at once through one isolate, whose core traps every second", proveCrowd},
	{"bodies", "bodies of 100 MB in constant memory", proveBodies},
	{"count", "the outcome of every prediction counted once", proveCount},
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "prove only this: "+strings.Join(names(), ", "))
	flag.DurationVar(&o.length, "length", time.Minute, "how long the crowd goes on sending")
	flag.DurationVar(&o.warmUp, "warm-up", 30*time.Second, "how long it sends before memory is watched: the heap of a new process grows, whatever the worker")
	flag.IntVar(&o.streams, "streams", 200, "streams at once in the crowd")
	flag.IntVar(&o.waiting, "waiting", 500, "waiting requests at once in the crowd")
	flag.DurationVar(&o.trapEach, "trap-each", time.Second, "time between two traps of the crowd's core, 0 for none")
	flag.Int64Var(&o.bodyBytes, "body", 100_000_000, "bytes of a large body")
	flag.IntVar(&o.predictions, "predictions", 10_000, "predictions to count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "soak: %v\n", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, p := range proofs {
		all = append(all, p.name)
	}
	return all
}

// errViolated is the end of a run that went to its end and found something that does not hold.
var errViolated = errors.New("something that must hold does not")

func run(ctx context.Context, o options) error {
	if o.only != "" && !slices.Contains(names(), o.only) {
		return fmt.Errorf("check flags: there is no proof %s, use one of %v", o.only, names())
	}
	if o.streams < 1 || o.waiting < 1 || o.bodyBytes < 1 || o.predictions < 1 || o.length <= 0 {
		return errors.New("check flags: use numbers above 0")
	}
	r := &report{began: time.Now()}
	for _, p := range proofs {
		if o.only != "" && o.only != p.name {
			continue
		}
		r.begin(p)
		if err := p.run(ctx, o, r); err != nil {
			return fmt.Errorf("prove %s: %w", p.name, err)
		}
	}
	r.print(os.Stdout)
	if !r.holds() {
		return errViolated
	}
	return nil
}
