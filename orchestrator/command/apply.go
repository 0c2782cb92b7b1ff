package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/rollout"
)

// errHalted reports a rollback that came in between.
var errHalted = errors.New("the rollout was rolled back meanwhile")

// errLostRace reports that someone else changed the rollout meanwhile.
var errLostRace = &failure{code: exitLostRace, err: errors.New("someone else changed the rollout meanwhile"),
	hint: "orchestrator status shows the new state; run the command again to act on it"}

// change is one service's way to its next state.
type change struct {
	*session
	base   []byte // the state as it was read
	next   rollout.State
	writes []rollout.Write // what is left of them, in order
	failed []error         // of a rollback's writes, which go on nevertheless
	err    error           // why it was given up
}

// leading returns the writes that are next: the first, and those of its kind
// right behind it.
func (c *change) leading() []rollout.Write {
	n := 0
	for n < len(c.writes) && c.writes[n].Kind == c.writes[0].Kind {
		n++
	}
	return c.writes[:n]
}

// unfinished returns the changes that have writes left and were not given up.
func unfinished(changes []*change) []*change {
	return filter(changes, func(c *change) bool { return c.err == nil && len(c.writes) > 0 })
}

func filter[T any](list []T, keep func(T) bool) []T {
	var kept []T
	for _, v := range list {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// apply makes the writes that lead one service to next. base is the state as it
// was read.
func (x *session) apply(ctx context.Context, base []byte, next rollout.State, writes []rollout.Write) error {
	c := &change{session: x, base: base, next: next, writes: writes}
	x.applyAll(ctx, []*change{c})
	return c.err
}

// applyAll makes the writes of each change in their order, those of all services
// together. KV knows no compare-and-set: the state and the halt key are read
// again before each write that matters, and once after the last, so that a change
// of someone else in between is found and left alone. What slips through in the
// moment between a check and its write is repaired by the next command, and a
// rollback is safe even then: the edge obeys the halt key. Rollbacks come first.
// Each change that was given up has its err set; the others go on.
func (a *account) applyAll(ctx context.Context, changes []*change) {
	if len(changes) == 0 {
		return
	}
	if a.settings.dryRun {
		for _, c := range changes {
			c.planned = append(c.planned, c.writes...)
		}
		return
	}
	isRollback := func(c *change) bool { return c.next.Phase == rollout.RolledBack }
	a.applyRollbacks(ctx, filter(changes, isRollback))
	a.applyChecked(ctx, filter(changes, func(c *change) bool { return !isRollback(c) }))
}

func (a *account) applyChecked(ctx context.Context, changes []*change) {
	for first := true; ; first = false {
		wave := unfinished(changes)
		if len(wave) == 0 {
			break
		}
		a.check(ctx, filter(wave, func(c *change) bool {
			kind := c.writes[0].Kind
			return first || kind == rollout.WriteState || kind == rollout.WriteDocument
		}))
		for c, err := range a.write(ctx, unfinished(wave)) {
			c.err = err
		}
	}
	done := filter(changes, func(c *change) bool { return c.err == nil })
	a.check(ctx, done)
	// A document that was just written may stand over a newer one.
	a.settle(ctx, filter(done, func(c *change) bool { return errors.Is(c.err, errLostRace) && !c.settling }))
}

// write makes the leading writes of each change, and returns what failed.
func (a *account) write(ctx context.Context, wave []*change) map[*change]error {
	var pairs []cloudflare.Pair
	owners := map[string]*change{}
	for _, c := range wave {
		for _, w := range c.leading() {
			pairs = append(pairs, cloudflare.Pair{Key: w.Key, Value: w.Value})
			owners[w.Key] = c
			if w.Kind == rollout.WriteState {
				c.base = w.Value
			}
		}
		c.writes = c.writes[len(c.leading()):]
	}
	failed := map[*change]error{}
	for key, err := range a.putMany(ctx, pairs) {
		c := owners[key]
		failed[c] = errors.Join(failed[c], fmt.Errorf("write KV key %s: %w", key, err))
	}
	return failed
}

// putMany writes pairs, and returns why each key failed that did.
func (a *account) putMany(ctx context.Context, pairs []cloudflare.Pair) map[string]error {
	if len(pairs) == 0 {
		return nil
	}
	err := a.store.PutMany(ctx, pairs)
	if err == nil {
		return nil
	}
	failed := map[string]error{}
	var unwritten *cloudflare.Unwritten
	if errors.As(err, &unwritten) {
		for _, key := range unwritten.Keys {
			failed[key] = unwritten.Err
		}
		return failed
	}
	for _, p := range pairs {
		failed[p.Key] = err
	}
	return failed
}

// check gives up the changes whose stored state is not their base any more, whose
// rollout is halted, or whose generation somebody else has recorded a change of.
// The last makes a loss loud: of two that write the same generation, one comes
// second with its state, and finds the other's entry; or else the other, which
// looks once more after its entry, finds the foreign state.
func (a *account) check(ctx context.Context, changes []*change) {
	var keys []string
	for _, c := range changes {
		keys = append(keys, c.service.StateKey(), c.service.HaltKey(), c.next.EntryKey())
	}
	values, err := a.read(ctx, keys...)
	for _, c := range changes {
		if c.err = err; err == nil {
			c.err = c.overtaken(values)
		}
	}
}

func (c *change) overtaken(values map[string][]byte) error {
	entry := c.next.HistoryWrite()
	recorded := values[entry.Key]
	taken := c.next.IsChange() && recorded != nil && !bytes.Equal(recorded, entry.Value)
	state := values[c.service.StateKey()]
	switch {
	case !bytes.Equal(state, c.base) && isOfAnother(state, c.next.ID()):
		return errLostRace
	case string(bytes.TrimSpace(values[c.service.HaltKey()])) == c.next.ID():
		return errHalted
	case !bytes.Equal(state, c.base), taken:
		return errLostRace
	}
	return nil
}

// applyRollbacks makes the writes of rollbacks. They yield to nobody but a new
// rollout, and go on where a write fails: each of them helps by itself.
func (a *account) applyRollbacks(ctx context.Context, changes []*change) {
	for wave := unfinished(changes); len(wave) > 0 && ctx.Err() == nil; wave = unfinished(changes) {
		a.dropSuperseded(ctx, filter(wave, func(c *change) bool { return c.writes[0].Kind == rollout.WriteState }))
		for c, err := range a.write(ctx, unfinished(wave)) {
			c.failed = append(c.failed, err)
		}
	}
	for _, c := range changes {
		if c.err == nil && ctx.Err() != nil {
			c.failed = append(c.failed, ctx.Err())
		}
		if c.err == nil && len(c.failed) > 0 {
			c.err = &failure{code: exitError, err: fmt.Errorf("roll back: %w", errors.Join(c.failed...)),
				hint: "what could be written is written; run orchestrator rollback again"}
		}
	}
}

// dropSuperseded gives up the rollbacks of which the stored state is another rollout's.
func (a *account) dropSuperseded(ctx context.Context, changes []*change) {
	var keys []string
	for _, c := range changes {
		keys = append(keys, c.service.StateKey())
	}
	values, err := a.read(ctx, keys...)
	if err != nil {
		return
	}
	for _, c := range changes {
		if isOfAnother(values[c.service.StateKey()], c.next.ID()) {
			c.err = errors.Join(append(c.failed, errLostRace)...)
		}
	}
}

// isOfAnother reports that a stored state is of another rollout.
func isOfAnother(state []byte, id string) bool {
	s, err := rollout.Decode(state)
	return err == nil && s.ID() != id
}

// settle repairs what a race has left. It is for those who found one; what fails
// is left to the next command.
func (a *account) settle(ctx context.Context, lost []*change) {
	var sessions []*session
	for _, c := range lost {
		sessions = append(sessions, c.session)
	}
	a.settleAll(ctx, newMembers(sessions))
}
