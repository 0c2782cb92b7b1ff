package rollout

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
	"perch/shared/document"
)

var (
	noon    = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	service = document.Service{Kind: document.KindModel, Name: "acme/flux"}
	oldID   = strings.Repeat("a", 64)
	newID   = strings.Repeat("b", 64)
)

func by(now time.Time) By { return By{Actor: "ada@desk", Now: now} }

func started(t testing.TB) State {
	s, err := Start(New{
		Service: service, Rollout: "2026-11-20-a", Policy: policy.Default(), After: 6,
		Stable: document.Target{Version: "acme/flux:" + oldID}, Canary: document.Target{Version: "acme/flux:" + newID},
		Base: &document.Document{
			Service: service, Rollout: "before", Generation: 6, Mode: document.ModeCanary, Salt: "before",
			Targets: []document.Target{{Name: "stable", Version: oldID}, {Name: "person", URL: "https://person.example"}},
			Rules:   []document.Rule{{Header: "x-kind", Equals: "person", Use: "person"}},
			User:    document.User{Header: "x-customer", Cookie: "perch-user"}, Overrides: true,
		},
	}, by(noon))
	require.NoError(t, err)
	return s
}

var (
	good    = judge.Verdict{Decision: judge.Promote, Reason: "good", Metrics: seen}
	unsure  = judge.Verdict{Decision: judge.Hold, Reason: "unsure", Metrics: seen}
	bad     = judge.Verdict{Decision: judge.Rollback, Reason: "bad", Metrics: seen}
	tooLate = judge.Verdict{Decision: judge.Inconclusive, Reason: "too late", Metrics: seen}
	// Looks that could measure nothing.
	blind     = judge.Verdict{Decision: judge.Hold, Reason: "nothing could be measured"}
	blindLate = judge.Verdict{Decision: judge.Inconclusive, Reason: "too late, and nothing could be measured"}

	seen = []judge.Assessment{{Metric: judge.Errors}}
)

// store is KV as the rollout sees it; fail stops it at a write.
type store map[string][]byte

// apply makes the writes; write n (from 0) fails, stored or not, and ends it.
func (s store) apply(writes []Write, failAt int, persist bool) bool {
	for i, w := range writes {
		if i == failAt && !persist {
			return false
		}
		s[w.Key] = w.Value
		if i == failAt {
			return false
		}
	}
	return true
}

func (s store) observe() Observed {
	o := Observe(service, s)
	if o.State != nil {
		o.Entry, o.Aliases = s[o.State.EntryKey()], s
	}
	return o
}

// settle repairs until nothing is left to do.
func (s store) settle(t testing.TB, now time.Time) State {
	for range 3 {
		r := Repair(s.observe(), by(now))
		if len(r.Writes) == 0 {
			s.requireInLine(t)
			return r.State
		}
		s.apply(r.Writes, -1, false)
	}
	t.Fatal("repair does not come to rest")
	return State{}
}

// requireInLine checks that document, history and halt say what the state says.
func (s store) requireInLine(t testing.TB) {
	o := s.observe()
	require.NotNil(t, o.State)
	require.NotNil(t, o.Document)
	require.Equal(t, o.State.Document.BasisPoints, o.Document.BasisPoints)
	require.Equal(t, o.State.ID(), o.Document.Rollout)
	require.NotNil(t, o.Entry)
	if o.State.Phase == RolledBack {
		require.True(t, o.IsHalted())
	}
	if o.Halted == o.State.ID() {
		require.Zero(t, o.Document.BasisPoints)
		require.Equal(t, RolledBack, o.State.Phase)
	}
}

func TestStart(t *testing.T) {
	s := started(t)
	d := s.Document
	require.Equal(t, Running, s.Phase)
	require.Equal(t, 500, d.BasisPoints)
	require.EqualValues(t, 7, d.Generation)
	require.Equal(t, "2026-11-20-a", d.Salt)
	require.Equal(t, noon.Add(time.Hour).UnixMilli(), d.UnattendedAfterMS)
	require.Equal(t, noon.Add(2*time.Hour), s.Deadline)
	require.Equal(t, "x-customer", d.User.Header, "the user's settings are kept")
	require.True(t, d.Overrides)
	require.GreaterOrEqual(t, d.Target("person"), 0)

	kinds, keys := []Kind{}, []string{}
	for _, w := range s.Writes() {
		kinds, keys = append(kinds, w.Kind), append(keys, w.Key)
	}
	require.Equal(t, []Kind{WriteState, WriteAlias, WriteAlias, WriteDocument, WriteHistory}, kinds)
	require.Equal(t, []string{"state:model:acme:flux", "alias:version:" + oldID, "alias:version:" + newID,
		"rollout:model:acme:flux", "history:model:acme:flux:2026-11-20-a:000000000007"}, keys)
}

func TestStartRefusesAnInvalidDocument(t *testing.T) {
	_, err := Start(New{Service: service, Rollout: "a", Policy: policy.Default(),
		Stable: document.Target{Version: "acme/flux:short"}, Canary: document.Target{Version: newID}}, by(noon))
	require.ErrorContains(t, err, "targets.stable.version")
}

func TestStateRoundTrip(t *testing.T) {
	s, _ := started(t).Judged(judge.Verdict{Decision: judge.Promote, Reason: `<&> "quoted"`,
		Metrics: []judge.Assessment{{Metric: judge.Errors, Low: 0.1 + 0.2, High: 7}}}, by(noon.Add(time.Hour/2)))
	back, err := Decode(s.Encode())
	require.NoError(t, err)
	require.Equal(t, s.Encode(), back.Encode())
	require.Equal(t, s.HistoryWrite(), back.HistoryWrite())
}

func TestDecodeRefuses(t *testing.T) {
	cases := []struct{ name, text, problem string }{
		{"truncated", string(started(t).Encode()[:200]), "unexpected end of JSON"},
		{"newer schema", `{"schema":3}`, "schema 3 is not known"},
		{"older schema", `{"schema":1}`, "schema 1 is an earlier orchestrator's: this one reads 2"},
		{"no document", `{"schema":2,"phase":"running"}`, "no document"},
		{"waiting since never", strings.Replace(string(started(t).Encode()), `"running"`, `"waiting"`, 1), "phase waiting without the time since when"},
		{"unknown phase", strings.Replace(string(started(t).Encode()), `"running"`, `"flying"`, 1), `unknown phase "flying"`},
		{"promoted without a former stable", strings.Replace(string(started(t).Encode()), `"running"`, `"promoted"`, 1), "former stable"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode([]byte(c.text))
			require.ErrorContains(t, err, c.problem)
		})
	}
}

func TestVerdicts(t *testing.T) {
	half := noon.Add(20 * time.Minute)
	paused, err := started(t).Set(3000, "", by(noon))
	require.NoError(t, err)
	stuck, _ := started(t).Judged(tooLate, by(half))
	last := started(t)
	for range 3 {
		last, _ = last.Judged(good, by(half))
	}
	promoted, _ := last.Judged(good, by(half))
	lenient := started(t)
	lenient.Policy.OnInconclusive = policy.InconclusiveRollback
	cases := []struct {
		name    string
		state   State
		verdict judge.Verdict
		at      time.Time
		phase   Phase
		percent int
		changed bool
		action  Action
	}{
		{"a good step rises to the next", started(t), good, half, Running, 2000, true, ActionRaise},
		{"a hold changes nothing", started(t), unsure, half, Running, 500, false, ActionStart},
		{"a hold renews the switch past half its time", started(t), unsure, noon.Add(31 * time.Minute), Running, 500, true, ActionStart},
		{"a breach rolls back", started(t), bad, half, RolledBack, 0, true, ActionRollback},
		{"a breach rolls back though paused", paused, bad, half, RolledBack, 0, true, ActionRollback},
		{"a breach rolls back though inconclusive", stuck, bad, half, RolledBack, 0, true, ActionRollback},
		{"a good verdict does not move what is paused", paused, good, half, Paused, 3000, false, ActionSet},
		{"nor what is inconclusive", stuck, good, half, Inconclusive, 500, false, ActionInconclusive},
		{"the deadline makes it inconclusive", started(t), tooLate, half, Inconclusive, 500, true, ActionInconclusive},
		{"the deadline is recorded once", stuck, tooLate, half, Inconclusive, 500, false, ActionInconclusive},
		{"the deadline rolls back where the policy says so", lenient, tooLate, half, RolledBack, 0, true, ActionRollback},
		{"the last good step promotes", last, good, half, Promoted, 0, true, ActionPromote},
		{"nothing follows a promotion", promoted, bad, half, Promoted, 0, false, ActionPromote},
		{"a lapsed canary is revived, not promoted", started(t), good, noon.Add(61 * time.Minute), Running, 500, true, ActionRevive},
		{"what measured nothing renews nothing", started(t), blind, noon.Add(50 * time.Minute), Running, 500, false, ActionStart},
		{"nor does it revive what has lapsed", started(t), blind, noon.Add(61 * time.Minute), Running, 500, false, ActionStart},
		{"nor does it renew where the deadline has passed", started(t), blindLate, noon.Add(40 * time.Minute), Inconclusive, 500, true, ActionInconclusive},
		{"nor what is inconclusive already", stuck, blind, noon.Add(70 * time.Minute), Inconclusive, 500, false, ActionInconclusive},
		{"a lapsed canary that is bad is rolled back", started(t), bad, noon.Add(61 * time.Minute), RolledBack, 0, true, ActionRollback},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := string(c.state.Encode())
			next, changed := c.state.Judged(c.verdict, by(c.at))
			require.Equal(t, c.phase, next.Phase)
			require.Equal(t, c.percent, next.Document.BasisPoints)
			require.Equal(t, c.changed, changed)
			require.Equal(t, c.action, next.Last.Action)
			require.Equal(t, before, string(c.state.Encode()), "the old state is left as it was")
			if changed {
				require.Equal(t, c.state.Document.Generation+1, next.Document.Generation)
			}
			require.NoError(t, next.Document.Validate())
		})
	}
}

func TestRenewalIsADocumentWriteOnly(t *testing.T) {
	s := started(t)
	next, changed := s.Judged(unsure, by(noon.Add(40*time.Minute)))
	require.True(t, changed)
	require.Equal(t, s.StepSince, next.StepSince)
	require.Equal(t, s.Last, next.Last)
	require.Equal(t, noon.Add(100*time.Minute).UnixMilli(), next.Document.UnattendedAfterMS)
	require.Len(t, next.Writes(), 2)
}

func TestPromotionAndBack(t *testing.T) {
	s, err := started(t).Promote("", by(noon))
	require.NoError(t, err)
	require.Equal(t, newID, s.Document.target("stable").VersionID())
	require.Nil(t, s.Document.target("canary"))
	require.Zero(t, s.Document.UnattendedAfterMS)
	require.Equal(t, Percentage(10_000), s.Last.To)

	s = s.Rollback("worse than it looked", by(noon))
	require.Equal(t, RolledBack, s.Phase)
	require.Equal(t, oldID, s.Document.target("stable").VersionID())
	require.Equal(t, newID, s.Document.target("canary").VersionID())
	require.NoError(t, s.Document.Validate())
}

func TestHand(t *testing.T) {
	rolledBack := started(t).Rollback("bad", by(noon))
	promoted, err := started(t).Promote("", by(noon))
	require.NoError(t, err)
	var refused *Refused
	for _, s := range []State{rolledBack, promoted} {
		_, err := s.Set(500, "", by(noon))
		require.ErrorAs(t, err, &refused)
		same, err := s.Set(0, "", by(noon))
		require.NoError(t, err)
		require.Equal(t, s, same)
		_, err = s.Resume(by(noon))
		require.ErrorAs(t, err, &refused)
	}
	_, err = rolledBack.Promote("", by(noon))
	require.ErrorAs(t, err, &refused)

	zero, err := started(t).Set(0, "", by(noon))
	require.NoError(t, err)
	require.Zero(t, zero.Document.UnattendedAfterMS)
	later := noon.Add(5 * time.Hour)
	s, err := zero.Resume(by(later))
	require.NoError(t, err)
	require.Equal(t, 500, s.Document.BasisPoints, "from 0 it resumes at the first step")
	require.Equal(t, later, s.StepSince)
	require.Equal(t, later.Add(2*time.Hour), s.Deadline)
	require.Equal(t, later.Add(time.Hour).UnixMilli(), s.Document.UnattendedAfterMS)

	odd, _ := started(t).Set(3000, "", by(noon))
	odd, _ = odd.Resume(by(noon))
	require.Equal(t, 3000, odd.Document.BasisPoints)
	odd, _ = odd.Judged(good, by(noon))
	require.Equal(t, 5000, odd.Document.BasisPoints)
}

// TestSteps walks random verdicts: no step is skipped, and after a rollback the
// percentage never rises.
func TestSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := []judge.Verdict{good, good, unsure, unsure, unsure, bad, tooLate}
	seen := map[Phase]int{}
	for range 2000 {
		s, now := started(t), noon
		for range 30 {
			now = now.Add(time.Duration(r.IntN(40)) * time.Minute)
			next, _ := s.Judged(verdicts[r.IntN(len(verdicts))], by(now))
			if next.Document.BasisPoints > s.Document.BasisPoints {
				step, ok := s.Policy.NextStep(s.Document.BasisPoints)
				require.True(t, ok)
				require.Equal(t, step, next.Document.BasisPoints)
				require.Equal(t, Running, s.Phase)
			}
			if s.Phase == RolledBack {
				require.Zero(t, next.Document.BasisPoints)
			}
			if next.Phase == Promoted && s.Phase != Promoted {
				require.Equal(t, 10_000, s.Document.BasisPoints)
			}
			require.GreaterOrEqual(t, next.Document.Generation, s.Document.Generation)
			s = next
		}
		seen[s.Phase]++
	}
	require.Len(t, seen, 3, "%v", seen)
}

// TestKilledAtAnyWrite kills every kind of change at every write, stored or
// not; the next repair must bring the store in line and never repeat a change.
func TestKilledAtAnyWrite(t *testing.T) {
	half := noon.Add(20 * time.Minute)
	careful := policy.Default()
	careful.Steps = []policy.Step{{BasisPoints: 500, Approve: policy.ApproveAlso}, {BasisPoints: 10_000}}
	changes := []struct {
		name   string
		change func(State) State
	}{
		{"wait", func(s State) State { s, _ = s.Judged(good, by(half)); return s }},
		{"approve", func(s State) State { s, _ = s.Approve("", by(half)); return s }},
		{"pause", func(s State) State { s, _ = s.Pause("", by(half)); return s }},
		{"raise", func(s State) State { s, _ = s.Judged(good, by(half)); return s }},
		{"renew", func(s State) State { s, _ = s.Judged(unsure, by(noon.Add(50*time.Minute))); return s }},
		{"verdict rollback", func(s State) State { s, _ = s.Judged(bad, by(half)); return s }},
		{"rollback", func(s State) State { return s.Rollback("by hand", by(half)) }},
		{"set", func(s State) State { s, _ = s.Set(0, "", by(half)); return s }},
		{"promote", func(s State) State { s, _ = s.Promote("", by(half)); return s }},
		{"inconclusive", func(s State) State { s, _ = s.Judged(tooLate, by(half)); return s }},
		{"rollback after promotion", func(s State) State { s, _ = s.Promote("", by(half)); return s.Rollback("", by(half)) }},
	}
	for _, c := range changes {
		for _, persist := range []bool{false, true} {
			before := started(t)
			if c.name == "wait" || c.name == "approve" {
				before.Policy = careful
			}
			after := c.change(before)
			require.Equal(t, after.Last.Generation, after.Document.Generation-map[string]int64{"renew": 1}[c.name])
			for n := range after.Writes() {
				t.Run(fmt.Sprintf("%s/%d/%t", c.name, n, persist), func(t *testing.T) {
					kv := store{}
					kv.apply(before.Writes(), -1, false)
					require.False(t, kv.apply(after.Writes(), n, persist))
					resumed := kv.settle(t, noon.Add(55*time.Minute))
					if kv["halt:model:acme:flux"] != nil {
						require.Equal(t, RolledBack, resumed.Phase)
						return
					}
					begun := n > 0 || persist // the state is the first write
					want := before
					if begun {
						want = after
					}
					require.Equal(t, want.Phase, resumed.Phase)
					require.Equal(t, want.Document.BasisPoints, resumed.Document.BasisPoints)
					require.Equal(t, want.Last, resumed.Last, "the change is not made twice")
				})
			}
		}
	}
}

// TestRepairKilledToo kills the repair itself at every write.
func TestRepairKilledToo(t *testing.T) {
	before := started(t)
	after, _ := before.Judged(good, by(noon.Add(20*time.Minute)))
	crashed := func() store {
		kv := store{}
		kv.apply(before.Writes(), -1, false)
		kv.apply(after.Writes(), 1, false)
		return kv
	}
	repair := Repair(crashed().observe(), by(noon.Add(25*time.Minute)))
	require.NotEmpty(t, repair.Writes)
	for n := range repair.Writes {
		for _, persist := range []bool{false, true} {
			kv := crashed()
			kv.apply(repair.Writes, n, persist)
			s := kv.settle(t, noon.Add(30*time.Minute))
			require.Equal(t, 2000, s.Document.BasisPoints)
			require.False(t, s.StepSince.Before(noon.Add(25*time.Minute)), "the bake starts anew")
			require.Equal(t, after.Last, s.Last)
		}
	}
}

func TestStartKilledAtAnyWrite(t *testing.T) {
	writes := started(t).Writes()
	for n := range writes {
		for _, persist := range []bool{false, true} {
			kv := store{}
			kv.apply(writes, n, persist)
			if n == 0 && !persist {
				require.Nil(t, kv.observe().State)
				continue
			}
			s := kv.settle(t, noon.Add(time.Minute))
			require.Equal(t, 500, s.Document.BasisPoints)
			require.NotNil(t, kv["alias:version:"+newID])
		}
	}
}

func TestRepair(t *testing.T) {
	running := func() (store, State) {
		kv, s := store{}, started(t)
		kv.apply(s.Writes(), -1, false)
		return kv, s
	}
	key := service.RolloutKey()
	at := noon.Add(10 * time.Minute)

	t.Run("nothing to do", func(t *testing.T) {
		kv, _ := running()
		require.Empty(t, Repair(kv.observe(), by(at)).Writes)
	})
	t.Run("a document that is gone, unreadable or of percentage 250 is written again", func(t *testing.T) {
		for _, text := range []string{"", "{", `{"schema":1,"percentage":250}`} {
			kv, _ := running()
			kv[key] = []byte(text)
			if text == "" {
				delete(kv, key)
			}
			s := kv.settle(t, at)
			require.Equal(t, 500, s.Document.BasisPoints)
			require.Equal(t, at, s.StepSince)
		}
	})
	t.Run("rules edited in the document are kept", func(t *testing.T) {
		kv, s := running()
		d := s.Document.clone()
		d.Rules = append(d.Rules, document.Rule{Header: "x-new", Equals: "1", Use: "stable"})
		d.Overrides = false
		kv[key] = d.Encode()
		o := kv.observe()
		r := Repair(o, by(at))
		require.Empty(t, r.Writes)
		require.Len(t, r.State.Document.Rules, 2)
		require.False(t, r.State.Document.Overrides)
		next, _ := r.State.Judged(good, by(at))
		require.Len(t, next.Document.Rules, 2)
	})
	t.Run("a document set to 0 by a hand on KV pauses and is not raised again", func(t *testing.T) {
		kv, s := running()
		d := s.Document.clone()
		d.BasisPoints = 0
		kv[key] = d.Encode()
		repaired := kv.settle(t, at)
		require.Equal(t, Paused, repaired.Phase)
		require.Zero(t, repaired.Document.BasisPoints)
	})
	t.Run("another percentage in the document is overwritten", func(t *testing.T) {
		kv, s := running()
		d := s.Document.clone()
		d.BasisPoints, d.Generation = 9000, 40
		kv[key] = d.Encode()
		repaired := kv.settle(t, at)
		require.Equal(t, 500, repaired.Document.BasisPoints)
		require.EqualValues(t, 41, repaired.Document.Generation)
	})
	t.Run("a halted rollout whose document is above 0 is written 0", func(t *testing.T) {
		kv, _ := running()
		kv[service.HaltKey()] = []byte("2026-11-20-a")
		require.Equal(t, RolledBack, kv.settle(t, at).Phase)
	})
	t.Run("the halt of another rollout is none of ours", func(t *testing.T) {
		kv, _ := running()
		kv[service.HaltKey()] = []byte("2026-11-19-c")
		require.Empty(t, Repair(kv.observe(), by(at)).Writes)
	})
	t.Run("a promotion that was halted meanwhile restores the former stable", func(t *testing.T) {
		kv, s := running()
		s, _ = s.Promote("", by(at))
		kv.apply(s.Writes(), -1, false)
		kv[service.HaltKey()] = []byte("2026-11-20-a")
		repaired := kv.settle(t, at)
		require.Equal(t, RolledBack, repaired.Phase)
		require.Equal(t, oldID, repaired.Document.target("stable").VersionID())
	})
	t.Run("after the end the document belongs to people", func(t *testing.T) {
		kv, s := running()
		s, _ = s.Promote("", by(at))
		kv.apply(s.Writes(), -1, false)
		d := s.Document.clone()
		d.Targets[0].Version, d.Generation = oldID, d.Generation+1
		kv[key] = d.Encode()
		require.Empty(t, Repair(kv.observe(), by(at)).Writes)
	})
}

func TestFromDocument(t *testing.T) {
	s := started(t)
	o := Observed{Document: s.Document.Document}
	bare := State{Policy: policy.Default(), StartedAt: noon, StepSince: noon, Deadline: noon.Add(time.Hour)}
	got := FromDocument(o, bare)
	require.Equal(t, Paused, got.Phase)
	require.Equal(t, 500, got.Document.BasisPoints)
	o.Halted = s.ID()
	require.Equal(t, RolledBack, FromDocument(o, bare).Phase)
	o.Document.Targets = o.Document.Targets[:1]
	o.Document.BasisPoints = 0
	require.Nil(t, FromDocument(o, bare))
}
