package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"perch/orchestrator/rollout"
)

// errHalted reports a rollback that came in between.
var errHalted = errors.New("the rollout was rolled back meanwhile")

// errLostRace reports that someone else changed the rollout meanwhile.
var errLostRace = &failure{code: exitLostRace, err: errors.New("someone else changed the rollout meanwhile"),
	hint: "orchestrator status shows the new state; run the command again to act on it"}

// apply makes the writes that lead to next, in order. KV knows no
// compare-and-set: the state and the halt key are read again before each write
// that matters, and once after the last, so that a change of someone else in
// between is found and left alone. base is the state as it was read. What slips
// through in the moment between a check and its write is repaired by the next
// command, and a rollback is safe even then: the edge obeys the halt key.
func (x *session) apply(ctx context.Context, base []byte, next rollout.State, writes []rollout.Write) error {
	if x.settings.dryRun {
		x.planned = append(x.planned, writes...)
		return nil
	}
	if next.Phase == rollout.RolledBack {
		return x.applyRollback(ctx, next, writes)
	}
	for i, w := range writes {
		if i == 0 || w.Kind == rollout.WriteState || w.Kind == rollout.WriteDocument {
			if err := x.unchanged(ctx, base, next); err != nil {
				return err
			}
		}
		if err := x.store.Put(ctx, w.Key, w.Value); err != nil {
			return err
		}
		if w.Kind == rollout.WriteState {
			base = w.Value
		}
	}
	err := x.unchanged(ctx, base, next)
	if errors.Is(err, errLostRace) && !x.settling {
		// The document that was just written may stand over a newer one.
		x.settling = true
		_, _ = x.settle(ctx)
	}
	return err
}

// unchanged checks that the stored state is still base, that next's rollout is
// not halted, and that nobody else has recorded a change of next's generation.
// The last makes a loss loud: of two that write the same generation, one comes
// second with its state, and finds the other's entry; or else the other, which
// looks once more after its entry, finds the foreign state.
func (x *session) unchanged(ctx context.Context, base []byte, next rollout.State) error {
	entry := next.HistoryWrite()
	values, err := x.read(ctx, x.service.StateKey(), x.service.HaltKey(), entry.Key)
	if err != nil {
		return err
	}
	recorded := values[entry.Key]
	taken := next.IsChange() && recorded != nil && !bytes.Equal(recorded, entry.Value)
	state := values[x.service.StateKey()]
	switch {
	case !bytes.Equal(state, base) && isOfAnother(state, next.ID()):
		return errLostRace
	case string(bytes.TrimSpace(values[x.service.HaltKey()])) == next.ID():
		return errHalted
	case !bytes.Equal(state, base), taken:
		return errLostRace
	}
	return nil
}

// applyRollback makes the writes of a rollback. It yields to nobody but a new
// rollout, and goes on where a write fails: each of them helps by itself.
func (x *session) applyRollback(ctx context.Context, next rollout.State, writes []rollout.Write) error {
	var failed []error
	for _, w := range writes {
		if w.Kind == rollout.WriteState && x.superseded(ctx, next.ID()) {
			return errors.Join(append(failed, errLostRace)...)
		}
		if err := x.store.Put(ctx, w.Key, w.Value); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) > 0 {
		return &failure{code: exitError, err: fmt.Errorf("roll back: %w", errors.Join(failed...)),
			hint: "what could be written is written; run orchestrator rollback again"}
	}
	return nil
}

// superseded reports that the stored state is of another rollout.
func (x *session) superseded(ctx context.Context, id string) bool {
	text, err := x.store.Get(ctx, x.service.StateKey())
	return err == nil && isOfAnother(text, id)
}

// isOfAnother reports that a stored state is of another rollout.
func isOfAnother(state []byte, id string) bool {
	s, err := rollout.Decode(state)
	return err == nil && s.ID() != id
}

// repair brings the store in line with its state and returns what it then
// holds. A dry run goes on with what would be there.
func (x *session) repair(ctx context.Context, o rollout.Observed) (rollout.Repaired, []byte, error) {
	r := rollout.Repair(o, x.by())
	base := o.StateText
	if len(r.Writes) == 0 {
		return r, base, nil
	}
	err := x.apply(ctx, base, r.State, r.Writes)
	for _, w := range r.Writes {
		if w.Kind == rollout.WriteState {
			base = w.Value
		}
	}
	return r, base, err
}

// settle repairs what a race has left. It is for those who found one.
func (x *session) settle(ctx context.Context) (rollout.Repaired, error) {
	o, err := x.observe(ctx)
	if err != nil {
		return rollout.Repaired{}, err
	}
	s, err := x.managed(o, true)
	if err != nil {
		return rollout.Repaired{}, err
	}
	o.State = &s
	r, _, err := x.repair(ctx, o)
	return r, err
}
