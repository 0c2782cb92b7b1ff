package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"perch/shared/document"
)

// printTable tells what the users of both rollouts saw, load and npm client together.
func printTable(out io.Writer, good, bad outcome) {
	fmt.Fprintln(out, "\n── What users saw")
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tgood canary\tbad canary\t")
	row := func(name string, cell func(outcome) string) {
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", name, cell(good), cell(bad))
	}
	for _, arm := range []string{document.Stable, document.Canary} {
		row("requests on "+arm, func(o outcome) string { calls, _ := o.calls(arm); return fmt.Sprint(calls) })
		row("of them failed", func(o outcome) string { _, failed := o.calls(arm); return fmt.Sprint(failed) })
		row("p95 latency", func(o outcome) string {
			latency := o.load.Arms[arm].Latency
			return latency.Quantile(0.95).Round(time.Millisecond).String()
		})
	}
	row("largest canary share", func(o outcome) string { return document.FormatPercentage(o.maxShare) + " %" })
	row("canary's part of all requests", func(o outcome) string { return fmt.Sprintf("%.1f %%", 100*o.load.Share(document.Canary)) })
	row("time to roll back", func(o outcome) string {
		if o.exit != exitRolledBack {
			return "–"
		}
		return seconds(o.endedAt.Sub(o.startedAt)) // from the first canary answer to the last
	})
	row("ended", func(o outcome) string {
		if o.exit == exitRolledBack {
			return "rolled back"
		}
		return "promoted"
	})
	w.Flush()
}

// calls counts an arm's calls, the npm client's included, and how many of them failed.
func (o outcome) calls(arm string) (calls, failed int) {
	a, npm := o.load.Arms[arm], o.npm[arm]
	return a.Calls() + npm.OK + npm.Failed, a.Failed + npm.Failed
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
