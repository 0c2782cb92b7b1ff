package command

import (
	"context"
	"errors"

	"perch/orchestrator/judge"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

// member is one service at a look, which is taken at many with the same calls.
type member struct {
	*session
	seen     rollout.Observed
	stored   []byte // under the key of the judge's memory
	repaired rollout.Repaired
	base     []byte // the state as it is stored after the repair

	memory, after memory // before the look and after it
	from, through int64  // numbers of the intervals that the judge has not seen
	intervals     []judge.Interval
	problem       string // why nothing could be measured, or ""
	verdict       *judge.Verdict
	next          rollout.State // what follows from the verdict
	changed       bool          // it is another

	notes  []string
	status report.Status
	err    error // why it was left out; the others go on
}

func newMembers(sessions []*session) []*member {
	members := make([]*member, len(sessions))
	for i, x := range sessions {
		members[i] = &member{session: x}
	}
	return members
}

// sound returns the members that nothing has kept back.
func sound(members []*member) []*member {
	return filter(members, func(m *member) bool { return m.err == nil })
}

func setErr(members []*member, err error) {
	for _, m := range members {
		m.err = err
	}
}

func (m *member) note(text string) { m.notes = append(m.notes, text) }

// observeAll reads what the store holds of each service.
func (a *account) observeAll(ctx context.Context, members []*member) {
	var keys []string
	for _, m := range members {
		keys = append(keys, m.service.StateKey(), m.service.RolloutKey(), m.service.HaltKey())
	}
	values, err := a.read(ctx, keys...)
	if err != nil {
		setErr(members, err)
		return
	}
	keys = nil
	for _, m := range members {
		m.seen = rollout.Observe(m.service, values)
		if s := m.seen.State; s != nil {
			keys = append(append(keys, s.EntryKey(), m.service.JudgeKey()), s.AliasKeys()...)
		}
	}
	if values, err = a.read(ctx, keys...); err != nil {
		setErr(members, err)
		return
	}
	for _, m := range members {
		if s := m.seen.State; s != nil {
			m.seen.Entry, m.seen.Aliases, m.stored = values[s.EntryKey()], values, values[m.service.JudgeKey()]
		}
	}
}

// repairAll brings the store in line with each observed state.
func (a *account) repairAll(ctx context.Context, members []*member) {
	changes := map[*member]*change{}
	var list []*change
	for _, m := range members {
		m.repaired, m.base = rollout.Repair(m.seen, a.by()), m.seen.StateText
		if len(m.repaired.Writes) > 0 {
			changes[m] = &change{session: m.session, base: m.base, next: m.repaired.State, writes: m.repaired.Writes}
			list = append(list, changes[m])
		}
		m.notes = append(m.notes, repairNotes(m.repaired)...)
	}
	a.applyAll(ctx, list)
	for m, c := range changes {
		m.err = c.err
		for _, w := range m.repaired.Writes {
			if w.Kind == rollout.WriteState {
				m.base = w.Value
			}
		}
	}
}

// settleAll repairs what races have left.
func (a *account) settleAll(ctx context.Context, members []*member) {
	for _, m := range members {
		m.settling = true
	}
	a.observeAll(ctx, members)
	for _, m := range sound(members) {
		var s rollout.State
		if s, m.err = m.managed(m.seen, true); m.err == nil {
			m.seen.State = &s
		}
	}
	a.repairAll(ctx, sound(members))
}

// stepAll repairs, judges and changes each observed service, all with the same
// calls. What goes wrong with one stands in its err.
func (a *account) stepAll(ctx context.Context, members []*member) {
	for _, m := range sound(members) {
		m.settling = false
		_, m.err = m.managed(m.seen, false)
	}
	a.recallVerdicts(ctx, sound(members))
	a.repairAll(ctx, sound(members))
	a.judgeAndApply(ctx, sound(members))
	a.yieldToRollbacks(ctx, filter(members, func(m *member) bool { return errors.Is(m.err, errHalted) }))
	for _, m := range members {
		m.status.Notes = append(m.status.Notes, m.notes...)
	}
}

// recallVerdicts judges again where a rollback got no further than its halt key,
// so that its verdict is not lost: the memory is still what it came from.
func (a *account) recallVerdicts(ctx context.Context, members []*member) {
	members = filter(members, func(m *member) bool {
		return m.seen.IsHalted() && !m.seen.State.Phase.Ended() && isPending(*m.seen.State, m.stored)
	})
	if len(members) == 0 {
		return
	}
	for _, m := range members {
		m.repaired.State = *m.seen.State
	}
	a.judgeAll(ctx, members)
	for _, m := range sound(members) {
		if m.verdict.Decision == judge.Rollback {
			m.seen.Verdict = m.verdict
		}
	}
}

// judgeAndApply judges each service and makes the changes that follow.
func (a *account) judgeAndApply(ctx context.Context, members []*member) {
	ended := func(m *member) bool { return m.repaired.State.Phase.Ended() }
	for _, m := range filter(members, ended) {
		m.status = m.describe(m.repaired.State)
		m.status.Action = "none"
	}
	members = filter(members, func(m *member) bool { return !ended(m) })
	a.judgeAll(ctx, members)
	members = sound(members)
	a.remember(ctx, members)
	changes := map[*member]*change{}
	var list []*change
	for _, m := range members {
		m.status = m.changedStatus(m.repaired.State, m.next)
		m.judgedStatus()
		if m.changed {
			changes[m] = &change{session: m.session, base: m.base, next: m.next, writes: m.next.Writes()}
			list = append(list, changes[m])
		}
	}
	a.applyAll(ctx, list)
	for m, c := range changes {
		m.err = c.err
	}
}

// yieldToRollbacks describes rollouts that someone rolled back while this command
// was at work, having written 0 wherever that was overtaken.
func (a *account) yieldToRollbacks(ctx context.Context, members []*member) {
	setErr(members, nil)
	for _, m := range members {
		m.notes = nil
	}
	a.settleAll(ctx, members)
	for _, m := range sound(members) {
		m.status = m.describe(m.repaired.State)
		m.status.Action = "none"
		m.note("the rollout was rolled back meanwhile")
	}
}

// judgedStatus adds what the look has found to the status.
func (m *member) judgedStatus() {
	m.status.Verdict = m.verdict
	if !m.status.Changed() {
		m.status.Reason = m.verdict.Reason
	}
}
