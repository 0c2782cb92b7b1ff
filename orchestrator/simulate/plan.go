package simulate

import (
	"time"

	"perch/orchestrator/judge/next"
)

// Figures is the plan that published figures are of: 15 minutes a step, the whole
// traffic after the third, an hour for all.
func Figures(settings judge.Settings) Plan {
	settings.Horizon = time.Hour
	p := Plan{Look: settings.Interval, Deadline: time.Hour}
	for _, basisPoints := range []int{500, 2_000, 5_000} {
		p.Steps = append(p.Steps, Step{BasisPoints: basisPoints, Bake: 15 * time.Minute, Settings: settings})
	}
	return p
}
