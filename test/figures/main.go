// Command figures simulates the rollouts that docs/figures.md tells of, and writes
// their figures into that page and into docs/figures.svg. It ends with status 1 if
// something that must hold does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
	"perch/orchestrator/simulate/figures"
	"perch/orchestrator/simulate/many"
	"perch/test/pages"
)

func main() {
	folder := flag.String("docs", "docs", "folder of figures.md and figures.svg")
	effort := flag.Float64("effort", 1, "share of the rollouts to simulate")
	only := flag.String("only", "", "section to write: table, healthy, worse or users; all by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *folder, *only, *effort); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// seed of all figures.
const seed = 1

// lab simulates, and collects what does not hold.
type lab struct {
	ctx      context.Context
	effort   float64
	failures []string
}

// run writes each section as soon as its figures are there, whatever holds, so
// that it can be looked at.
func run(ctx context.Context, folder, only string, effort float64) error {
	l := &lab{ctx: ctx, effort: effort}
	sections := []struct {
		name  string
		write func(*strings.Builder) error
	}{
		{"table", func(b *strings.Builder) error { return l.table(b, filepath.Join(folder, "figures.svg")) }},
		{"healthy", l.healthy},
		{"worse", l.worse},
		{"users", l.users},
	}
	written := 0
	for _, section := range sections {
		if only != "" && only != section.name {
			continue
		}
		written++
		var b strings.Builder
		if err := section.write(&b); err != nil {
			return err
		}
		if err := write(filepath.Join(folder, "figures.md"), section.name, b.String()); err != nil {
			return err
		}
	}
	if written == 0 {
		return fmt.Errorf("section %q is not known: give table, healthy, worse or users", only)
	}
	if len(l.failures) > 0 {
		return errors.New(strings.Join(l.failures, "; "))
	}
	return nil
}

// write puts a section into the page.
func write(page, section, content string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	replaced, err := pages.Replace(string(text), section, content)
	if err != nil {
		return err
	}
	if err := os.WriteFile(page, []byte(replaced), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// row simulates rollouts of one scenario.
func (l *lab) row(s simulate.Scenario, method judge.Method, runs int) (figures.Row, error) {
	runs = max(20, int(float64(runs)*l.effort))
	outcomes, err := many.Run(l.ctx, simulate.Figures(), method, s, runs, seed, nil)
	r := figures.Row{Scenario: s.Name, Rate: s.Rate, Bad: s.Bad(), Method: method, Tally: simulate.Sum(outcomes)}
	fmt.Fprintln(os.Stderr, r)
	return r, err
}

// must notes what does not hold.
func (l *lab) must(holds bool, format string, args ...any) {
	if !holds {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}
