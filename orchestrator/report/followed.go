package report

import (
	"fmt"

	"perch/orchestrator/judge"
)

// Followed is what came of asking about predictions whose end nobody has seen.
type Followed struct {
	Open    int    `json:"open"`  // how many there are
	Asked   int    `json:"asked"` // of which these were
	Ended   int    `json:"ended"` // and are recorded now
	Running int    `json:"running"`
	Failed  int    `json:"failed"`            // polls, not predictions
	Problem string `json:"problem,omitempty"` // of the first that failed
}

// Add counts one poll.
func (f *Followed) Add(ended bool, err error) {
	f.Asked++
	switch {
	case err != nil:
		f.Failed++
		if f.Problem == "" {
			f.Problem = err.Error()
		}
	case ended:
		f.Ended++
	default:
		f.Running++
	}
}

func (f Followed) String() string {
	if f.Open == 0 {
		return "no prediction is without a known end"
	}
	text := fmt.Sprintf("asked about %d of %s without a known end: %d have ended, %d run", f.Asked, judge.FormatCount(int64(f.Open), "prediction"), f.Ended, f.Running)
	if f.Failed > 0 {
		text += fmt.Sprintf(", %s failed: %s", judge.FormatCount(int64(f.Failed), "poll"), f.Problem)
	}
	return text
}
