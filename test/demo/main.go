// Command demo shows Perch's main job on a local Cloudflare: a good canary is
// raised to 100 % and promoted, a bad one is rolled back to 0. It exits with 0
// only if both ended so.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout, stderr *os.File) (err error) {
	fmt.Fprintln(stdout, "Starting a local Cloudflare (workerd, KV, Analytics Engine) and a stand-in for Replicate …")
	s, err := openStage(ctx, stdout, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	fmt.Fprintf(stdout, "worker  %s\nAPI     %s\nmodel   %s, version %s\n", s.worker(), s.stack.API, model, short(v1))

	s.say("The first document: everyone on version %s", short(v1))
	if err := s.firstDocument(ctx, v1); err != nil {
		return err
	}
	good, err := s.rollout(ctx, act{
		title: "A good canary: as fast and as reliable as stable", version: v2, exit: exitDone,
	})
	if err != nil {
		return err
	}
	bad, err := s.rollout(ctx, act{
		title: "A bad canary: 5 points more errors, latency × 1.6", version: v3, exit: exitRolledBack,
	})
	if err != nil {
		return err
	}
	printTable(stdout, good, bad)
	if err := s.check(ctx, good, bad); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "\nBoth ended as they should: the good version was promoted, the bad one rolled back.")
	return nil
}
