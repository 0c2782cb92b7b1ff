package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
)

// TestEvidence: a rollback needs each of its parts, a promotion their mean.
func TestEvidence(t *testing.T) {
	test := func(name string, value, needed float64) judge.Test {
		return judge.Test{Name: name, Log: math.Log(value), NeededLog: math.Log(needed)}
	}
	tests := []struct {
		name              string
		tests             []judge.Test
		rollback, promote string
		bar               string // of the rollback
	}{
		{"no tests", nil, "–", "–", "   "},
		{"the weakest part counts", []judge.Test{test("rollback.absolute", 5000, 20), test("rollback.relative", 2, 20), test("rollback.relative.users", 20, 20)},
			"2 of 20×", "–", "▋  "},
		{"the mean of the proofs", []judge.Test{test("promote.absolute", 30, 5), test("promote.relative", 0.2, 5)}, "–", "15 of 5×", "   "},
		{"next to nothing", []judge.Test{test("rollback.relative", 1e-9, 40), test("promote.relative", 9.96, 10)}, "0 of 40×", "10 of 10×", "   "},
		{"more than anyone reads", []judge.Test{test("rollback.relative", 1e300, 40)}, ">999 of 40×", "–", "███"},
		{"none at all", []judge.Test{{Name: "promote.relative", Log: math.Inf(-1), NeededLog: 1}}, "–", "0 of 2.7×", "   "},
		{"a ceiling is neither", []judge.Test{test("ceiling", 50, 20)}, "–", "–", "   "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := judge.Assessment{Tests: test.tests}
			require.Equal(t, test.rollback, rollbackEvidence(a).text())
			require.Equal(t, test.promote, promoteEvidence(a).text())
			require.Equal(t, test.bar, rollbackEvidence(a).bar())
		})
	}
}

// TestNeeds: an estimate has few digits, and none where nothing is known.
func TestNeeds(t *testing.T) {
	tests := []struct {
		missing *judge.Missing
		want    string
	}{
		{nil, ""},
		{&judge.Missing{}, ""},
		{&judge.Missing{CanaryRequests: 1, For: judge.Errors}, "about 1 more canary request for errors"},
		{&judge.Missing{CanaryRequests: 640, Duration: 47.3, For: judge.LatencyP95}, "about 640 more canary requests for latency p95, some 47s at the present traffic"},
		{&judge.Missing{CanaryRequests: 640, Duration: 1234, For: judge.Errors}, "about 640 more canary requests for errors, some 21m at the present traffic"},
		{&judge.Missing{CanaryRequests: 640, Duration: 12345, For: judge.Errors}, "about 640 more canary requests for errors, some 3h30m at the present traffic"},
	}
	for _, test := range tests {
		require.Equal(t, test.want, needs(judge.Verdict{Missing: test.missing}))
	}
}

// TestVerdictLines: what the sentence says is not said again.
func TestVerdictLines(t *testing.T) {
	v := judge.Verdict{Reason: "about 9 more canary requests are needed; stable is in trouble", Missing: &judge.Missing{CanaryRequests: 9, For: judge.Errors},
		Frozen: "stable is in trouble", Collapse: "no canary traffic"}
	require.Equal(t, [][2]string{{"collapse", "no canary traffic"}}, verdictLines(v))
	v.Reason = "the step bakes"
	require.Len(t, verdictLines(v), 3)
}

// TestDetails: all that a metric's verdict rests on is there.
func TestDetails(t *testing.T) {
	v := judge.Verdict{Method: judge.Evidence, At: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Noise: 0.25, Metrics: []judge.Assessment{{
		Metric: judge.Errors, Role: judge.Proof, Why: "it is within", Low: 0.001, High: 0.02, RollbackAbove: 0.01, PromoteUpTo: 0.005, Ceiling: 0.1,
		Window: judge.Values{Canary: 0.004, CanaryRows: 120, CanaryEffective: 90, CanaryUsers: 17, CanarySkipped: 3, Stable: 0.001, StableRows: 900, StableEffective: 900},
		Tests:  []judge.Test{{Name: "promote.absolute", Log: math.Log(7), NeededLog: math.Log(10)}},
	}}}
	var b strings.Builder
	writeDetails(&b, v)
	require.Equal(t, `
  errors (proof)
    it is within
    this step:  canary 0.4 % in 120 rows, worth 90, of 17 users; stable 0.1 % in 900 rows, worth
                900; the breaker has kept 3 requests from the canary
    recently:   canary nothing; stable nothing
    interval:   the canary's is from 0.1 % to 2 %, at 95 % confidence
    limits:     rolled back above 1 %, promoted up to 0.5 %, alarm above 10 %
    promote.absolute           ██▌ 7 of 10×

  judged up to 2026-11-20 12:00:00 UTC by evidence, noise 0.25
`, b.String())
}
