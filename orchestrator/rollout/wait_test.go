package rollout

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
)

// startedWith is a rollout whose first step, of 5 %, is as given; the second is
// the last.
func startedWith(t testing.TB, first policy.Step) State {
	s := started(t)
	first.BasisPoints = 500
	s.Policy = s.Policy.Laid([]policy.Step{first, {BasisPoints: 10_000}})
	s.Deadline = s.StartedAt.Add(time.Duration(s.Policy.Deadline))
	return s
}

// event is a look or a command, some minutes after noon.
type event struct {
	minute  int
	verdict *judge.Verdict
	command string
	// What it leads to.
	phase   Phase
	percent int
	action  Action // the state's last; "" is as before
}

func (e event) apply(t testing.TB, s State) State {
	at := by(noon.Add(time.Duration(e.minute) * time.Minute))
	if e.verdict != nil {
		next, _ := s.Judged(*e.verdict, at)
		return next
	}
	next, err := map[string]func() (State, error){
		"approve": func() (State, error) { return s.Approve("", at) },
		"pause":   func() (State, error) { return s.Pause("", at) },
		"resume":  func() (State, error) { return s.Resume(at) },
		"set":     func() (State, error) { return s.Set(500, "", at) },
	}[e.command]()
	require.NoError(t, err)
	return next
}

// TestWaiting plays looks and commands against steps that wait for a person or
// a time.
func TestWaiting(t *testing.T) {
	also, instead := policy.Step{Approve: policy.ApproveAlso}, policy.Step{Approve: policy.ApproveInstead}
	hour := policy.Duration(time.Hour)
	cases := []struct {
		name   string
		step   policy.Step
		events []event
	}{
		{"an approval comes after the verdict, and the next good look goes on", also, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{17, &good, "", Waiting, 500, ""},
			{18, nil, "approve", Running, 500, ActionApprove},
			{19, &good, "", Running, 10_000, ActionRaise},
			{35, &good, "", Promoted, 0, ActionPromote},
		}},
		{"an approval comes before the verdict", also, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{4, &unsure, "", Running, 500, ""},
			{16, &good, "", Running, 10_000, ActionRaise},
		}},
		{"what turned unsure while waiting is not raised by the approval", also, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{17, &unsure, "", Waiting, 500, ""},
			{18, nil, "approve", Running, 500, ActionApprove},
			{19, &unsure, "", Running, 500, ""},
			{20, &good, "", Running, 10_000, ActionRaise},
		}},
		{"a breach rolls back while waiting", also, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{17, &bad, "", RolledBack, 0, ActionRollback},
		}},
		{"a second approval changes nothing", also, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{4, nil, "approve", Running, 500, ""},
		}},
		{"the deadline does not act while waiting", also, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{50, &unsure, "", Waiting, 500, ""},
			{100, &tooLate, "", Waiting, 500, ""},
		}},
		{"a person decides instead of the evidence, once the bake is over", instead, []event{
			{15, &unsure, "", Running, 500, ""},
			{16, &unsure, "", Waiting, 500, ActionWait},
			{17, &unsure, "", Waiting, 500, ""},
			{18, nil, "approve", Running, 500, ActionApprove},
			{19, &blind, "", Running, 500, ""},
			{20, &unsure, "", Running, 10_000, ActionRaise},
		}},
		{"a person decides before the bake is over", instead, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{4, &unsure, "", Running, 10_000, ActionRaise},
		}},
		{"evidence rolls back what a person has approved", instead, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{4, &bad, "", RolledBack, 0, ActionRollback},
		}},
		{"a good verdict waits for the person too", instead, []event{
			{16, &good, "", Waiting, 500, ActionWait},
		}},
		{"a pause begins with the verdict, and ends by itself", policy.Step{Pause: hour}, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{47, &good, "", Waiting, 500, ""},
			{75, &good, "", Waiting, 500, ""},
			{76, &good, "", Running, 10_000, ActionRaise},
		}},
		{"after a pause the verdict must still be good, but nothing waits again", policy.Step{Pause: hour}, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{47, &good, "", Waiting, 500, ""},
			{77, &unsure, "", Running, 500, ActionResume},
			{78, &unsure, "", Running, 500, ""},
			{79, &good, "", Running, 10_000, ActionRaise},
		}},
		{"a pause goes on after the approval", policy.Step{Pause: hour, Approve: policy.ApproveAlso}, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{20, nil, "approve", Waiting, 500, ActionApprove},
			{50, &good, "", Waiting, 500, ""},
			{76, &good, "", Running, 10_000, ActionRaise},
		}},
		{"an approval comes after the pause", policy.Step{Pause: hour, Approve: policy.ApproveAlso}, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{50, &good, "", Waiting, 500, ""},
			{80, &good, "", Waiting, 500, ""},
			{81, nil, "approve", Running, 500, ActionApprove},
			{82, &good, "", Running, 10_000, ActionRaise},
		}},
		{"paused while waiting, it bakes and waits anew, but is still approved", policy.Step{Pause: hour, Approve: policy.ApproveAlso}, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{17, nil, "approve", Waiting, 500, ActionApprove},
			{18, nil, "pause", Paused, 500, ActionPause},
			{200, &good, "", Paused, 500, ""},
			{201, nil, "resume", Running, 500, ActionResume},
			{217, &good, "", Waiting, 500, ActionWait},
			{250, &good, "", Waiting, 500, ""},
			{277, &good, "", Running, 10_000, ActionRaise},
		}},
		{"a percentage set by hand takes back the approval", also, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{4, nil, "set", Paused, 500, ActionSet},
			{5, nil, "resume", Running, 500, ActionResume},
			{21, &good, "", Waiting, 500, ActionWait},
		}},
		{"what the edge dropped while it waited bakes anew", also, []event{
			{16, &good, "", Waiting, 500, ActionWait},
			{77, &blind, "", Waiting, 500, ""},
			{78, &good, "", Running, 500, ActionRevive},
			{94, &good, "", Waiting, 500, ActionWait},
		}},
		{"what the edge dropped needs a new approval", also, []event{
			{3, nil, "approve", Running, 500, ActionApprove},
			{78, &good, "", Running, 500, ActionRevive},
			{94, &good, "", Waiting, 500, ActionWait},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := startedWith(t, c.step)
			for _, e := range c.events {
				before := s
				if e.action == "" {
					e.action = before.Last.Action
				}
				s = e.apply(t, s)
				require.Equal(t, e.phase, s.Phase, "minute %d", e.minute)
				require.Equal(t, e.percent, s.Document.BasisPoints, "minute %d", e.minute)
				require.Equal(t, e.action, s.Last.Action, "minute %d", e.minute)
				require.False(t, s.Deadline.Before(before.Deadline), "minute %d", e.minute)
				back, err := Decode(s.Encode())
				require.NoError(t, err)
				require.Equal(t, s.Encode(), back.Encode())
			}
		})
	}
}

func TestDeadlineStandsStill(t *testing.T) {
	s := startedWith(t, policy.Step{Approve: policy.ApproveAlso})
	deadline := s.Deadline
	require.Equal(t, noon.Add(time.Hour), deadline)
	s, _ = s.Judged(good, by(noon.Add(20*time.Minute)))
	require.Equal(t, deadline, s.Deadline)
	waiting := s
	for minute := 40; minute < 200; minute += 20 {
		s, _ = s.Judged(good, by(noon.Add(time.Duration(minute)*time.Minute)))
	}
	s, err := s.Approve("", by(noon.Add(200*time.Minute)))
	require.NoError(t, err)
	require.Equal(t, deadline.Add(180*time.Minute), s.Deadline)

	waiting.Deadline = noon.Add(21 * time.Minute)
	s, err = waiting.Approve("", by(noon.Add(30*time.Minute)))
	require.NoError(t, err)
	require.Equal(t, noon.Add((30+15+2)*time.Minute), s.Deadline, "time to bake once more at least")
}

func TestWhatIsSaidOfAWait(t *testing.T) {
	s := startedWith(t, policy.Step{Pause: policy.Duration(time.Hour), Approve: policy.ApproveAlso})
	at := noon.Add(16 * time.Minute)
	require.True(t, s.NeedsApproval())
	require.True(t, s.PauseEnds().IsZero())
	require.Equal(t, "an approval and its pause of 1h", s.Outstanding(at))
	s, _ = s.Judged(good, by(at))
	require.Equal(t, "waits for an approval and its pause of 1h; good", s.Last.Reason)
	require.Equal(t, noon.Add(76*time.Minute), s.PauseEnds())
	require.Equal(t, "an approval and the end of its pause at 2026-11-20 13:16:00 UTC", s.Outstanding(at))
	require.Equal(t, "an approval", s.Outstanding(noon.Add(76*time.Minute)))
	s, err := s.Approve("looks fine", By{Actor: "grace@desk", Now: noon.Add(50 * time.Minute)})
	require.NoError(t, err)
	require.Equal(t, &Approved{Step: 500, Actor: "grace@desk", Time: noon.Add(50 * time.Minute)}, s.Approved)
	require.Equal(t, "looks fine", s.Last.Reason)
	s, _ = s.Judged(good, by(noon.Add(75*time.Minute)))
	require.Equal(t, Waiting, s.Phase)
	s, _ = s.Judged(good, by(noon.Add(76*time.Minute)))
	require.Equal(t, "approved by grace@desk; good", s.Last.Reason)
	require.False(t, s.NeedsApproval(), "the next step asks for none")
	require.Empty(t, s.Outstanding(at))
}

func TestPause(t *testing.T) {
	s, err := started(t).Pause("", by(noon.Add(time.Minute)))
	require.NoError(t, err)
	require.Equal(t, Paused, s.Phase)
	require.Equal(t, 500, s.Document.BasisPoints)
	require.Zero(t, s.Document.UnattendedAfterMS)
	require.Equal(t, noon, s.StepSince, "a breach is judged from the same bake on")
	require.Equal(t, "paused by hand", s.Last.Reason)
	same, err := s.Pause("again", by(noon.Add(2*time.Minute)))
	require.NoError(t, err)
	require.Equal(t, s, same)

	late := noon.Add(61 * time.Minute)
	dropped, err := started(t).Pause("", by(late))
	require.NoError(t, err)
	require.True(t, dropped.Lapsed(late), "a pause brings back nothing that the edge has dropped")
	_, changed := dropped.Judged(good, by(late))
	require.False(t, changed)
	back, err := dropped.Resume(by(late))
	require.NoError(t, err)
	require.False(t, back.Lapsed(late))
}

func TestRefusals(t *testing.T) {
	rolledBack := started(t).Rollback("bad", by(noon))
	promoted, err := started(t).Promote("", by(noon))
	require.NoError(t, err)
	paused, err := startedWith(t, policy.Step{Approve: policy.ApproveAlso}).Pause("", by(noon))
	require.NoError(t, err)
	inconclusive, _ := started(t).Judged(tooLate, by(noon))
	waiting, _ := startedWith(t, policy.Step{Approve: policy.ApproveAlso}).Judged(good, by(noon))
	pausing, _ := startedWith(t, policy.Step{Pause: policy.Duration(time.Hour)}).Judged(good, by(noon))
	approve := func(s State) error { _, err := s.Approve("", by(noon)); return err }
	pause := func(s State) error { _, err := s.Pause("", by(noon)); return err }
	resume := func(s State) error { _, err := s.Resume(by(noon)); return err }
	cases := []struct {
		name          string
		err           error
		problem, hint string
	}{
		{"approve what is rolled back", approve(rolledBack), "rollout 2026-11-20-a has ended: rolled back", "orchestrator start"},
		{"approve what is promoted", approve(promoted), "has ended: promoted", "orchestrator start"},
		{"approve what is paused", approve(paused), "is paused: an approval would not make it go on", "orchestrator resume"},
		{"approve what is inconclusive", approve(inconclusive), "is inconclusive", "orchestrator resume"},
		{"approve a step that asks for none", approve(started(t)), "waits for no approval at 5 %", "approve: true"},
		{"pause what is rolled back", pause(rolledBack), "has ended: rolled back", "orchestrator start"},
		{"pause what is promoted", pause(promoted), "has ended: promoted", "orchestrator start"},
		{"resume what waits for an approval", resume(waiting), "is not paused: it waits for an approval", "orchestrator approve"},
		{"resume what waits for a pause", resume(pausing), "it waits for the end of its pause at 2026-11-20 13:00:00 UTC", "orchestrator promote"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var refused *Refused
			require.ErrorAs(t, c.err, &refused)
			require.Contains(t, refused.Problem, c.problem)
			require.Contains(t, refused.Hint, c.hint)
		})
	}
}

func TestResumeAfterThePause(t *testing.T) {
	s, _ := startedWith(t, policy.Step{Pause: policy.Duration(time.Hour)}).Judged(good, by(noon))
	same, err := s.Resume(by(noon.Add(time.Hour)))
	require.NoError(t, err)
	require.Equal(t, s, same, "the next look goes on")
}

// TestOvertaken: what a person did while a step was at work is done again.
func TestOvertaken(t *testing.T) {
	at := noon.Add(20 * time.Minute)
	also := policy.Step{Approve: policy.ApproveAlso}
	pause := func(s State) (State, error) { return s.Pause("stop", by(at)) }
	approve := func(s State) (State, error) { return s.Approve("go", by(at)) }
	look := func(s State) State { s, _ = s.Judged(good, by(at)); return s }
	cases := []struct {
		name     string
		step     policy.Step
		hand     func(State) (State, error)
		late     func(State) State
		phase    Phase
		percent  int
		approved bool
		action   Action
		last     bool // it happens at the last step, not the first
	}{
		{"a pause by a raise", policy.Step{}, pause, look, Paused, 500, false, ActionSet, false},
		{"a pause by a wait", also, pause, look, Paused, 500, false, ActionPause, false},
		{"a pause by a promotion", policy.Step{}, pause, look, Paused, 10_000, false, ActionSet, true},
		{"an approval by a wait", also, approve, look, Running, 500, true, ActionApprove, false},
		{"a pause by a rollback", policy.Step{}, pause, func(s State) State { return s.Rollback("bad", by(at)) }, RolledBack, 0, false, ActionRollback, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := startedWith(t, c.step)
			if c.last {
				before = look(before)
			}
			hand, err := c.hand(before)
			require.NoError(t, err)
			kv := store{}
			kv.apply(before.Writes(), -1, false)
			late := c.late(before)
			for _, w := range append(hand.Writes(), late.Writes()[:2]...) {
				kv[w.Key] = w.Value
			}
			kv[hand.EntryKey()], _ = json.Marshal(hand.Last)
			s := kv.settle(t, at.Add(time.Minute))
			require.Equal(t, c.phase, s.Phase)
			require.Equal(t, c.percent, s.Document.BasisPoints)
			require.Equal(t, c.approved, s.isApproved())
			require.Equal(t, c.action, s.Last.Action)
		})
	}
}
