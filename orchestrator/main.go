// Command orchestrator raises a canary step by step, judges it by what the edge
// measured, and promotes it or rolls it back.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"perch/orchestrator/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
