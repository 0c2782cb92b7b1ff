package simulate

import (
	"math"
	"slices"

	"perch/orchestrator/judge"
)

// Tally sums up the outcomes of many rollouts of the same kind.
type Tally struct {
	Runs         int `json:"runs"`
	RolledBack   int `json:"rolled_back"`
	Promoted     int `json:"promoted"`
	Inconclusive int `json:"inconclusive"`
	// Minutes are the median minutes at which rollouts ended so, since they began; 0
	// where none did.
	RollbackMinute float64 `json:"rollback_minute"`
	PromoteMinute  float64 `json:"promote_minute"`
	// Hit is how many requests the canary is to blame for, a rollout on average.
	Hit float64 `json:"requests_hit"`
}

// Sum sums up outcomes, in whatever order.
func Sum(outcomes []Outcome) Tally {
	t := Tally{Runs: len(outcomes)}
	var rolledBack, promoted []float64
	for _, o := range outcomes {
		switch o.Decision {
		case judge.Rollback:
			rolledBack = append(rolledBack, o.Minute)
		case judge.Promote:
			promoted = append(promoted, o.Minute)
		default:
			t.Inconclusive++
		}
		t.Hit += o.Hit / float64(len(outcomes))
	}
	t.RolledBack, t.RollbackMinute = len(rolledBack), median(rolledBack)
	t.Promoted, t.PromoteMinute = len(promoted), median(promoted)
	return t
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// Share is a share of rollouts with its Monte-Carlo error.
type Share struct {
	Value     float64 // 0 to 1
	Low, High float64 // 95 % confidence interval
}

// ShareOf returns k of n with Wilson's score interval (JASA 22, 1927), which is
// sound also where k is 0 or n.
func ShareOf(k, n int) Share {
	if n == 0 {
		return Share{High: 1}
	}
	const z = 1.959964
	p, count := float64(k)/float64(n), float64(n)
	middle := (p + z*z/(2*count)) / (1 + z*z/count)
	reach := z / (1 + z*z/count) * math.Sqrt(p*(1-p)/count+z*z/(4*count*count))
	s := Share{Value: p, Low: max(0, middle-reach), High: min(1, middle+reach)}
	if k == 0 {
		s.Low = 0
	}
	if k == n {
		s.High = 1
	}
	return s
}

// Error is how far the interval reaches from the value at most.
func (s Share) Error() float64 { return max(s.Value-s.Low, s.High-s.Value) }
