// Package figures writes what simulated rollouts came to: as a table or a chart,
// for a terminal, a page, or a browser. It is pure: rows in, text out.
package figures

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
)

// Row is what many rollouts of one scenario came to under one method.
type Row struct {
	Scenario string       `json:"scenario"`
	Rate     float64      `json:"requests_per_minute"`
	Bad      bool         `json:"bad"` // the canary is worse than stable
	Method   judge.Method `json:"method"`
	simulate.Tally
}

// shares are the row's rolled back, inconclusive and promoted parts, in the order
// in which charts show them.
func (r Row) shares() [3]float64 {
	runs := float64(max(1, r.Runs))
	return [3]float64{float64(r.RolledBack) / runs, float64(r.Inconclusive) / runs, float64(r.Promoted) / runs}
}

// String is the row in one line.
func (r Row) String() string {
	return fmt.Sprintf("%s at %s a minute by %s: rolled back %s %%, promoted %s %%, inconclusive %s %%", r.Scenario, Count(r.Rate), r.Method,
		percent(r.RolledBack, r.Runs), percent(r.Promoted, r.Runs), percent(r.Inconclusive, r.Runs))
}

// WriteTable tables the rows for a terminal or a log.
func WriteTable(w io.Writer, rows []Row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tper minute\tmethod\trolled back\t±\tat minute\tpromoted\t±\tat minute\tinconclusive\t±\trequests hit\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Scenario, Count(r.Rate), r.Method,
			percent(r.RolledBack, r.Runs), margin(r.RolledBack, r.Runs), minute(r.RolledBack, r.RollbackMinute),
			percent(r.Promoted, r.Runs), margin(r.Promoted, r.Runs), minute(r.Promoted, r.PromoteMinute),
			percent(r.Inconclusive, r.Runs), margin(r.Inconclusive, r.Runs), Count(r.Hit))
	}
	_ = t.Flush()
}

// Notes say how to read the table.
const Notes = "Percentages of rollouts; ± reaches to the farther end of their 95 % confidence interval; minutes are medians\n" +
	"since the start. Requests hit: failed, or slower than 95 % of stable's, beyond what stable would have had.\n"

func percent(k, n int) string {
	return Percent(simulate.ShareOf(k, n).Value)
}

// Percent writes a share, 0 to 1, in percent with as many digits as tell it from
// 0 and 100.
func Percent(share float64) string {
	value := 100 * share
	switch {
	case value == 0 || value == 100:
		return strconv.Itoa(int(value))
	case value < 0.1 || value > 99.9:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
	return strconv.FormatFloat(value, 'f', 1, 64)
}

func margin(k, n int) string {
	return strconv.FormatFloat(100*simulate.ShareOf(k, n).Error(), 'f', 1, 64)
}

func minute(k int, at float64) string {
	if k == 0 {
		return "–"
	}
	return strconv.FormatFloat(math.Round(100*at)/100, 'f', -1, 64)
}

// Count writes a number, >= 0, with groups of three digits.
func Count(n float64) string {
	if n > 0 && n < 9.95 && n != float64(int(n)) {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// blocks draw the parts of shares.
var blocks = [3]string{"█", "▒", "░"}

var parts = [3]string{"rolled back", "inconclusive", "promoted"}

// WriteBars charts each row as one bar, in width columns in all, or some more
// where that would leave too little for the bars.
func WriteBars(w io.Writer, rows []Row, width int) {
	labels := columns(rows)
	margin := 0
	for _, label := range labels {
		margin = max(margin, utf8.RuneCountInString(label))
	}
	length := max(20, width-margin)
	for i, r := range rows {
		fmt.Fprintf(w, "%s%s\n", labels[i], bar(r.shares(), length))
	}
	fmt.Fprintf(w, "%s%s %s   %s %s   %s %s\n", strings.Repeat(" ", margin), blocks[0], parts[0], blocks[1], parts[1], blocks[2], parts[2])
}

// columns are the rows' names, traffic and methods, each as wide as the widest.
func columns(rows []Row) []string {
	var name, rate, method int
	for _, r := range rows {
		name = max(name, utf8.RuneCountInString(r.Scenario))
		rate = max(rate, len(Count(r.Rate)))
		method = max(method, len(r.Method))
	}
	labels := make([]string, len(rows))
	for i, r := range rows {
		labels[i] = fmt.Sprintf("%-*s  %*s/min  %-*s  ", name, r.Scenario, rate, Count(r.Rate), method, r.Method)
	}
	return labels
}

// bar draws shares that sum up to 1, none of those above 0 shorter than a block.
func bar(shares [3]float64, length int) string {
	var widths [3]int
	left, largest := length, 0
	for i, share := range shares {
		widths[i] = int(share*float64(length) + 0.5)
		if share > 0 {
			widths[i] = max(1, widths[i])
		}
		left -= widths[i]
		if share > shares[largest] {
			largest = i
		}
	}
	widths[largest] += left
	text := ""
	for i, n := range widths {
		text += strings.Repeat(blocks[i], n)
	}
	return text
}
