package policy

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// requireRoundTrip writes a policy as YAML and as JSON, and reads both again.
func requireRoundTrip(t *testing.T, p Policy) {
	t.Helper()
	p.Edge, p.ownDeadline = Edge{}, p.Auto
	text := write(p)
	back, err := Parse([]byte(text))
	require.NoError(t, err, text)
	requireSame(t, p, back, text)

	frozen, err := json.Marshal(p)
	require.NoError(t, err)
	back = Policy{}
	require.NoError(t, json.Unmarshal(frozen, &back))
	back.ownDeadline = p.ownDeadline // is of no use any more
	require.Equal(t, p, back)
}

// requireSame compares but for the last bits that percentages lose.
func requireSame(t *testing.T, want, got Policy, text string) {
	t.Helper()
	rounded := func(limits judge.Limits) judge.Limits {
		same := judge.Limits{}
		for m, b := range limits {
			for _, v := range []*float64{&b.Rollback.Absolute, &b.Promote.Absolute, &b.Floor, &b.Ceiling} {
				*v, _ = strconv.ParseFloat(strconv.FormatFloat(*v, 'g', 12, 64), 64)
			}
			same[m] = b
		}
		return same
	}
	for _, p := range []*Policy{&want, &got} {
		p.Limits = rounded(p.Limits)
		p.Steps = append([]Step(nil), p.Steps...)
		for i := range p.Steps {
			p.Steps[i].Limits = rounded(p.Steps[i].Limits)
		}
	}
	require.Equal(t, want, got, text)
}

// write is the inverse of Parse, every field given.
func write(p Policy) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s: %v\n", name, value) }
	line("steps", writeSteps(p))
	line("method", p.Method)
	line("holdback", document.FormatPercentage(p.Holdback))
	for _, d := range []struct {
		name  string
		value Duration
	}{
		{"interval", p.Interval}, {"look", p.Look}, {"bake", p.Bake}, {"window", p.Window}, {"reference", p.Reference}, {"history", p.History},
		{"cold_start", p.ColdStart}, {"spread", p.Spread}, {"lag", p.Lag}, {"expire", p.Expire}, {"deadline", p.Deadline}, {"unattended_after", p.UnattendedAfter},
	} {
		line(d.name, time.Duration(d.value))
	}
	line("on_inconclusive", p.OnInconclusive)
	line("min_requests", p.MinRequests)
	line("failures", p.Failures)
	line("metrics", writeLimits(p.Limits, true))
	return b.String()
}

func writeSteps(p Policy) string {
	if p.Auto {
		return "auto"
	}
	list := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		if i == len(p.Steps)-1 && s.BasisPoints == allTraffic-p.Holdback {
			s.BasisPoints = allTraffic
		}
		approve := map[Approval]string{ApproveNone: "false", ApproveAlso: "true", ApproveInstead: "instead"}[s.Approve]
		list[i] = fmt.Sprintf("{percentage: %s, approve: %s, pause: %s", document.FormatPercentage(s.BasisPoints), approve, time.Duration(s.Pause))
		if s.Bake > 0 {
			list[i] += fmt.Sprintf(", bake: %s", time.Duration(s.Bake))
		}
		if s.Limits != nil {
			list[i] += ", metrics: " + writeLimits(s.Limits, false)
		}
		list[i] += "}"
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// writeLimits writes a section of metrics, those that are not judged too where all are to be named.
func writeLimits(limits judge.Limits, all bool) string {
	var list []string
	for _, m := range judge.Metrics {
		b, judged := limits[m]
		if !judged {
			if all {
				list = append(list, string(m)+": off")
			}
			continue
		}
		value := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) + "ms" }
		if isRate(m) {
			value = func(v float64) string { return strconv.FormatFloat(v*100, 'g', 14, 64) }
		}
		limit := func(l judge.Limit) string {
			return fmt.Sprintf("{absolute: %s, relative: %v}", value(l.Absolute), l.Relative)
		}
		list = append(list, fmt.Sprintf("%s: {rollback: %s, promote: %s, floor: %s, ceiling: %s, observe: %t}",
			m, limit(b.Rollback), limit(b.Promote), value(b.Floor), value(b.Ceiling), b.Observe))
	}
	return "{" + strings.Join(list, ", ") + "}"
}

// draw returns a policy that contradicts itself in nothing.
func draw(r *rand.Rand) Policy {
	p := Default()
	span := func(least, most int) Duration { return seconds(least + r.IntN(most-least+1)) }
	p.Interval = span(1, 90)
	times := func(most int) Duration { return p.Interval * Duration(1+r.IntN(most)) }
	p.Window, p.Reference, p.History = times(10), times(40), times(500)
	p.ColdStart, p.Spread, p.Look = span(0, 100), span(0, 100), span(1, 100)
	p.Bake = max(p.Window, p.ColdStart, p.Spread, p.Look, 3*p.Interval) + span(1, 1000)
	p.Lag, p.Expire, p.UnattendedAfter = span(0, 100), span(1, 500), span(1, 5000)
	p.Method = []judge.Method{judge.Evidence, judge.Thresholds}[r.IntN(2)]
	p.OnInconclusive = []string{InconclusiveHold, InconclusiveRollback}[r.IntN(2)]
	p.MinRequests, p.Failures, p.Holdback = 1+r.Int64N(1e6), 1+r.IntN(3), r.IntN(2)*r.IntN(500)
	for _, m := range judge.Metrics {
		if m != judge.Errors && r.IntN(4) == 0 {
			delete(p.Limits, m)
		} else if r.IntN(2) == 0 {
			p.Limits[m] = drawBounds(r, m)
		}
	}
	var steps []Step
	for at := 1 + r.IntN(2000); at < 9000; at += 1 + r.IntN(4000) {
		steps = append(steps, Step{BasisPoints: at})
	}
	steps = append(steps, Step{BasisPoints: allTraffic})
	for i := range steps {
		s := &steps[i]
		s.Approve = []Approval{ApproveNone, ApproveAlso, ApproveInstead}[r.IntN(3)]
		if r.IntN(2) == 0 {
			s.Bake, s.Pause = p.Bake+span(0, 1000), span(0, 10_000)
		}
		if r.IntN(3) == 0 {
			m := judge.Metrics[r.IntN(len(judge.Metrics))]
			s.Limits = judge.Limits{m: drawBounds(r, m)}
		}
	}
	if p.Auto = r.IntN(5) == 0; p.Auto {
		steps = Default().Steps
	}
	return p.Laid(steps)
}

func drawBounds(r *rand.Rand, m judge.Metric) judge.Bounds {
	unit := func(most int) float64 { return float64(1+r.IntN(most)) / 4 } // of milliseconds
	if isRate(m) {
		unit = func(most int) float64 { return float64(1+r.IntN(most)) / 1e4 / 4 }
	}
	b := judge.Bounds{Promote: judge.Limit{Absolute: unit(500), Relative: 1 + float64(r.IntN(100))/64}, Observe: m != judge.Errors && r.IntN(5) == 0}
	b.Rollback = judge.Limit{Absolute: b.Promote.Absolute + unit(500), Relative: b.Promote.Relative + float64(r.IntN(100))/64}
	if r.IntN(2) == 0 {
		b.Ceiling = b.Rollback.Absolute + unit(1000)
		b.Floor = b.Ceiling - unit(1)
		b.Floor = max(0, b.Floor)
	}
	return b
}

// TestRoundTrip writes policies of every kind and reads them again.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	auto, held := 0, 0
	for range 2000 {
		p := draw(r)
		require.Empty(t, p.Validate())
		requireRoundTrip(t, p)
		if p.Auto {
			auto++
		}
		if p.Holdback > 0 {
			held++
		}
	}
	require.Greater(t, auto, 100)
	require.Greater(t, held, 100)
}
