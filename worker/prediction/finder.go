// Package prediction edits a prediction's JSON on its way to an upstream, and
// reads it on its way back, while it streams past. It compiles under TinyGo.
package prediction

import "perch/shared/jsonstream"

// MaxVersionBytes is the longest version that a Finder reports.
const MaxVersionBytes = 512

// The top-level members of a body that matter.
const (
	versionKey = "version"
	webhookKey = "webhook"
	filterKey  = "webhook_events_filter"
)

// seen says which of the members that matter a body has had.
type seen uint8

const (
	isVersion seen = 1 << iota
	isWebhook
	isFilter
)

func matter(key string) seen {
	switch key {
	case versionKey:
		return isVersion
	case webhookKey:
		return isWebhook
	case filterKey:
		return isFilter
	}
	return 0
}

// Status is how far a Finder has come.
type Status uint8

// The statuses. But for Searching and Found they are final: of a body that is
// Malformed behind what makes it Absent or Duplicate, either may be told.
const (
	Searching Status = iota
	Found            // Version is the value
	Absent           // an object without a version that is a string, or no object
	Duplicate        // one of the members that matter is repeated
	Malformed        // no JSON, or nested deeper than jsonstream.MaxDepth
)

// Finder looks for the top-level "version", a string. The zero value is ready to
// use. Whoever pushes on after Found learns whether the rest is fit too.
type Finder struct {
	scanner jsonstream.Scanner
	name    name
	status  Status
	seen    seen
	wanted  bool // the next value is version's
	version []byte
}

// Reset makes the finder ready for another body.
func (f *Finder) Reset() { *f = Finder{version: f.version[:0]} }

// Push reads the next chunk of the body.
func (f *Finder) Push(chunk []byte) Status {
	if f.status > Found {
		return f.status
	}
	if !fine(f.scanner.Push(chunk, f)) {
		f.status = Malformed
	}
	return f.status
}

// fine reports whether a scanner was content, or only stopped by its sink.
func fine(err error) bool { return err == nil || err == jsonstream.ErrStopped }

// Close returns the status where the body ends. An empty one has no version.
func (f *Finder) Close() Status {
	switch {
	case f.status > Found:
	case f.scanner.Offset() == 0:
		f.status = Absent
	case !fine(f.scanner.Close(f)):
		f.status = Malformed
	}
	return f.status
}

// Version returns the value once it was Found.
func (f *Finder) Version() string { return string(f.version) }

// Token implements jsonstream.Sink.
func (f *Finder) Token(t jsonstream.Token) bool {
	switch {
	case t.Depth > 1:
		return true
	case t.Depth == 0:
		if !t.Last || t.Kind == jsonstream.BeginObject || t.Kind == jsonstream.EndObject && f.status == Found {
			return true
		}
		return f.stop(Absent)
	case t.Kind == jsonstream.Key:
		return f.key(t)
	case !f.wanted:
		return true
	case t.Kind != jsonstream.String || len(f.version)+len(t.Text) > MaxVersionBytes:
		return f.stop(Absent)
	}
	f.version = append(f.version, t.Text...)
	if t.Last {
		f.status = Found
		f.wanted = false
	}
	return true
}

func (f *Finder) key(t jsonstream.Token) bool {
	text, known := f.name.read(t)
	if !known {
		return true
	}
	this := matter(text)
	if f.seen&this != 0 {
		return f.stop(Duplicate)
	}
	f.seen |= this
	f.wanted = this == isVersion
	return true
}

func (f *Finder) stop(status Status) bool {
	f.status = status
	return false
}
