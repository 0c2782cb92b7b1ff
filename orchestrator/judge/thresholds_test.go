package judge

import (
	"bufio"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func base() Input {
	return Input{
		Now: noon, Lag: time.Minute, MinRequests: 100,
		Step:     Step{BasisPoints: 500, Bake: 15 * time.Minute, Deadline: noon.Add(time.Hour)},
		Rollback: Limits{Errors: Limit{0.01, 1.5}, LatencyP95: Limit{0, 1.5}},
		Promote:  Limits{Errors: Limit{0.005, 1.2}, LatencyP95: Limit{0, 1.2}},
	}
}

// scenario is one case of testdata/thresholds.txt.
type scenario struct {
	intent   string
	in       Input
	sampled  float64
	decision Decision
	missing  int64
	contains []string
}

func TestScenarios(t *testing.T) {
	cases := readScenarios(t)
	require.Greater(t, len(cases), 15)
	for _, s := range cases {
		t.Run(s.intent, func(t *testing.T) {
			v := Thresholds{}.Judge(s.in)
			require.Equal(t, s.decision, v.Decision, v.Reason)
			if s.missing >= 0 {
				require.Equal(t, s.missing, v.MissingRequests)
			}
			for _, text := range s.contains {
				require.Contains(t, v.Reason, text)
			}
			require.NotEmpty(t, v.Reason)
		})
	}
}

func readScenarios(t *testing.T) []*scenario {
	file, err := os.Open("testdata/thresholds.txt")
	require.NoError(t, err)
	defer file.Close()
	var cases []*scenario
	var s *scenario
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "":
			s = nil
		case strings.HasPrefix(line, "#"):
		case s == nil:
			s = &scenario{intent: line, in: base(), sampled: 1, missing: -1}
			cases = append(cases, s)
		default:
			s.read(t, line)
		}
	}
	for _, s := range cases {
		for _, w := range []*Window{&s.in.Evidence.Recent, &s.in.Evidence.Step} {
			w.From, w.To = noon.Add(-6*time.Minute), noon.Add(-time.Minute)
			for _, arm := range []*Arm{&w.Canary, &w.Stable} {
				arm.Requests *= s.sampled
				arm.Errors *= s.sampled
			}
		}
	}
	return cases
}

func (s *scenario) read(t *testing.T, line string) {
	words := strings.Fields(line)
	rest := strings.TrimSpace(strings.TrimPrefix(line, words[0]))
	switch words[0] {
	case "at":
		s.in.Step.BasisPoints = int(number(t, words[1]) * 100)
		s.in.Step.Since = noon.Add(-duration(t, words[3]))
		if len(words) > 4 {
			s.in.Step.Deadline = noon.Add(duration(t, words[5]))
		}
	case "step":
		readArm(t, &s.in.Evidence.Step, words[1:])
	case "recent":
		readArm(t, &s.in.Evidence.Recent, words[1:])
	case "problem":
		s.in.Evidence.Problem = rest
	case "sampled":
		s.sampled = number(t, words[1])
	case "=>":
		s.decision = Decision(words[1])
	case "missing":
		s.missing = int64(number(t, words[1]))
	case "contains":
		s.contains = append(s.contains, rest)
	default:
		t.Fatalf("unknown line %q", line)
	}
}

func readArm(t *testing.T, w *Window, words []string) {
	rows, errors := number(t, words[1]), number(t, words[2])
	arm := Arm{Rows: int64(rows), OKRows: int64(rows - errors), Requests: rows, Errors: errors, P95MS: number(t, words[3])}
	if len(words) > 4 && words[4] == "skipped" {
		arm.Skipped = int64(number(t, words[5]))
	}
	if words[0] == "canary" {
		w.Canary = arm
	} else {
		w.Stable = arm
	}
}

func number(t *testing.T, text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return n
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func TestLatencyFloor(t *testing.T) {
	in := base()
	in.Step.Since = noon.Add(-time.Hour)
	in.Rollback.LatencyP95.Absolute, in.Promote.LatencyP95.Absolute = 50, 40
	in.Evidence.Step.Canary = Arm{Rows: 500, OKRows: 500, Requests: 500, P95MS: 36}
	in.Evidence.Step.Stable = Arm{Rows: 500, OKRows: 500, Requests: 500, P95MS: 12}
	require.Equal(t, Promote, Thresholds{}.Judge(in).Decision, "three times a tiny latency is below the floor")
	in.Evidence.Step.Canary.P95MS = 51
	require.Equal(t, Rollback, Thresholds{}.Judge(in).Decision)
}

func TestSpans(t *testing.T) {
	step := Step{Since: noon.Add(-10 * time.Minute), Bake: 15 * time.Minute}
	recent, whole := Spans(noon, step, 5*time.Minute, time.Minute)
	require.Equal(t, Span{noon.Add(-6 * time.Minute), noon.Add(-time.Minute)}, recent)
	require.Equal(t, Span{step.Since, noon.Add(-time.Minute)}, whole)

	step.Since = noon.Add(-2 * time.Hour)
	_, whole = Spans(noon, step, 5*time.Minute, time.Minute)
	require.Equal(t, 15*time.Minute, whole.To.Sub(whole.From), "clipped to the bake time")

	step.Since = noon.Add(-30 * time.Second)
	_, whole = Spans(noon, step, 5*time.Minute, time.Minute)
	require.Equal(t, whole.From, whole.To, "nothing of the step has arrived yet")
}

func TestVerdictsStayFinite(t *testing.T) {
	values := []float64{0, 0.3, 1, 1e12}
	for _, requests := range values {
		for _, errors := range values {
			for _, p95 := range values {
				in := base()
				arm := Arm{Rows: 1000, OKRows: 1000, Requests: requests, Errors: errors, P95MS: p95}
				in.Evidence.Step = Window{Canary: arm, Stable: arm}
				for _, m := range (Thresholds{}).Judge(in).Metrics {
					for _, x := range []float64{m.Canary, m.Stable, m.RollbackAbove, m.PromoteUpTo} {
						require.False(t, math.IsNaN(x) || math.IsInf(x, 0))
					}
					require.False(t, m.Breach, "arms alike never breach")
				}
			}
		}
	}
}

func TestFormat(t *testing.T) {
	require.Equal(t, "15m", FormatDuration(15*time.Minute))
	require.Equal(t, "1h30m", FormatDuration(90*time.Minute))
	require.Equal(t, "2h", FormatDuration(2*time.Hour))
	require.Equal(t, "900ms", FormatDuration(900*time.Millisecond))
	require.Equal(t, "1m1s", FormatDuration(61200*time.Millisecond))
	require.Equal(t, "1 row", FormatCount(1, "row"))
	require.Equal(t, "0 rows", FormatCount(0, "row"))
	require.Equal(t, "0.5 %", FormatMetric(Errors, 0.005))
	require.Equal(t, "812 ms", FormatMetric(LatencyP95, 811.7))
}
