// Command auto simulates rollouts whose steps are laid by their traffic, and writes
// what came of them, beside what their plans said, into docs/auto.md. It ends with
// status 1 if something that must hold does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"perch/test/pages"
)

func main() {
	page := flag.String("page", "docs/auto.md", "the page")
	effort := flag.Float64("effort", 1, "share of the rollouts to simulate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *page, *effort); err != nil {
		fmt.Fprintln(os.Stderr, "auto:", err)
		os.Exit(1)
	}
}

// run writes each section as soon as it is there, whatever holds, so that it can be
// looked at.
func run(ctx context.Context, path string, effort float64) error {
	l := &lab{ctx: ctx, effort: effort}
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	text := string(page)
	for _, section := range []struct {
		name  string
		write func(*strings.Builder) error
	}{{"ladders", ladders}, {"rollouts", l.rollouts}, {"promises", l.promises}} {
		var b strings.Builder
		if err := section.write(&b); err != nil {
			return err
		}
		if text, err = pages.Replace(text, section.name, b.String()); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	if len(l.failures) > 0 {
		return errors.New(strings.Join(l.failures, "; "))
	}
	return nil
}
