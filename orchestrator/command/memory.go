package command

import (
	"context"
	"encoding/json"
	"fmt"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
)

// memory is what a look leaves to the next one.
type memory struct {
	judge.Memory
	rows float64 // of both arms in the last interval that had any
}

// stored is a memory as JSON.
type stored struct {
	Memory json.RawMessage `json:"memory"`
	Rows   float64         `json:"rows"`
}

// remembered is what the key of the judge's memory holds. It is stored before the
// change that its verdict calls for: should the command die between the two,
// Before is where the next look goes on from, which so comes to the same verdict.
type remembered struct {
	Rollout string `json:"rollout"`
	stored
	Before *before `json:"before,omitempty"`
}

// before is the memory that a verdict started from. It counts as long as the
// rollout's last change is still the one of that generation.
type before struct {
	Generation int64 `json:"generation"`
	stored
}

// memoryOf reads the memory of a state. What is missing, unreadable or of another
// rollout is the zero memory: it is made anew from analytics.
func memoryOf(s rollout.State, text []byte) memory {
	var r remembered
	if json.Unmarshal(text, &r) != nil || r.Rollout != s.ID() {
		return memory{}
	}
	if r.Before != nil && r.Before.Generation == s.Last.Generation {
		r.stored = r.Before.stored
	}
	decoded, err := judge.DecodeMemory(r.Memory)
	if err != nil {
		return memory{}
	}
	return memory{decoded, r.Rows}
}

// isPending reports that a verdict was to change the state, and has not.
func isPending(s rollout.State, text []byte) bool {
	var r remembered
	return json.Unmarshal(text, &r) == nil && r.Rollout == s.ID() && r.Before != nil && r.Before.Generation == s.Last.Generation
}

func (m memory) stored() stored { return stored{m.Encode(), m.rows} }

// remember stores what the judge has learnt of each service, before anything is
// changed. What cannot be stored is learnt again at the next look.
func (a *account) remember(ctx context.Context, members []*member) {
	var pairs []cloudflare.Pair
	owners := map[string]*member{}
	for _, m := range members {
		if a.settings.dryRun || !m.learnt() {
			continue
		}
		key := m.service.JudgeKey()
		pairs, owners[key] = append(pairs, cloudflare.Pair{Key: key, Value: m.memoryText()}), m
	}
	for key, err := range a.putMany(ctx, pairs) {
		owners[key].note(fmt.Sprintf("the judge's memory could not be stored, and is made anew: %v", err))
	}
}

// learnt reports that the look has moved the judge on.
func (m *member) learnt() bool {
	was, _ := m.memory.Last()
	is, any := m.after.Last()
	return any && is != was
}

func (m *member) memoryText() []byte {
	r := remembered{Rollout: m.repaired.State.ID(), stored: m.after.stored()}
	if m.next.Last.Generation != m.repaired.State.Last.Generation {
		r.Before = &before{m.repaired.State.Last.Generation, m.memory.stored()}
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encode memory: %v", err)) // every part is of our own types
	}
	return text
}
