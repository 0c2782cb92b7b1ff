package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
)

// TestRollouts: a short version of what make figures simulates comes to what must
// hold, within what so few rollouts can tell.
func TestRollouts(t *testing.T) {
	l := &lab{ctx: context.Background(), effort: 0.06}
	for _, c := range cells[:6] {
		t.Run(fmt.Sprintf("%s at %g", c.name, c.rate), func(t *testing.T) {
			rollouts, err := l.many(c.rate, c.canary, false, c.runs)
			require.NoError(t, err)
			share := func(k int) simulate.Share { return simulate.ShareOf(k, len(rollouts)) }
			require.GreaterOrEqual(t, 100*share(count(rollouts, judge.Promote, minutes(60))).High, c.in60)
			require.GreaterOrEqual(t, 100*share(count(rollouts, judge.Promote, minutes(120))).High, c.in120)
			require.GreaterOrEqual(t, 100*share(count(rollouts, judge.Rollback, always)).High, c.rolledBack)
			if c.promoted > 0 {
				require.LessOrEqual(t, 100*share(count(rollouts, judge.Promote, always)).Low, c.promoted)
			} else {
				require.Zero(t, count(rollouts, judge.Rollback, always), "a healthy canary was rolled back")
			}
		})
	}
}

// TestPromises: what plans say at 100 requests a minute comes so, within what so
// few rollouts can tell.
func TestPromises(t *testing.T) {
	l := &lab{ctx: context.Background(), effort: 0.3}
	for _, p := range promises {
		t.Run(p.said, func(t *testing.T) {
			rollouts, err := l.many(100, p.canary, true, 150)
			require.NoError(t, err)
			came := simulate.ShareOf(p.came(rollouts), len(rollouts))
			require.GreaterOrEqual(t, 100*came.High, p.share, "it came so in %.0f of 100", 100*came.Value)
		})
	}
}
