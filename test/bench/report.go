package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// limit is the most that Perch may cost, as a multiple of another contestant's CPU time.
type limit struct {
	Against string  `json:"against"`
	Most    float64 `json:"most"`
}

// Against the router by hand it is what Perch's features cost today, so that no
// more creeps in: RATIONALE.md, "Why a WASM reactor".
var limits = []limit{{javascript, 1.05}, {handmade, 1.75}}

// report is what is printed and written.
type report struct {
	Limits    []limit  `json:"limits"`
	Scenarios []result `json:"scenarios"`
	Features  []cost   `json:"features"`
	Memory    *memory  `json:"memory,omitempty"`

	scenarios []scenario
	features  []feature
	rounds    []*round
}

// result is one scenario's.
type result struct {
	Scenario string             `json:"scenario"`
	Micros   map[string]float64 `json:"cpu_microseconds"` // median a request, by contestant
	Ratios   []ratio            `json:"ratios"`
}

// ratio compares Perch's CPU time with another contestant's in the same block.
type ratio struct {
	Against  string    `json:"against"`
	Blocks   int       `json:"blocks"`
	Median   float64   `json:"median"`
	Low      float64   `json:"low"` // 95 % interval of the median
	High     float64   `json:"high"`
	PerRound []float64 `json:"per_round"` // medians, each of its own processes
	Most     float64   `json:"most"`
}

func (r *ratio) holds() bool { return r.Median <= r.Most }

// verdict tells a limit that is kept or passed beyond doubt from one within the noise.
func (r *ratio) verdict() string {
	switch {
	case r.High <= r.Most:
		return "holds"
	case r.holds():
		return "holds, within the noise"
	case r.Low <= r.Most:
		return "PASSED, within the noise"
	}
	return "PASSED"
}

// compare fills the results from the rounds.
func (r *report) compare() {
	for _, sc := range r.scenarios {
		one := result{Scenario: sc.name, Micros: map[string]float64{}}
		pooled := map[string][]float64{}
		for _, round := range r.rounds {
			for name, micros := range round.compared[sc.name] {
				pooled[name] = append(pooled[name], micros...)
			}
		}
		for name, micros := range pooled {
			one.Micros[name] = median(micros)
		}
		for _, l := range r.Limits {
			paired := ratios(pooled[perch], pooled[l.Against])
			compared := ratio{Against: l.Against, Blocks: len(paired), Median: median(paired), Most: l.Most}
			compared.Low, compared.High = medianInterval(paired)
			for _, round := range r.rounds {
				compared.PerRound = append(compared.PerRound, median(ratios(round.compared[sc.name][perch], round.compared[sc.name][l.Against])))
			}
			one.Ratios = append(one.Ratios, compared)
		}
		r.Scenarios = append(r.Scenarios, one)
	}
	var pairs []map[string]*pair
	for _, round := range r.rounds {
		pairs = append(pairs, round.features)
	}
	r.Features = costs(r.features, pairs)
}

func (r *report) holds() bool {
	for _, result := range r.Scenarios {
		for _, ratio := range result.Ratios {
			if !ratio.holds() {
				return false
			}
		}
	}
	return r.Memory == nil || r.Memory.levelsOff()
}

func (r *report) print(w io.Writer) {
	if len(r.Scenarios) > 0 {
		r.printComparison(w)
	}
	if len(r.Features) > 0 {
		printCosts(w, r.Features)
	}
}

func (r *report) printComparison(w io.Writer) {
	fmt.Fprintln(w, "\nCPU time a request, microseconds of the workerd process (median of all blocks)")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\t")
	for _, sc := range r.scenarios {
		fmt.Fprintf(table, "%s\t", sc.name)
	}
	fmt.Fprintln(table)
	for _, v := range append(variants[:len(variants):len(variants)], upstreamItself) {
		fmt.Fprintf(table, "%s\t", v.title)
		for _, result := range r.Scenarios {
			fmt.Fprintf(table, "%.1f\t", result.Micros[v.name])
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintln(w, "\nPerch's CPU time as a multiple, paired by block")
	table = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tagainst\tmedian\t95 % interval\teach round\tat most\t")
	for _, result := range r.Scenarios {
		for _, c := range result.Ratios {
			fmt.Fprintf(table, "%s\t%s\t%.3f\t%.3f to %.3f\t%s\t%.2f\t%s\n",
				result.Scenario, c.Against, c.Median, c.Low, c.High, list(c.PerRound), c.Most, c.verdict())
		}
	}
	_ = table.Flush()
}

func list(xs []float64) string {
	texts := make([]string, len(xs))
	for i, x := range xs {
		texts[i] = fmt.Sprintf("%.3f", x)
	}
	return strings.Join(texts, " ")
}

func (r *report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
