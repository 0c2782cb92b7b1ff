package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// TestFixed: the fifth failed check rolls back, whenever the others were.
func TestFixed(t *testing.T) {
	arm := func(errors float64, ms float64) judge.Counts {
		c := judge.Counts{Weight: 100, Errors: errors}
		c.Times[judge.FirstByte] = histogram.Histogram{First: histogram.Bucket(ms), Counts: []float64{100 - errors}}
		return c
	}
	good, failing, slow, alone := arm(1, 800), arm(2, 800), arm(0, 1_600), judge.Counts{}
	tests := []struct {
		name   string
		canary map[int]judge.Counts // by minute; the others are good
		stable judge.Counts
		change func(judge.Limits)
		want   judge.Decision
		minute int
	}{
		{name: "good", stable: good, change: loosely, want: judge.Promote, minute: 15},
		{name: "errors above the promote limit", stable: arm(0, 800), want: judge.Inconclusive, minute: 60},
		{name: "four failed checks", canary: map[int]judge.Counts{1: failing, 2: failing, 3: failing, 9: failing}, stable: good, change: loosely, want: judge.Promote, minute: 15},
		{name: "five failed checks", canary: map[int]judge.Counts{1: failing, 2: slow, 3: failing, 9: failing, 12: slow}, stable: good, change: loosely, want: judge.Rollback, minute: 12},
		{name: "slow without stable", canary: map[int]judge.Counts{1: slow, 2: slow, 3: slow, 4: slow, 5: slow}, stable: alone, change: loosely, want: judge.Promote, minute: 15},
		{name: "slow without a limit", canary: map[int]judge.Counts{1: slow, 2: slow, 3: slow, 4: slow, 5: slow}, stable: good,
			change: func(l judge.Limits) { loosely(l); delete(l, judge.LatencyP95) }, want: judge.Promote, minute: 15},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			settings := Figures().Steps[0].Settings
			if test.change != nil {
				test.change(settings.Limits)
			}
			f := &fixed{}
			step := judge.Step{Began: epoch, Since: epoch, Bake: 15 * time.Minute, Deadline: epoch.Add(time.Hour)}
			for minute := 1; ; minute++ {
				canary, ok := test.canary[minute]
				if !ok {
					canary = good
				}
				index := epoch.Unix()/60 + int64(minute) - 1
				decision, _ := f.Judge(judge.Input{Settings: settings, Step: step, Through: index,
					Intervals: []judge.Interval{{Index: index, Canary: canary, Stable: test.stable}}})
				if decision != judge.Hold {
					require.Equal(t, test.want, decision)
					require.Equal(t, test.minute, minute)
					return
				}
			}
		})
	}
}

// loosely lets 1 % of errors, and a few more, be promoted.
func loosely(l judge.Limits) {
	errors := l[judge.Errors]
	errors.Promote.Absolute = 0.02
	l[judge.Errors] = errors
}
