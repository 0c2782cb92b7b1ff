package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
)

// verdictLines are what a verdict says beside its sentence: a name and a text each.
func verdictLines(v judge.Verdict) [][2]string {
	lines := [][2]string{{"needs", needs(v)}, {"traffic", traffic(v)}, {"frozen", v.Frozen}, {"split", v.Mismatch}, {"collapse", v.Collapse}, {"problem", v.Problem}}
	var given [][2]string
	for _, line := range lines {
		isSaid := strings.Contains(v.Reason, line[1]) || line[0] == "needs" && strings.Contains(v.Reason, "more canary request")
		if line[1] != "" && !isSaid {
			given = append(given, line)
		}
	}
	return given
}

// needs is what a promotion still takes, or "".
func needs(v judge.Verdict) string {
	m := v.Missing
	if m == nil || m.CanaryRequests <= 0 {
		return ""
	}
	text := fmt.Sprintf("about %s for %s", judge.FormatCount(m.CanaryRequests, "more canary request"), title(m.For))
	if m.Duration > 0 {
		text += ", some " + judge.FormatDuration(roughly(time.Duration(float64(m.Duration)*float64(time.Second)))) + " at the present traffic"
	}
	return text
}

// roughly drops the digits that an estimate does not have.
func roughly(d time.Duration) time.Duration {
	switch {
	case d > 2*time.Hour:
		return d.Round(10 * time.Minute)
	case d > 2*time.Minute:
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}

func traffic(v judge.Verdict) string {
	if v.Traffic.CanaryPerSecond == 0 && v.Traffic.StablePerSecond == 0 {
		return ""
	}
	return fmt.Sprintf("canary %.3g/s, stable %.3g/s", v.Traffic.CanaryPerSecond, v.Traffic.StablePerSecond)
}

// title is a metric's name for people.
func title(m judge.Metric) string { return strings.ReplaceAll(string(m), "_", " ") }

// evidence is how far the tests of one aim have come.
type evidence struct {
	log, needed float64 // natural logarithms
	known       bool
}

// rollbackEvidence is of the part that is furthest from what a rollback needs: it
// needs each.
func rollbackEvidence(a judge.Assessment) evidence {
	var weakest evidence
	for _, t := range a.Tests {
		if !strings.HasPrefix(t.Name, "rollback.") {
			continue
		}
		e := evidence{t.Log, t.NeededLog, true}
		if !weakest.known || e.share() < weakest.share() {
			weakest = e
		}
	}
	return weakest
}

// promoteEvidence is the mean of the parts' evidence, which a promotion needs.
func promoteEvidence(a judge.Assessment) evidence {
	var logs []float64
	mean := evidence{log: math.Inf(-1)}
	for _, t := range a.Tests {
		if strings.HasPrefix(t.Name, "promote.") {
			logs, mean.needed, mean.known = append(logs, t.Log), t.NeededLog, true
			mean.log = max(mean.log, t.Log)
		}
	}
	sum := 0.0
	for _, log := range logs {
		sum += math.Exp(log - mean.log)
	}
	if mean.known && !math.IsInf(mean.log, -1) {
		mean.log += math.Log(sum / float64(len(logs)))
	}
	return mean
}

// share is how much of what is needed is there, 0 to 1, in logarithms: evidence
// grows by factors.
func (e evidence) share() float64 {
	if !e.known || e.needed <= 0 || math.IsNaN(e.log) {
		return 0
	}
	return min(1, max(0, e.log/e.needed))
}

// text writes evidence as "14 of 20×".
func (e evidence) text() string {
	if !e.known {
		return "–"
	}
	return fmt.Sprintf("%s of %s×", factor(e.log), factor(e.needed))
}

// factor writes what a logarithm is of: three digits at most.
func factor(log float64) string {
	switch f := math.Exp(log); {
	case f < 0.01:
		return "0"
	case f < 9.95:
		return fmt.Sprintf("%.2g", f)
	case f < 999.5:
		return fmt.Sprintf("%.0f", f)
	}
	return ">999"
}

// barCells is the width of a bar.
const barCells = 3

// bar draws evidence in eighths of a cell.
func (e evidence) bar() string {
	eighths := int(e.share() * 8 * barCells)
	bar := strings.Repeat("█", eighths/8)
	if part := eighths % 8; part > 0 {
		bar += string([]rune(" ▏▎▍▌▋▊▉")[part])
	}
	return bar + strings.Repeat(" ", barCells-len([]rune(bar)))
}

// writeMetrics tables what a verdict rests on, a metric a line.
func writeMetrics(w io.Writer, v judge.Verdict, at Percentage) {
	if len(v.Metrics) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "at %s %%\tcanary\tof\tstable\tof\tbad >\tgood ≤\tto roll back\tto promote\t\n", at)
	for _, a := range v.Metrics {
		name := title(a.Metric)
		if a.Role == judge.Observed {
			name += " *"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name,
			value(a.Metric, a.Window.Canary, a.Window.CanaryRows), count(a.Window.CanaryEffective),
			value(a.Metric, a.Window.Stable, a.Window.StableRows), count(a.Window.StableEffective),
			limit(a.Metric, a.RollbackAbove), limit(a.Metric, a.PromoteUpTo),
			state(a, rollbackEvidence(a), a.Breach, "breach"), state(a, promoteEvidence(a), a.Within, "within"))
	}
	_ = t.Flush()
	if observes(v) {
		fmt.Fprintln(w, "  * is watched and never acted on")
	}
}

func observes(v judge.Verdict) bool {
	for _, a := range v.Metrics {
		if a.Role == judge.Observed {
			return true
		}
	}
	return false
}

// state is a cell of evidence, or where there is none what the limits alone say.
func state(a judge.Assessment, e evidence, holds bool, word string) string {
	switch {
	case e.known:
		return e.bar() + " " + e.text()
	case holds:
		return word
	}
	return "–"
}

// value writes a metric's value, a dash where nothing was measured.
func value(m judge.Metric, v, rows float64) string {
	if rows == 0 {
		return "–"
	}
	return judge.FormatMetric(m, v)
}

func limit(m judge.Metric, v float64) string {
	if v == 0 {
		return "–"
	}
	return judge.FormatMetric(m, v)
}

func count(n float64) string { return fmt.Sprintf("%.0f", n) }

// writeDetails tells all that a verdict rests on.
func writeDetails(w io.Writer, v judge.Verdict) {
	for _, a := range v.Metrics {
		fmt.Fprintf(w, "\n  %s (%s)\n", title(a.Metric), a.Role)
		fmt.Fprint(w, indented("    ", a.Why))
		fmt.Fprint(w, indented("    this step:  ", sample(a.Metric, a.Window)))
		fmt.Fprint(w, indented("    recently:   ", sample(a.Metric, a.Recent)))
		if a.High > a.Low {
			fmt.Fprintf(w, "    interval:   the canary's is from %s to %s, at 95 %% confidence\n", judge.FormatMetric(a.Metric, a.Low), judge.FormatMetric(a.Metric, a.High))
		}
		fmt.Fprint(w, indented("    limits:     ", limits(a)))
		for _, t := range a.Tests {
			e := evidence{t.Log, t.NeededLog, true}
			fmt.Fprintf(w, "    %-26s %s %s\n", t.Name, e.bar(), e.text())
		}
	}
	if len(v.Metrics) > 0 {
		fmt.Fprintf(w, "\n  judged up to %s by %s, noise %.2g\n", moment(v.At), v.Method, v.Noise)
	}
}

// sample is both arms' values with the sizes of their samples.
func sample(m judge.Metric, v judge.Values) string {
	arm := func(name string, value, rows, effective, users float64) string {
		if rows == 0 {
			return name + " nothing"
		}
		text := fmt.Sprintf("%s %s in %s rows, worth %s", name, judge.FormatMetric(m, value), count(rows), count(effective))
		if users > 0 {
			text += ", of " + judge.FormatCount(int64(math.Round(users)), "user")
		}
		return text
	}
	return arm("canary", v.Canary, v.CanaryRows, v.CanaryEffective, v.CanaryUsers) + "; " +
		arm("stable", v.Stable, v.StableRows, v.StableEffective, v.StableUsers) + skipped(v)
}

func skipped(v judge.Values) string {
	if v.CanarySkipped == 0 {
		return ""
	}
	return "; the breaker has kept " + judge.FormatCount(int64(v.CanarySkipped), "request") + " from the canary"
}

func limits(a judge.Assessment) string {
	var parts []string
	for _, l := range []struct {
		text  string
		value float64
	}{{"rolled back above ", a.RollbackAbove}, {"promoted up to ", a.PromoteUpTo}, {"alarm above ", a.Ceiling}} {
		if l.value > 0 {
			parts = append(parts, l.text+judge.FormatMetric(a.Metric, l.value))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// metricsTable is the same in Markdown, with more columns.
func metricsTable(v judge.Verdict, at Percentage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| at %s %% | canary | stable | rows | users | interval | bad above | good up to | evidence to roll back | evidence to promote |\n"+
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n", at)
	for _, a := range v.Metrics {
		w := a.Window
		users, interval := "–", "–"
		if w.CanaryUsers > 0 || w.StableUsers > 0 {
			users = count(w.CanaryUsers) + " / " + count(w.StableUsers)
		}
		if a.High > a.Low {
			interval = judge.FormatMetric(a.Metric, a.Low) + " to " + judge.FormatMetric(a.Metric, a.High)
		}
		fmt.Fprintf(&b, "| %s (%s) | %s | %s | %s / %s | %s | %s | %s | %s | %s | %s |\n", title(a.Metric), a.Role,
			value(a.Metric, w.Canary, w.CanaryRows), value(a.Metric, w.Stable, w.StableRows), count(w.CanaryRows), count(w.StableRows), users, interval,
			limit(a.Metric, a.RollbackAbove), limit(a.Metric, a.PromoteUpTo), rollbackEvidence(a).text(), promoteEvidence(a).text())
	}
	return b.String()
}
