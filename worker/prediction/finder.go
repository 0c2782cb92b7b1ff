// Package prediction finds and replaces the top-level "version" of a
// prediction's JSON while it streams past. It compiles under TinyGo.
package prediction

import "perch/shared/jsonstream"

// MaxVersionBytes is the longest version that a Finder reports.
const MaxVersionBytes = 512

const versionKey = "version"

// Status is how far a Finder has come.
type Status uint8

// The statuses.
const (
	Searching Status = iota
	Found            // Version is the value
	Absent           // the body ended, or is no JSON object, without one
)

// Finder looks for the first top-level "version" that is a string. The zero
// value is ready to use.
type Finder struct {
	scanner jsonstream.Scanner
	key     keyMatcher
	status  Status
	wanted  bool // the next value is version's
	version []byte
}

// Push reads the next chunk of the body.
func (f *Finder) Push(chunk []byte) Status {
	if f.status != Searching {
		return f.status
	}
	if err := f.scanner.Push(chunk, f); err != nil && f.status == Searching {
		f.status = Absent
	}
	if f.scanner.Done() && f.status == Searching {
		f.status = Absent
	}
	return f.status
}

// Version returns the value once the status is Found.
func (f *Finder) Version() string { return string(f.version) }

// Token implements jsonstream.Sink.
func (f *Finder) Token(t jsonstream.Token) bool {
	switch {
	case t.Depth == 0:
		return t.Kind == jsonstream.BeginObject || t.Kind == jsonstream.EndObject
	case t.Depth > 1:
		return true
	case t.Kind == jsonstream.Key:
		f.wanted = f.key.match(t)
		return true
	case !f.wanted:
		return true
	case t.Kind != jsonstream.String || len(f.version)+len(t.Text) > MaxVersionBytes:
		f.status = Absent
		return false
	}
	f.version = append(f.version, t.Text...)
	if t.Last {
		f.status = Found
	}
	return !t.Last
}

// keyMatcher compares a key that arrives in pieces with "version".
type keyMatcher struct {
	matched int
	failed  bool
}

// match takes a piece of a key; it reports true on the last piece of an equal one.
func (m *keyMatcher) match(t jsonstream.Token) bool {
	for _, c := range t.Text {
		if m.matched >= len(versionKey) || versionKey[m.matched] != c {
			m.failed = true
			break
		}
		m.matched++
	}
	if !t.Last {
		return false
	}
	equal := !m.failed && m.matched == len(versionKey)
	*m = keyMatcher{}
	return equal
}
