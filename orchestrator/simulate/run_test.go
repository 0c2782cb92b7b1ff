package simulate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
)

// script decides by what is written for each minute.
type script struct {
	at   map[float64]judge.Decision
	seen []judge.Input
}

func (s *script) Judge(in judge.Input) (judge.Decision, time.Time) {
	s.seen = append(s.seen, in)
	if d, ok := s.at[in.Now.Sub(in.Step.Began).Minutes()]; ok {
		return d, in.Now.Add(-in.Lag)
	}
	return judge.Hold, in.Now.Add(-in.Lag)
}

// TestRun: a rollout goes up the ladder, shows each interval once, and ends.
func TestRun(t *testing.T) {
	tests := []struct {
		name      string
		decisions map[float64]judge.Decision
		change    func(*Plan)
		want      judge.Decision
		minute    float64
		step      int
		looks     int
	}{
		{name: "to the end", decisions: map[float64]judge.Decision{15: judge.Promote, 30: judge.Promote, 45: judge.Promote}, want: judge.Promote, minute: 45, step: 2, looks: 45},
		{name: "rolled back at the second step", decisions: map[float64]judge.Decision{15: judge.Promote, 20: judge.Rollback}, want: judge.Rollback, minute: 20, step: 1, looks: 20},
		{name: "inconclusive", decisions: map[float64]judge.Decision{60: judge.Inconclusive}, want: judge.Inconclusive, minute: 60, looks: 60},
		{name: "a method without a deadline", want: judge.Inconclusive, minute: 62, looks: 62},
		{name: "a pause, after which the verdict does not matter", change: func(p *Plan) { p.Steps[0].Pause = 20 * time.Minute },
			decisions: map[float64]judge.Decision{15: judge.Promote, 50: judge.Promote, 65: judge.Promote}, want: judge.Promote, minute: 65, step: 2, looks: 65},
		{name: "rolled back in a pause", change: func(p *Plan) { p.Steps[0].Pause = 20 * time.Minute },
			decisions: map[float64]judge.Decision{15: judge.Promote, 34: judge.Rollback}, want: judge.Rollback, minute: 34, looks: 34},
		{name: "a pause moves the deadline", change: func(p *Plan) { p.Steps[0].Pause = 20 * time.Minute },
			decisions: map[float64]judge.Decision{15: judge.Promote}, want: judge.Inconclusive, minute: 82, step: 1, looks: 82},
		{name: "a person decides at the first step", change: func(p *Plan) { p.Steps[0].Approved = true },
			decisions: map[float64]judge.Decision{7: judge.Promote, 30: judge.Promote, 45: judge.Promote}, want: judge.Promote, minute: 45, step: 2, looks: 45},
		{name: "a pause, looked at each five minutes", change: func(p *Plan) { p.Look, p.Steps[0].Pause = 5*time.Minute, 20*time.Minute },
			decisions: map[float64]judge.Decision{15: judge.Promote, 20: judge.Promote, 50: judge.Promote, 65: judge.Promote}, want: judge.Promote, minute: 65, step: 2, looks: 13},
		{name: "looks between intervals", change: func(p *Plan) { p.Look = 10 * time.Second }, decisions: map[float64]judge.Decision{15: judge.Rollback}, want: judge.Rollback, minute: 15, looks: 15},
		{name: "a look each five minutes", change: func(p *Plan) { p.Look = 5 * time.Minute }, decisions: map[float64]judge.Decision{15: judge.Rollback}, want: judge.Rollback, minute: 15, looks: 3},
		{name: "two minutes of lag", change: func(p *Plan) { p.Lag = 2 * time.Minute }, decisions: map[float64]judge.Decision{15: judge.Rollback}, want: judge.Rollback, minute: 15, looks: 15},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			plan := Figures()
			if test.change != nil {
				test.change(&plan)
			}
			method := &script{at: test.decisions}
			o := Run(plan, method, Scenario{Rate: 100}.Traffic(rand.NewPCG(1, 1)))
			require.Equal(t, Outcome{Decision: test.want, Minute: test.minute, Step: test.step}, o)
			require.Len(t, method.seen, test.looks)
			checkInputs(t, plan, method.seen)
		})
	}
}

// checkInputs: the history comes first, then each interval once, as soon as it is
// closed.
func checkInputs(t *testing.T, plan Plan, seen []judge.Input) {
	began := seen[0].Step.Began
	next := began.Add(-time.Hour).Unix() / 60
	for _, in := range seen {
		require.Equal(t, in.Now.Add(-plan.Lag).Unix()/60-1, in.Through)
		for _, interval := range in.Intervals {
			require.Equal(t, next, interval.Index)
			require.Equal(t, interval.Index*60 >= began.Unix(), interval.Canary.Weight > 0, "canary traffic")
			next++
		}
		require.Equal(t, in.Through+1, next, "all that is closed")
	}
}

func TestSum(t *testing.T) {
	got := Sum([]Outcome{
		{judge.Rollback, 5, 0, 10}, {judge.Rollback, 9, 0, 20}, {judge.Promote, 45, 2, 0}, {judge.Inconclusive, 60, 1, 30}, {judge.Rollback, 7, 1, 0},
	})
	require.Equal(t, Tally{Runs: 5, RolledBack: 3, Promoted: 1, Inconclusive: 1, RollbackMinute: 7, PromoteMinute: 45, Hit: 12}, got)
	require.Zero(t, Sum(nil))
}

// TestShareOf: Wilson's intervals as in Brown, Cai & DasGupta (Statistical
// Science 16, 2001) and by hand.
func TestShareOf(t *testing.T) {
	for _, test := range []struct {
		name      string
		k, n      int
		low, high float64
	}{
		{name: "none", k: 0, n: 1000, low: 0, high: 0.003827},
		{name: "all", k: 10, n: 10, low: 0.72247, high: 1},
		{name: "some", k: 20, n: 100, low: 0.133367, high: 0.288829},
		{name: "nothing tried", low: 0, high: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := ShareOf(test.k, test.n)
			require.InDelta(t, test.low, s.Low, 1e-5)
			require.InDelta(t, test.high, s.High, 1e-5)
		})
	}
}

// onePromotion takes in one interval at a time, as the judge does where each is a
// reason to promote, and rolls back at one of them.
type onePromotion struct {
	worse int64 // number of the interval, since the rollout began
}

func (p *onePromotion) Judge(in judge.Input) (judge.Decision, time.Time) {
	first := in.Intervals[0].Index
	if first < in.Step.Began.Unix()/60 {
		first = in.Step.Began.Unix()/60 - 1
	}
	if first == in.Step.Began.Unix()/60+p.worse {
		return judge.Rollback, time.Unix(60*(first+1), 0)
	}
	return judge.Promote, time.Unix(60*(first+1), 0)
}

// TestWaitingLooksAtAll: while a rollout pauses or waits for its people, a bad
// interval is seen at the next look, however many good ones came before it.
func TestWaitingLooksAtAll(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Step)
	}{
		{"paused", func(s *Step) { s.Pause = time.Hour }},
		{"a person decides", func(s *Step) { s.Approved, s.Bake = true, time.Hour }},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan := Figures()
			plan.Look = 10 * time.Minute
			test.change(&plan.Steps[0])
			o := Run(plan, &onePromotion{worse: 33}, Scenario{Rate: 100}.Traffic(rand.NewPCG(1, 1)))
			require.Equal(t, Outcome{Decision: judge.Rollback, Minute: 40}, o)
		})
	}
}
