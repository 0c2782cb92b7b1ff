package judge

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Names of the metrics and windows.
const (
	Errors       = "errors"
	LatencyP95   = "latency_p95"
	WindowRecent = "recent"
	WindowStep   = "step"
)

const allTraffic = 10_000

// Thresholds compares each window with the limits as they stand, once it holds
// enough rows. It rolls back on a breach in either window, and promotes when the
// step's window is within the promote limits after the bake time. It keeps no
// memory. A single look at noisy numbers can be wrong; MinRequests is its only
// guard.
type Thresholds struct{}

// Judge implements Method.
func (Thresholds) Judge(in Input) Verdict {
	v := Verdict{Decision: Hold, Metrics: in.metrics()}
	expired := !in.Step.Deadline.IsZero() && !in.Now.Before(in.Step.Deadline)
	v.MissingRequests = in.missing()
	if m := firstBreach(v.Metrics); m != nil {
		v.Decision, v.Reason = Rollback, in.breachReason(*m)
		return v
	}
	why := in.whyHold(v.Metrics)
	switch {
	case expired:
		v.Decision = Inconclusive
		if why == "" {
			why = "the step was within its limits, but too late"
		}
		v.Reason = "the deadline " + in.Step.Deadline.UTC().Format("2006-01-02 15:04:05 UTC") + " has passed: " + why
	case why != "":
		v.Reason = why
	default:
		v.Decision, v.Reason = Promote, in.promoteReason(v.Metrics)
	}
	return v
}

// alone reports that the canary has all traffic: nothing to compare it with.
func (in Input) alone() bool { return in.Step.BasisPoints >= allTraffic }

func (in Input) metrics() []Metric {
	if in.Evidence.Problem != "" {
		return nil
	}
	var metrics []Metric
	for _, w := range []struct {
		name   string
		window Window
	}{{WindowRecent, in.Evidence.Recent}, {WindowStep, in.Evidence.Step}} {
		c, s := w.window.Canary, w.window.Stable
		metrics = append(metrics, in.metric(Metric{Name: Errors, Window: w.name, Canary: c.ErrorRate(), Stable: s.ErrorRate(),
			CanaryRows: c.Rows, CanarySkipped: c.Skipped, StableRows: s.Rows}, in.Rollback.Errors, in.Promote.Errors))
		if !in.alone() {
			metrics = append(metrics, in.metric(Metric{Name: LatencyP95, Window: w.name, Canary: c.P95MS, Stable: s.P95MS,
				CanaryRows: c.OKRows, StableRows: s.OKRows}, in.Rollback.LatencyP95, in.Promote.LatencyP95))
		}
	}
	return metrics
}

// metric fills in the limits and what follows from them.
func (in Input) metric(m Metric, rollback, promote Limit) Metric {
	if in.alone() {
		m.Stable, m.StableRows = 0, 0
		rollback.Relative, promote.Relative = 0, 0
	}
	m.RollbackAbove = max(rollback.Absolute, rollback.Relative*m.Stable)
	m.PromoteUpTo = max(promote.Absolute, promote.Relative*m.Stable)
	comparable := m.StableRows >= in.MinRequests
	canJudge := m.CanaryRows >= in.MinRequests && m.CanaryRows > 0
	m.Enough = canJudge && (comparable || rollback.Relative == 0 && promote.Relative == 0)
	// Where a canary fails so much that the breaker opens, too few rows come in.
	canRollBack := m.CanaryRows+m.CanarySkipped >= in.MinRequests && m.CanaryRows > 0
	m.Breach = canRollBack && (comparable || rollback.Relative == 0) && m.Canary > m.RollbackAbove
	m.Within = canJudge && (comparable || promote.Relative == 0) && m.Canary <= m.PromoteUpTo
	return m
}

func firstBreach(metrics []Metric) *Metric {
	for i := range metrics {
		if metrics[i].Breach {
			return &metrics[i]
		}
	}
	return nil
}

// missing estimates the canary requests that the step's window lacks: rows are
// counted, and under sampling a row stands for several requests.
func (in Input) missing() int64 {
	arm := in.Evidence.Step.Canary
	rows := arm.Rows
	if !in.alone() {
		rows = min(rows, arm.OKRows)
	}
	lack := in.MinRequests - rows
	if lack <= 0 {
		return 0
	}
	perRow := 1.0
	if arm.Rows > 0 {
		perRow = max(1, arm.Requests/float64(arm.Rows))
	}
	return int64(math.Ceil(float64(lack) * perRow))
}

// whyHold says what stands against a promotion, or "".
func (in Input) whyHold(metrics []Metric) string {
	var reasons []string
	if left := in.Step.Since.Add(in.Step.Bake + in.Lag).Sub(in.Now); left > 0 {
		reasons = append(reasons, "the step bakes for another "+FormatDuration(left))
	}
	if in.Evidence.Problem != "" {
		return strings.Join(append(reasons, "nothing could be measured: "+in.Evidence.Problem), "; ")
	}
	if n := in.missing(); n > 0 {
		are := "are"
		if n == 1 {
			are = "is"
		}
		text := fmt.Sprintf("about %s %s needed", FormatCount(n, "more canary request"), are)
		if open := in.Evidence.Step.Canary.Open; open > 0 {
			text += fmt.Sprintf(", and how %s ended is not known yet", FormatCount(int64(open), "prediction"))
		}
		if skipped := in.Evidence.Step.Canary.Skipped; skipped > 0 {
			text += fmt.Sprintf("; the breaker has kept %s from it", FormatCount(skipped, "row"))
		}
		reasons = append(reasons, text)
	}
	for _, m := range metrics {
		switch {
		case m.Window != WindowStep || m.Within:
		case !m.Enough && m.CanaryRows >= in.MinRequests:
			reasons = append(reasons, fmt.Sprintf("stable has %d of the %s that %s is compared on", m.StableRows, FormatCount(in.MinRequests, "row"), title(m.Name)))
		case m.Enough:
			reasons = append(reasons, fmt.Sprintf("%s of the canary, %s, is above the promote limit %s",
				title(m.Name), FormatMetric(m.Name, m.Canary), FormatMetric(m.Name, m.PromoteUpTo)))
		}
	}
	return strings.Join(reasons, "; ")
}

func (in Input) breachReason(m Metric) string {
	rows := FormatCount(m.CanaryRows, "row")
	if m.CanarySkipped > 0 {
		rows += fmt.Sprintf(" and %d that the breaker kept from it", m.CanarySkipped)
	}
	text := fmt.Sprintf("%s of the canary, %s in %s of %s, is above the rollback limit %s",
		title(m.Name), FormatMetric(m.Name, m.Canary), rows, in.windowTitle(m.Window), FormatMetric(m.Name, m.RollbackAbove))
	if in.alone() {
		return text + "; at 100 % there is no stable traffic to compare with"
	}
	return text + " while stable has " + FormatMetric(m.Name, m.Stable)
}

func (in Input) promoteReason(metrics []Metric) string {
	var parts []string
	for _, m := range metrics {
		if m.Window == WindowStep {
			parts = append(parts, fmt.Sprintf("%s of the canary, %s in %s, is within %s",
				title(m.Name), FormatMetric(m.Name, m.Canary), FormatCount(m.CanaryRows, "row"), FormatMetric(m.Name, m.PromoteUpTo)))
		}
	}
	text := "after the bake time " + strings.Join(parts, " and ")
	if in.alone() {
		text += "; at 100 % there is no stable traffic, so the absolute error limit alone was watched"
	}
	return text
}

func (in Input) windowTitle(window string) string {
	if window == WindowRecent {
		return "the last " + FormatDuration(in.Evidence.Recent.To.Sub(in.Evidence.Recent.From))
	}
	return "this step"
}

func title(metric string) string {
	if metric == Errors {
		return "the error rate"
	}
	return "the p95 latency"
}

// FormatMetric writes a metric's value in the unit that people use: "1.25 %" or "812 ms".
func FormatMetric(name string, value float64) string {
	if name == Errors {
		return fmt.Sprintf("%.3g %%", value*100)
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
