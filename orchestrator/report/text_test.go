package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/shared/telemetry"
)

func TestShort(t *testing.T) {
	id := strings.Repeat("5c7d", 16)
	require.Equal(t, "from acme/flux:5c7d5c7d… to 5c7d5c7d….", short("from acme/flux:"+id+" to "+id+"."))
	require.Equal(t, "0"+id, short("0"+id), "65 digits are no id")
}

func TestPointOfARating(t *testing.T) {
	require.Equal(t, "score 0.25, prediction p1", Point{Kind: telemetry.KindFeedback, Score: 0.25, Prediction: "p1"}.what())
	require.Equal(t, "score 0", Point{Kind: telemetry.KindFeedback}.what())
}

func TestWaits(t *testing.T) {
	gate := plan.Step{BasisPoints: 8000, Approve: policy.ApproveInstead}
	require.Equal(t, "80 % waits for a person", waits(plan.Plan{Steps: []plan.Step{{BasisPoints: 500}, gate}}))
	require.Equal(t, "80 %, 80 % wait for a person", waits(plan.Plan{Steps: []plan.Step{gate, gate}}))
}

func TestOpenPredictions(t *testing.T) {
	require.Equal(t, "not ended in time", judge.FormatMetric(judge.TotalP50, 79127837))
	require.Equal(t, "any time", judge.FormatMetric(judge.TotalP50, 2*79127837))
}

func TestWrap(t *testing.T) {
	require.Equal(t, []string{"one two", "three", "fourfive", "six"}, wrap("one two three fourfive six", 7))
	require.Equal(t, []string{""}, wrap("", 7))
	require.Equal(t, []string{"5 → 20 %", "x"}, wrap("5 → 20 % x", 9), "columns, not bytes")
	require.Equal(t, "ab  one\n", indented("ab  ", "one"))
	for line := range strings.Lines(indented("12:00:00  ", strings.Repeat("word ", 50))) {
		require.LessOrEqual(t, len(strings.TrimSpace(line)), columns)
	}
}

func TestHarmless(t *testing.T) {
	require.Equal(t, "10%\n20%\nred�[31m\tdone é", harmless("10%\r20%\r\nred\x1b[31m\tdone é"))
}
