package judge

import (
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/judge/histogram"
)

// titles are the metrics' names in a sentence.
var titles = map[Metric]string{
	Errors: "the error rate", ClientErrors: "the client error rate", Feedback: "the share of bad feedback",
	LatencyP50: "the median latency", LatencyP95: "the p95 latency",
	TotalP50: "the median total time", TotalP95: "the p95 total time",
	FirstTokenP50: "the median time to the first token", FirstTokenP95: "the p95 time to the first token",
	CostP50: "the median predict time", CostP95: "the p95 predict time",
}

// Title returns a metric's name in a sentence: "the error rate".
func (m Metric) Title() string {
	if title, ok := titles[m]; ok {
		return title
	}
	return string(m)
}

// FormatMetric writes a metric's value in the unit that people use: "1.25 %" or "812 ms";
// "any time" for one that nothing bounds, and "not ended in time" for one that no
// time was measured of: those count in the last bucket.
func FormatMetric(m Metric, value float64) string {
	if _, _, timed := m.Timing(); !timed {
		return fmt.Sprintf("%.3g %%", value*100)
	}
	if value >= histogram.Edge(histogram.Buckets) {
		return "any time"
	}
	if value >= histogram.Edge(histogram.Buckets-1) {
		return "not ended in time"
	}
	return fmt.Sprintf("%.0f ms", value)
}

// FormatCount writes a number of things: "1 row", "12 rows".
func FormatCount(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// FormatDuration writes a duration without its zero parts: "15m", "1h30m", "900ms".
func FormatDuration(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Second)
	} else {
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// about rounds a duration that is an estimate.
func about(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Hour:
		return d.Round(time.Hour)
	case d >= 10*time.Minute:
		return d.Round(time.Minute)
	}
	return d
}

// aboutCount rounds a number that is an estimate to two digits.
func aboutCount(n int64) int64 {
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}

// Duration returns it as one, at most some 292 years.
func (s Seconds) Duration() time.Duration {
	const most = float64(1<<63 - 1)
	return time.Duration(max(-most, min(most*0.999, float64(s)*float64(time.Second))))
}

// FormatEvidence writes evidence in how many times likelier it makes the one than
// the other: "20×", "0.04×", "over 1e9×".
func FormatEvidence(log float64) string {
	switch {
	case log > 20.7:
		return "over 1e9×"
	case log >= 2.3:
		return fmt.Sprintf("%.0f×", exp(log))
	case log < -7:
		return "under 0.001×"
	}
	return fmt.Sprintf("%.2g×", exp(log))
}
