package main

import (
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"
)

// report is what was found, as it is printed in the end.
type report struct {
	began time.Time
	proof string
	lines []line
}

// line is one thing that must hold.
type line struct {
	proof, what, saw, must string
	holds                  bool
}

func (r *report) begin(p proof) {
	r.proof = p.name
	r.say("%s", p.intent)
}

// say prints progress.
func (r *report) say(format string, args ...any) {
	fmt.Printf("%5.0f s  %-7s %s\n", time.Since(r.began).Seconds(), r.proof, fmt.Sprintf(format, args...))
}

// check notes what was seen of something, and what of it must hold.
func (r *report) check(holds bool, what, saw, must string) {
	r.lines = append(r.lines, line{r.proof, what, saw, must, holds})
}

// equal notes two numbers that must be the same.
func (r *report) equal(what string, saw, must int) {
	r.check(saw == must, what, fmt.Sprint(saw), fmt.Sprint(must))
}

// tell notes a figure of which nothing must hold.
func (r *report) tell(what, format string, args ...any) {
	r.check(true, what, fmt.Sprintf(format, args...), "")
}

// noFaults notes the faults of a kind, of which there must be none.
func (r *report) noFaults(what string, f *faults) {
	for _, text := range f.first {
		r.say("%s", text)
	}
	r.check(f.n == 0, what, fmt.Sprint(f.n), "0")
}

func (r *report) holds() bool {
	for _, l := range r.lines {
		if !l.holds {
			return false
		}
	}
	return true
}

func (r *report) print(w io.Writer) {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "proof\twhat\tsaw\tmust be\t")
	for _, l := range r.lines {
		verdict := ""
		switch {
		case !l.holds:
			verdict = "VIOLATED"
		case l.must != "":
			verdict = "holds"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.proof, l.what, l.saw, l.must, verdict)
	}
	table.Flush()
	fmt.Fprintf(w, "\nafter %s\n", time.Since(r.began).Round(time.Second))
}

// faults counts what went wrong and keeps the first few. It may be used concurrently.
type faults struct {
	mu    sync.Mutex
	n     int
	first []string
}

const faultsShown = 10

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if len(f.first) < faultsShown {
		f.first = append(f.first, fmt.Sprintf(format, args...))
	}
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}
