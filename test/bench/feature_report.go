package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// cost is what a feature adds to the plain pass of the same request.
type cost struct {
	Feature  string    `json:"feature"`
	Title    string    `json:"title"`
	Plain    float64   `json:"plain_cpu_microseconds"` // median a request
	Adds     float64   `json:"adds_cpu_microseconds"`  // median of the blocks' differences
	Ratio    float64   `json:"ratio"`                  // median of the blocks' ratios
	Low      float64   `json:"low"`                    // 95 % interval of that
	High     float64   `json:"high"`
	PerRound []float64 `json:"per_round"`
	Blocks   int       `json:"blocks"`
}

// costs compares the features' requests with the plain ones of the same block.
func costs(all []feature, rounds []map[string]*pair) []cost {
	var list []cost
	for _, f := range all {
		pooled := pair{}
		c := cost{Feature: f.name, Title: f.title}
		for _, round := range rounds {
			p := round[f.name]
			pooled.plain, pooled.with = append(pooled.plain, p.plain...), append(pooled.with, p.with...)
			c.PerRound = append(c.PerRound, median(ratios(p.with, p.plain)))
		}
		differences := make([]float64, len(pooled.plain))
		for i := range differences {
			differences[i] = pooled.with[i] - pooled.plain[i]
		}
		paired := ratios(pooled.with, pooled.plain)
		c.Plain, c.Adds, c.Ratio, c.Blocks = median(pooled.plain), median(differences), median(paired), len(paired)
		c.Low, c.High = medianInterval(paired)
		list = append(list, c)
	}
	return list
}

func printCosts(w io.Writer, all []cost) {
	fmt.Fprintln(w, "\nWhat features cost: CPU time a request, microseconds, beside the plain pass of the same request, paired by block")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "feature\tplain\tadds\tmultiple\t95 % interval\teach round\t")
	for _, c := range all {
		fmt.Fprintf(table, "%s\t%.0f\t%+.0f\t%.3f\t%.3f to %.3f\t%s\t\n", c.Title, c.Plain, c.Adds, c.Ratio, c.Low, c.High, list(c.PerRound))
	}
	_ = table.Flush()
}
