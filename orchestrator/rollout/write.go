package rollout

import (
	"encoding/json"
	"fmt"
)

// Kind says what a write is about.
type Kind string

// The kinds of write.
const (
	WriteHalt     Kind = "halt"
	WriteState    Kind = "state"
	WriteAlias    Kind = "alias"
	WriteDocument Kind = "document"
	WriteHistory  Kind = "history"
)

// Write is one value to store. Writes are made in order; each may be made twice.
type Write struct {
	Kind  Kind
	Key   string
	Value []byte
}

// Writes returns what makes a new generation so, in order. A rollback halts
// first, which no late write of the document can undo. Otherwise the state comes
// first, as everything else can be derived from it, and the history entry last,
// as the sign that nothing is left to do. The aliases of what may get traffic
// stand before the document sends it any.
func (s State) Writes() []Write {
	state := Write{WriteState, s.Document.Service.StateKey(), s.Encode()}
	doc := s.documentWrite()
	switch {
	case !s.IsChange():
		return []Write{state, doc}
	case s.Phase == RolledBack:
		writes := append([]Write{s.haltWrite(), state, doc}, s.changedAliases()...)
		return append(writes, s.HistoryWrite())
	}
	writes := append([]Write{state}, s.changedAliases()...)
	return append(writes, doc, s.HistoryWrite())
}

// IsChange reports that the state's generation is a change that the history
// records, not a renewal or repair.
func (s State) IsChange() bool { return s.Last.Generation == s.Document.Generation }

func (s State) haltWrite() Write {
	return Write{WriteHalt, s.Document.Service.HaltKey(), []byte(s.ID())}
}

func (s State) documentWrite() Write {
	return Write{WriteDocument, s.Document.Service.RolloutKey(), s.Document.Encode()}
}

// HistoryWrite stores the newest history entry.
func (s State) HistoryWrite() Write {
	text, err := json.Marshal(s.Last)
	if err != nil {
		panic(fmt.Sprintf("encode history entry: %v", err)) // every part is of our own types
	}
	return Write{WriteHistory, s.EntryKey(), text}
}

// EntryKey is the key of the newest history entry. Keys of one rollout sort by
// generation.
func (s State) EntryKey() string {
	return fmt.Sprintf("%s%s:%012d", s.Document.Service.HistoryPrefix(), s.Last.Rollout, s.Last.Generation)
}

// changedAliases writes the aliases where an action changed what the targets
// are for. A promotion leaves them as they are, but counts as their last use.
func (s State) changedAliases() []Write {
	switch s.Last.Action {
	case ActionStart, ActionPromote, ActionRollback:
		return s.aliasWrites()
	}
	return nil
}
