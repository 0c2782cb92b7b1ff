package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
	"perch/orchestrator/simulate/figures"
)

// table sets what is simulated beside what is published, and charts it.
func (l *lab) table(b *strings.Builder, chart string) error {
	fmt.Fprintln(b, "| scenario | N | *fixed* | published | this rule | published | requests hit by *fixed* | by this rule |\n|---|--:|---|---|---|---|--:|--:|")
	var rows []figures.Row
	for i, s := range simulate.Table() {
		var cells, hit []string
		for _, method := range methods {
			r, err := l.row(s, method, 1_000)
			if err != nil {
				return err
			}
			want := published[i].fixed
			if method == judge.Evidence {
				want = published[i].evidence
			}
			rows = append(rows, r)
			cells = append(cells, cell(r)+mark(r, want), want.String())
			hit = append(hit, figures.Count(r.Hit))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.Name, figures.Count(s.Rate), strings.Join(cells, " | "), strings.Join(hit, " | "))
	}
	return writeChart(chart, rows)
}

func writeChart(path string, rows []figures.Row) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write chart: %w", err)
	}
	if err := figures.WriteSVG(file, figures.Count(float64(rows[0].Runs))+" rollouts each: failed checks counted, and this rule", rows); err != nil {
		return err
	}
	return file.Close()
}

// cell is rolled back @ median minute / promoted, in percent.
func cell(r figures.Row) string {
	text := figures.Percent(simulate.ShareOf(r.RolledBack, r.Runs).Value)
	if r.RolledBack > 0 {
		text += " @ " + strconv.FormatFloat(r.RollbackMinute, 'f', -1, 64)
	}
	return text + " / " + figures.Percent(simulate.ShareOf(r.Promoted, r.Runs).Value)
}

func (f figure) String() string {
	text := strconv.FormatFloat(f.rolledBack, 'f', -1, 64)
	if f.minute > 0 {
		text += " @ " + strconv.FormatFloat(f.minute, 'f', -1, 64)
	}
	return text + " / " + strconv.FormatFloat(f.promoted, 'f', -1, 64)
}

// publishedRuns is the least number of rollouts that published figures are of.
const publishedRuns = 300

// differs reports that a row lies further from what is published than the errors
// of both samples and the rounding allow.
func differs(r figures.Row, want figure) bool {
	off := func(k int, percent float64) bool {
		p := float64(k) / float64(r.Runs)
		pooled := (p*float64(r.Runs) + percent/100*publishedRuns) / float64(r.Runs+publishedRuns)
		reach := 2.5*math.Sqrt(pooled*(1-pooled)*(1/float64(r.Runs)+1.0/publishedRuns)) + 0.005
		return math.Abs(p-percent/100) > reach
	}
	return off(r.RolledBack, want.rolledBack) || off(r.Promoted, want.promoted) || late(r, want)
}

// late does so for the median minute. Minutes are whole, and spread by about half
// their median; a median's error is 1.25 times that of a mean.
func late(r figures.Row, want figure) bool {
	if want.minute == 0 || r.RolledBack == 0 {
		return false
	}
	deviation := 1.25 * 0.5 * want.minute * math.Sqrt(1/float64(r.RolledBack)+100/(want.rolledBack*publishedRuns))
	return math.Abs(r.RollbackMinute-want.minute) > 1+2.5*deviation
}

func mark(r figures.Row, want figure) string {
	if differs(r, want) {
		return " **differs**"
	}
	return ""
}

// healthy counts the false rollbacks of canaries that are not worse.
func (l *lab) healthy(b *strings.Builder) error {
	fmt.Fprintln(b, "| scenario | N | rollouts | rolled back | at most, with 97.5 % confidence | promoted |\n|---|--:|--:|--:|--:|--:|")
	for _, s := range simulate.Healthy() {
		r, err := l.row(s, judge.Evidence, 500)
		if err != nil {
			return err
		}
		share := simulate.ShareOf(r.RolledBack, r.Runs)
		fmt.Fprintf(b, "| %s | %s | %s | %d | %s %% | %s %% |\n", s.Name, figures.Count(s.Rate), figures.Count(float64(r.Runs)), r.RolledBack,
			figures.Percent(share.High), figures.Percent(simulate.ShareOf(r.Promoted, r.Runs).Value))
		l.must(share.Value <= 0.01, "%s: %d of %d healthy rollouts were rolled back", s.Key(), r.RolledBack, r.Runs)
	}
	return nil
}

// worse counts the promotions of worse canaries.
func (l *lab) worse(b *strings.Builder) error {
	fmt.Fprint(b, "| canary |")
	for _, rate := range simulate.Rates {
		fmt.Fprintf(b, " N = %s |", figures.Count(rate))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(simulate.Rates)))
	var runs, promoted int
	cells := map[string][]string{}
	var names []string
	for _, s := range simulate.Matrix() {
		wanted := 50
		if s.Worse > 0 {
			wanted = 125
		}
		r, err := l.row(s, judge.Evidence, wanted)
		if err != nil {
			return err
		}
		if s.Worse > 0 {
			runs, promoted = runs+r.Runs, promoted+r.Promoted
			l.must(r.Promoted == 0, "%s: %d of %d worse canaries were promoted", s.Key(), r.Promoted, r.Runs)
		}
		if cells[s.Name] == nil {
			names = append(names, s.Name)
		}
		cells[s.Name] = append(cells[s.Name], cell(r))
	}
	for _, name := range names {
		fmt.Fprintf(b, "| %s | %s |\n", name, strings.Join(cells[name], " | "))
	}
	fmt.Fprintf(b, "\nOf %s canaries whose errors were 1 point or more above stable's, **%d** were promoted.\n", figures.Count(float64(runs)), promoted)
	return nil
}

// users counts the false rollbacks where users stick to their side and some fail
// whatever they do, and where traffic is sampled.
func (l *lab) users(b *strings.Builder) error {
	fmt.Fprintln(b, "| traffic | N | rollouts | rolled back | promoted |\n|---|--:|--:|--:|--:|")
	for _, s := range simulate.Awkward() {
		r, err := l.row(s, judge.Evidence, 200)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "| %s | %s | %s | %d | %s %% |\n", s.Name, figures.Count(s.Rate), figures.Count(float64(r.Runs)), r.RolledBack,
			figures.Percent(simulate.ShareOf(r.Promoted, r.Runs).Value))
		l.must(float64(r.RolledBack) <= 0.01*float64(r.Runs), "%s: %d of %d healthy rollouts were rolled back", s.Key(), r.RolledBack, r.Runs)
	}
	return nil
}
