package prediction

import (
	"bytes"

	"perch/shared/jsonstream"
)

// Editor rewrites a body while it streams past: every top-level "version" is
// dropped and, if one is to be set, it is put first. All other values go
// through byte by byte; white space between members may be lost. Malformed
// JSON goes on from where it breaks, for the upstream to refuse: no edit makes it
// whole. Where it breaks inside a dropped member, nothing more comes.
type Editor struct {
	scanner jsonstream.Scanner
	key     keyMatcher
	version string // to set, or "" to remove
	state   editState
	broken  bool

	chunk   []byte // while Push runs
	base    int64  // offset of chunk[0] in the body
	done    int64  // everything before this offset was written, held or dropped
	gap     []byte // what stands before the next key, and the quote or escape that it began with in an earlier chunk
	held    []byte // the beginning of a key that may yet be "version"
	written int    // members written so far
	changed bool   // the edit touched what stands before the gap
	out     []byte
}

type editState uint8

const (
	editCopy editState = iota // outside of the object's members, or inside one that stays
	editGap                   // between two members
	editKey                   // in a key that is "version" so far
	editDrop                  // in a member that is dropped
)

// NewEditor returns an Editor that sets the version, or removes it if version
// is "".
func NewEditor(version string) *Editor { return &Editor{version: version} }

// Push reads the next chunk and returns what can be passed on, which is valid
// until the next call.
func (e *Editor) Push(chunk []byte) []byte {
	e.out = e.out[:0]
	if e.broken {
		if e.state != editDrop {
			e.out = append(e.out, chunk...)
		}
		return e.out
	}
	e.chunk = chunk
	if err := e.scanner.Push(chunk, e); err != nil {
		if e.state == editGap && e.changed {
			e.out = append(e.out, ",,"...) // what breaks behind a change must not be whole without it
		}
		e.giveUp()
	}
	end := e.base + int64(len(chunk))
	switch e.state {
	case editCopy:
		e.copyTo(end)
	case editGap:
		e.gap = appendSolid(e.gap, e.take(end))
	case editKey:
		e.held = append(e.held, e.take(end)...)
	case editDrop:
		e.done = end
	}
	e.base, e.chunk = end, nil
	return e.out
}

// Close returns what was held back when the body ended too early.
func (e *Editor) Close() []byte {
	e.out = e.out[:0]
	e.giveUp()
	return e.out
}

func (e *Editor) giveUp() {
	e.out = append(e.out, e.gap...)
	e.out = append(e.out, e.held...)
	e.gap, e.held = e.gap[:0], e.held[:0]
	if e.state != editDrop {
		e.state = editCopy
	}
	e.broken = true
}

// Token implements jsonstream.Sink.
func (e *Editor) Token(t jsonstream.Token) bool {
	switch {
	case t.Depth == 0:
		e.topLevel(t)
	case t.Depth > 1:
	case t.Kind == jsonstream.Key:
		e.keyPiece(t)
	case t.Last && t.Kind != jsonstream.BeginObject && t.Kind != jsonstream.BeginArray:
		e.memberEnds(t.End)
	}
	return true
}

func (e *Editor) topLevel(t jsonstream.Token) {
	switch t.Kind {
	case jsonstream.BeginObject:
		e.copyTo(t.End)
		e.state = editGap
		if e.version != "" {
			e.out = append(e.out, `"`+versionKey+`":`...)
			e.out = jsonstream.AppendString(e.out, e.version)
			e.written++
			e.changed = true
		}
	case jsonstream.EndObject:
		e.out = append(e.out, e.gap...)
		e.state = editCopy
	}
}

func (e *Editor) keyPiece(t jsonstream.Token) {
	if e.state == editGap {
		e.gap = append(e.gap, e.take(t.Start)...)
		e.state = editKey
	}
	if e.state != editKey {
		return // decided by an earlier piece
	}
	isVersion := e.key.match(t)
	switch {
	case isVersion:
		e.state = editDrop
		e.gap, e.held = e.gap[:0], e.held[:0]
	case t.Last || e.key.failed:
		e.key = keyMatcher{}
		e.keep()
	}
}

// keep writes the comma that is due, the gap and what is held of the key.
func (e *Editor) keep() {
	due := e.written > 0
	if due && bytes.IndexByte(e.gap, ',') < 0 {
		e.out = append(e.out, ',')
	}
	for _, c := range e.gap {
		if c != ',' || due {
			e.out = append(e.out, c)
		}
	}
	e.out = append(e.out, e.held...)
	e.gap, e.held = e.gap[:0], e.held[:0]
	e.state = editCopy
}

func (e *Editor) memberEnds(end int64) {
	if e.state == editCopy {
		e.copyTo(end)
		e.written++
	}
	e.changed = e.state == editDrop
	e.done = end
	e.state = editGap
}

// take returns the bytes of the chunk up to an offset that are not done yet.
func (e *Editor) take(end int64) []byte {
	if end <= e.done {
		return nil
	}
	from := max(e.done, e.base) - e.base
	e.done = end
	return e.chunk[from : end-e.base]
}

func (e *Editor) copyTo(end int64) { e.out = append(e.out, e.take(end)...) }

// appendSolid appends all but white space, so that a gap stays small.
func appendSolid(gap, text []byte) []byte {
	for _, c := range text {
		if c > ' ' {
			gap = append(gap, c)
		}
	}
	return gap
}
