package simulate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/judge/histogram"
)

// recorded are intervals of stable as an edge measures them.
func recorded(s Scenario, n int) []judge.Interval {
	traffic := s.Traffic(rand.NewPCG(7, 7))
	var list []judge.Interval
	for i := range n {
		sample := traffic.Next(Moment{Minute: float64(i), InStep: 99, Length: 1})
		list = append(list, judge.Interval{Index: int64(i), UserShare: sample.UserShare, Stable: sample.Stable})
	}
	return list
}

// TestRecordingDivides: both arms together are what was recorded, and the canary
// is its share of it.
func TestRecordingDivides(t *testing.T) {
	tests := []struct {
		name     string
		scenario Scenario
	}{
		{"every request", Scenario{Rate: 1_000, Errors: 0.02}},
		{"sampled", Scenario{Rate: 20_000, Errors: 0.02, Sampling: []Sampling{{0.5, 1}, {0.5, 10}}}},
		{"users", Scenario{Rate: 1_000, Errors: 0.02, Users: &Users{Calls: 20, Stay: 10, Share: 0.5}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list := recorded(test.scenario, 60)
			traffic := Recording{Intervals: list}.Traffic(rand.NewPCG(1, 1)).(*replayed)
			var canary, stable judge.Counts
			users := [2]map[uint32]bool{{}, {}}
			for minute := range 600 {
				from := list[traffic.at].Stable
				s := traffic.Next(Moment{Minute: float64(minute), Length: 1, BasisPoints: 2_000})
				near(t, from.Weight, s.Canary.Weight+s.Stable.Weight, 1e-9, "requests")
				near(t, from.Errors, s.Canary.Errors+s.Stable.Errors, 1e-9, "errors")
				near(t, from.Times[judge.FirstByte].Total(), s.Canary.Times[judge.FirstByte].Total()+s.Stable.Times[judge.FirstByte].Total(), 1e-9, "times")
				near(t, from.WeightSquared/from.Weight, s.Stable.WeightSquared/s.Stable.Weight, 1e-9, "Kish")
				require.Len(t, append(s.Canary.Users, s.Stable.Users...), len(from.Users))
				require.Zero(t, s.Hit)
				for i, arm := range []judge.Counts{s.Canary, s.Stable} {
					for _, print := range arm.Users {
						users[i][print] = true
					}
				}
				add(&canary, s.Canary)
				add(&stable, s.Stable)
			}
			near(t, 0.2, canary.Weight/(canary.Weight+stable.Weight), 0.02, "share of requests")
			near(t, 0.2, canary.Errors/(canary.Errors+stable.Errors), 0.05, "share of errors")
			near(t, 1, p95(canary)/p95(stable), 0.03, "p95")
			for print := range users[0] {
				require.False(t, users[1][print], "a user on both sides")
			}
		})
	}
}

// TestRecordingSpoils: the canary is as much worse as is asked for.
func TestRecordingSpoils(t *testing.T) {
	list := recorded(Scenario{Rate: 2_000, Errors: 0.01, Users: &Users{Calls: 5, Stay: 10, Share: 0.5}}, 60)
	traffic := Recording{Intervals: list, Worse: 0.1, Slower: 1.5}.Traffic(rand.NewPCG(1, 1))
	var canary, stable judge.Counts
	hit, failing, users := 0.0, 0, 0
	for minute := range 600 {
		s := traffic.Next(Moment{Minute: float64(minute), Length: 1, BasisPoints: 5_000})
		add(&canary, s.Canary)
		add(&stable, s.Stable)
		hit, failing, users = hit+s.Hit, failing+len(s.Canary.FailingUsers), users+len(s.Canary.Users)
		near(t, s.Canary.Weight-s.Canary.Errors, s.Canary.Times[judge.FirstByte].Total(), 1e-9, "times are of successes")
	}
	near(t, 0.1+0.9*rate(stable), rate(canary), 0.03, "errors")
	near(t, 1.5, p95(canary)/p95(stable), 0.03, "p95")
	near(t, 1.5, canary.Times[judge.FirstByte].Quantile(0.5)/stable.Times[judge.FirstByte].Quantile(0.5), 0.02, "median")
	near(t, 0.1+0.9*0.062, hit/canary.Weight, 0.05, "hit")
	require.Greater(t, float64(failing), 0.08*float64(users)/0.5, "users who are named as failing")
}

// TestSlower: moving by whole and by parts of buckets keeps the weight, also at
// the ends.
func TestSlower(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  int
		slower float64
		want   float64
	}{
		{"two buckets", 50, 1.2, 52},
		{"half a bucket", 50, math.Pow(1.2, 0.25), 50.5},
		{"faster by half a bucket", 50, math.Pow(1.2, -0.25), 49.5},
		{"past the last", histogram.Buckets - 2, 4, histogram.Buckets - 1},
		{"before the first", 0, 0.1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := replayed{Recording: Recording{Slower: test.slower}}
			moved := r.slower(histogram.Histogram{First: test.first, Counts: []float64{8}})
			require.InDelta(t, 8, moved.Total(), 1e-9)
			mean := 0.0
			for i, n := range moved.Counts {
				mean += float64(moved.First+i) * n / 8
			}
			require.InDelta(t, test.want, mean, 1e-9)
		})
	}
}

func TestContiguous(t *testing.T) {
	list := []judge.Interval{{Index: 3}, {Index: 5, UserShare: 1}, {Index: 6}, {Index: 9}}
	require.Equal(t, []judge.Interval{{Index: 4}, {Index: 5, UserShare: 1}, {Index: 6}, {Index: 7}, {Index: 8}}, Contiguous(list, 4, 8))
	require.Equal(t, []judge.Interval{{Index: 1}, {Index: 2}}, Contiguous(nil, 1, 2))
}

// TestReplay: a recorded bad rollout is judged at the percentages it had.
func TestReplay(t *testing.T) {
	plan := Figures()
	began := time.Unix(1_800_000_000, 0).Truncate(time.Minute).UTC()
	changes := []Change{{began, 500}, {began.Add(30 * time.Minute), 2_000}, {began.Add(60 * time.Minute), 5_000}}
	record := func(worseFrom float64) (list []judge.Interval) {
		good, bad := Scenario{Rate: 10_000, Errors: 0.001}, Scenario{Rate: 10_000, Errors: 0.001, Worse: 0.05}
		traffic := map[bool]Traffic{false: good.Traffic(rand.NewPCG(3, 3)), true: bad.Traffic(rand.NewPCG(3, 3))}
		for minute := -60; minute < 90; minute++ {
			m := Moment{Minute: float64(minute), InStep: 9, Length: 1}
			for _, change := range changes {
				if !began.Add(time.Duration(minute) * time.Minute).Before(change.At) {
					m.BasisPoints = change.BasisPoints
				}
			}
			s := traffic[m.Minute >= worseFrom].Next(m)
			list = append(list, judge.Interval{Index: began.Unix()/60 + int64(minute), Canary: s.Canary, Stable: s.Stable})
		}
		return list
	}
	through := began.Unix()/60 + 89
	tests := []struct {
		name      string
		worseFrom float64
		want      []judge.Decision
		at        []int
	}{
		{"healthy until the deadline, an hour", 999, []judge.Decision{judge.Promote, judge.Promote}, []int{500, 2_000}},
		{"worse from minute 40 on", 40, []judge.Decision{judge.Promote, judge.Rollback}, []int{500, 2_000}},
		{"worse at once", 0, []judge.Decision{judge.Rollback}, []int{500}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []judge.Decision
			var at []int
			for _, e := range Replay(plan, judge.Evidence, changes, record(test.worseFrom), through) {
				if e.Verdict.Decision != judge.Inconclusive {
					got, at = append(got, e.Verdict.Decision), append(at, e.BasisPoints)
				}
			}
			require.Equal(t, test.want, got)
			require.Equal(t, test.at, at)
		})
	}
}
