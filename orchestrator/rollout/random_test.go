package rollout

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// walk is a rollout that looks and commands come to in any order, with what the
// test itself remembers of it.
type walk struct {
	*testing.T
	r        *rand.Rand
	s        State
	now      time.Time
	approved map[int]bool  // steps, since a percentage was set by hand
	waited   time.Time     // when the present step was first done, or zero
	stood    time.Duration // to the deadline when it began to stand still
}

// drawSteps returns up to five steps with approvals and pauses.
func drawSteps(r *rand.Rand) []policy.Step {
	var steps []policy.Step
	for at := 1 + r.IntN(3_000); at < 10_000; at += 1 + r.IntN(4_000) {
		steps = append(steps, policy.Step{
			BasisPoints: at, Bake: policy.Duration(time.Duration(r.IntN(30)) * time.Minute), Pause: policy.Duration(time.Duration(r.IntN(2)*r.IntN(90)) * time.Minute),
			Approve: []policy.Approval{policy.ApproveNone, policy.ApproveNone, policy.ApproveAlso, policy.ApproveInstead}[r.IntN(4)],
		})
	}
	return append(steps, policy.Step{BasisPoints: 10_000, Approve: []policy.Approval{policy.ApproveNone, policy.ApproveAlso}[r.IntN(2)]})
}

// TestRandom plays any sequence of looks and commands: nothing of it may break
// what a rollout promises.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	phases, actions := map[Phase]int{}, map[Action]int{}
	for range 1_500 {
		s := started(t)
		s.Policy = s.Policy.Laid(drawSteps(r))
		s, _ = s.Set(s.Policy.Steps[0].BasisPoints, "", by(noon))
		s, _ = s.Resume(by(noon))
		w := &walk{T: t, r: r, s: s, now: noon, approved: map[int]bool{}}
		for range 40 {
			w.now = w.now.Add(time.Duration(r.IntN(20*60)) * time.Second)
			before := w.s
			if r.IntN(4) > 0 {
				w.look()
			} else {
				w.command()
			}
			w.check(before)
			phases[w.s.Phase]++
			actions[w.s.Last.Action]++
		}
	}
	for _, p := range []Phase{Running, Waiting, Paused, Inconclusive, RolledBack, Promoted} {
		require.Greater(t, phases[p], 100, p)
	}
	for _, a := range []Action{ActionRaise, ActionSet, ActionPause, ActionResume, ActionWait, ActionApprove, ActionRevive, ActionInconclusive, ActionPromote, ActionRollback} {
		require.Greater(t, actions[a], 100, a)
	}
}

// isBlind reports a look that could measure nothing.
func (w *walk) isBlind(v judge.Verdict) bool {
	return v.Reason == blind.Reason || v.Reason == blindLate.Reason
}

func (w *walk) look() {
	verdicts := []judge.Verdict{good, good, good, unsure, unsure, unsure, blind, tooLate, blindLate}
	v := verdicts[w.r.IntN(len(verdicts))]
	if w.r.IntN(40) == 0 {
		v = bad
	}
	s := w.s
	next, changed := s.Judged(v, by(w.now))
	step := s.Policy.StepAt(s.Document.BasisPoints)
	rose := next.Document.BasisPoints > s.Document.BasisPoints || next.Phase == Promoted && s.Phase != Promoted
	switch {
	case rose:
		w.checkRise(v, next)
	case v.Decision == judge.Rollback && s.Phase != Promoted:
		require.Equal(w, RolledBack, next.Phase)
	}
	if v.Decision == judge.Rollback && !s.Phase.Ended() {
		require.Zero(w, next.Document.BasisPoints)
	}
	if w.isBlind(v) && next.Phase != RolledBack {
		require.Equal(w, s.Document.UnattendedAfterMS, next.Document.UnattendedAfterMS, "nobody looked")
	}
	if !changed {
		require.Equal(w, s, next)
	}
	baked := !w.now.Before(s.StepSince.Add(time.Duration(step.Bake + s.Policy.Lag)))
	done := v.Decision == judge.Promote || step.Approve == policy.ApproveInstead && (baked || w.approved[step.BasisPoints])
	if s.Phase == Running && next.Phase == Waiting {
		require.True(w, done)
		if w.waited.IsZero() {
			w.waited = stamp(w.now)
		}
		w.stood = s.Deadline.Sub(w.now)
	}
	w.s = next
}

// checkRise holds a rise by a look to what the policy and people allow.
func (w *walk) checkRise(v judge.Verdict, next State) {
	s := w.s
	step := s.Policy.StepAt(s.Document.BasisPoints)
	require.True(w, s.Phase == Running || s.Phase == Waiting)
	require.False(w, s.Lapsed(w.now))
	require.False(w, w.isBlind(v))
	if step.Approve != policy.ApproveNone {
		require.True(w, w.approved[step.BasisPoints], "never above the approved step")
	}
	if step.Approve != policy.ApproveInstead {
		require.Equal(w, judge.Promote, v.Decision)
	}
	if step.Pause > 0 {
		require.False(w, w.waited.IsZero())
		require.False(w, w.now.Before(w.waited.Add(time.Duration(step.Pause))))
	}
	if higher, more := s.Policy.NextStep(s.Document.BasisPoints); more {
		require.Equal(w, higher, next.Document.BasisPoints, "no step is skipped")
	} else {
		require.Equal(w, Promoted, next.Phase)
	}
	w.waited = time.Time{}
}

func (w *walk) command() {
	s, at := w.s, by(w.now)
	var next State
	var err error
	switch n := w.r.IntN(100); {
	case n < 45:
		next, err = s.Approve("", at)
		if err == nil {
			w.approved[s.Policy.StepAt(s.Document.BasisPoints).BasisPoints] = true
		}
	case n < 60:
		next, err = s.Pause("", at)
	case n < 85:
		next, err = s.Resume(at)
	case n < 97:
		next, err = s.Set(w.r.IntN(10_001), "", at)
		if err == nil {
			w.approved = map[int]bool{}
		}
	case n < 98:
		next, err = s.Promote("", at)
	default:
		next = s.Rollback("", at)
	}
	if err != nil {
		var refused *Refused
		require.ErrorAs(w, err, &refused)
		require.NotEmpty(w, refused.Hint)
		require.Equal(w, s, next)
	}
	w.s = next
}

// check holds any move to what always holds.
func (w *walk) check(before State) {
	s := w.s
	require.NoError(w, s.check())
	require.NoError(w, s.Document.Validate())
	require.Equal(w, string(before.Encode()) != string(s.Encode()), s.Document.Generation > before.Document.Generation, "generations rise with every change")
	require.False(w, s.Deadline.Before(before.Deadline), "the deadline never shrinks")
	if before.Phase == RolledBack {
		require.Equal(w, before, s, "what is halted stays halted")
	}
	if s.Phase.Ended() {
		require.Zero(w, s.Document.BasisPoints)
	}
	if before.Phase == Waiting && s.Phase == Waiting {
		require.Equal(w, before.Deadline, s.Deadline)
	}
	if before.Phase == Waiting && s.Phase == Running {
		require.GreaterOrEqual(w, s.Deadline.Sub(w.now)+time.Millisecond, w.stood, "a wait costs no time")
	}
	if s.Phase == Waiting {
		require.NotEmpty(w, s.Outstanding(before.WaitingSince), "only what is outstanding is waited for")
	}
	if s.WaitingSince.IsZero() {
		w.waited = time.Time{}
	}
}
