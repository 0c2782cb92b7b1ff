package command

import (
	"context"
	"errors"

	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

// member is one service at a look that is taken at many.
type member struct {
	*session
	seen     rollout.Observed
	repaired rollout.Repaired
	base     []byte // the state as it is stored after the repair
	status   report.Status
	err      error // why it was left out; the others go on
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
		if m.seen.State != nil {
			keys = append(keys, m.seen.State.EntryKey())
			keys = append(keys, m.seen.State.AliasKeys()...)
		}
	}
	if values, err = a.read(ctx, keys...); err != nil {
		setErr(members, err)
		return
	}
	for _, m := range members {
		if s := m.seen.State; s != nil {
			m.seen.Entry, m.seen.Aliases = values[s.EntryKey()], values
		}
	}
}

func setErr(members []*member, err error) {
	for _, m := range members {
		m.err = err
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

// stepAll repairs, judges and changes each service, all with the same calls.
func (a *account) stepAll(ctx context.Context, sessions []*session) []*member {
	members := newMembers(sessions)
	for _, m := range members {
		m.settling = false
	}
	a.observeAll(ctx, members)
	for _, m := range sound(members) {
		_, m.err = m.managed(m.seen, false)
	}
	a.repairAll(ctx, sound(members))
	a.judgeAndApply(ctx, sound(members))
	a.yieldToRollbacks(ctx, filter(members, func(m *member) bool { return errors.Is(m.err, errHalted) }))
	return members
}

// yieldToRollbacks describes rollouts that someone rolled back while this command
// was at work, having written 0 wherever that was overtaken.
func (a *account) yieldToRollbacks(ctx context.Context, members []*member) {
	for _, m := range members {
		m.err = nil
	}
	a.settleAll(ctx, members)
	for _, m := range sound(members) {
		m.status = m.describe(m.repaired.State)
		m.status.Action = "none"
		m.status.Notes = append(repairNotes(m.repaired), "the rollout was rolled back meanwhile")
	}
}
