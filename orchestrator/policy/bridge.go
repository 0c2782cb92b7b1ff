package policy

import (
	former "perch/orchestrator/judge"
	"perch/orchestrator/judge/next"
)

// Judge returns the method that judges until the one that the policy names does.
func (p Policy) Judge() (former.Method, error) { return former.Thresholds{}, nil }

// FormerLimits are a percentage's limits as that method takes them.
func (p Policy) FormerLimits(basisPoints int) (rollback, promote former.Limits) {
	limits := p.limits(p.StepAt(basisPoints))
	errors, latency := limits[judge.Errors], limits[judge.LatencyP95]
	rollback = former.Limits{Errors: former.Limit(errors.Rollback), LatencyP95: former.Limit(latency.Rollback)}
	promote = former.Limits{Errors: former.Limit(errors.Promote), LatencyP95: former.Limit(latency.Promote)}
	return rollback, promote
}
