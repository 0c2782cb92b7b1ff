package prediction

import (
	"unicode/utf8"

	"perch/shared/jsonstream"
	"perch/shared/lean"
)

// The longest webhook and webhook_events_filter that are taken out, in bytes of
// what follows the name.
const (
	MaxWebhookBytes = 4 << 10
	MaxFilterBytes  = 1 << 10
)

// Change is what an Editor does to a body.
type Change struct {
	Version string // to set, put first, in place of the body's
	Remove  bool   // takes out the body's version; a Version to set does too
	Webhook bool   // takes out webhook and webhook_events_filter, and writes SlotTail or SlotKept behind the last member
}

// Editor rewrites a body while it streams past. All other members go through
// byte by byte; white space between members may be lost. Of a repeated member
// only the first is taken out, so that the upstream refuses the body; behind a
// repeated version the one to set stands once more, so that it holds even for an
// upstream that believes the last. Malformed
// JSON goes on from where it breaks, for the upstream to refuse: no edit makes it
// whole. Where it breaks inside a dropped member, nothing more comes. What is no
// object goes through.
type Editor struct {
	scanner jsonstream.Scanner
	frames  frames
	name    name
	change  Change
	state   editState
	passing bool // nothing more is edited
	status  Status

	chunk   []byte // while Push runs
	base    int64  // offset of chunk[0] in the body
	held    []byte // what is undecided of earlier chunks: the gap before a key, the key, the value
	read    int    // members read so far
	written int    // members written so far
	changed bool   // the edit touched what stands before the gap
	seen    seen

	member            seen  // whose value is held
	key, colon, value int64 // where the key, what follows it and the value begin
	kept              bool  // a member that was to be taken out stays
	twice             bool  // the body has a second version, which stays
	webhook, filter   []byte
}

type editState uint8

const (
	editCopy editState = iota // outside of the object's members, or inside one that stays
	editGap                   // between two members
	editKey                   // in a key that may matter
	editHold                  // in a member that is taken out if it is short enough
	editDrop                  // in a member that is dropped
)

// NewEditor returns an Editor.
func NewEditor(change Change) *Editor { return &Editor{change: change} }

// Reset makes the editor ready for another body.
func (e *Editor) Reset(change Change) {
	*e = Editor{change: change, held: e.held[:0], webhook: e.webhook[:0], filter: e.filter[:0], frames: e.frames}
}

// Push reads the next chunk and returns its frames, valid until the next call.
func (e *Editor) Push(chunk []byte) []byte {
	e.frames.begin()
	e.chunk = chunk
	if !e.passing {
		if err := e.scanner.Push(chunk, e); err != nil {
			e.breakOff(err)
		}
	}
	end := len(chunk)
	switch e.state {
	case editCopy:
		e.frames.copyTo(end)
	case editDrop:
		e.frames.skipTo(end)
	default:
		e.hold(end)
	}
	e.base, e.chunk = e.base+int64(end), nil
	return e.frames.end()
}

// Close returns what was held back when the body ended too early, as frames.
func (e *Editor) Close() []byte {
	e.frames.begin()
	e.giveUp()
	return e.frames.end()
}

// ignore is a sink for what comes after a body's last chunk.
type ignore struct{}

// Token implements jsonstream.Sink.
func (ignore) Token(jsonstream.Token) bool { return true }

// End returns, once the whole body was pushed, Malformed or Duplicate if it is,
// else Searching. Such a body should go on as it is, where it still can.
func (e *Editor) End() Status {
	if !e.passing && e.base > 0 && e.scanner.Close(ignore{}) != nil {
		return Malformed
	}
	return e.status
}

func (e *Editor) breakOff(err error) {
	if !fine(err) {
		e.status = Malformed
	}
	if e.state == editGap && e.changed {
		e.frames.bytes(twoCommas) // what breaks behind a change must not be whole without it
	}
	e.giveUp()
}

var (
	oneComma  = []byte(",")
	twoCommas = []byte(",,")
)

func (e *Editor) giveUp() {
	e.letGo()
	if e.state != editDrop {
		e.state = editCopy
	}
	e.passing = true
}

// letGo writes what is held.
func (e *Editor) letGo() {
	e.frames.bytes(e.held)
	e.held = e.held[:0]
}

// in turns an offset of the body into one of the chunk, or less than 0.
func (e *Editor) in(offset int64) int { return int(offset - e.base) }

// hold keeps what is undecided when the chunk ends, of white space only a blank.
func (e *Editor) hold(end int) {
	at := e.frames.at
	gap := end
	if e.state != editGap {
		gap = max(at, e.in(e.key))
	}
	e.held = append(appendGap(e.held, e.chunk[at:gap]), e.chunk[gap:end]...)
	if e.state == editHold && e.base+int64(end)-e.colon > e.limit() {
		e.stay()
	}
	e.frames.skipTo(end)
}

// Token implements jsonstream.Sink.
func (e *Editor) Token(t jsonstream.Token) bool {
	switch {
	case t.Depth > 1:
	case t.Depth == 0:
		return e.topLevel(t)
	case t.Kind == jsonstream.Key:
		e.keyPiece(t)
	default:
		begins := t.Kind == jsonstream.BeginObject || t.Kind == jsonstream.BeginArray
		ends := t.Kind == jsonstream.EndObject || t.Kind == jsonstream.EndArray
		if e.state == editHold && !ends {
			e.value = t.Start
		}
		if t.Last && !begins {
			e.memberEnds(t.End)
		}
	}
	return true
}

func (e *Editor) topLevel(t jsonstream.Token) bool {
	switch t.Kind {
	case jsonstream.BeginObject:
		e.frames.copyTo(e.in(t.End))
		e.state = editGap
		if e.change.Version != "" {
			e.set()
		}
	case jsonstream.EndObject:
		if e.twice && e.change.Version != "" {
			e.held = append(e.held, ',')
			e.set()
		}
		if e.change.Webhook {
			e.tail()
		}
		e.letGo()
		e.state = editCopy
	default:
		return !t.Last
	}
	return true
}

// set writes the version that is to be set.
func (e *Editor) set() {
	e.held = append(e.held, `"`+versionKey+`":`...)
	e.held = jsonstream.AppendString(e.held, e.change.Version)
	e.letGo()
	e.written++
	e.changed = true
}

func (e *Editor) keyPiece(t jsonstream.Token) {
	if e.state == editGap {
		e.key = t.Start
		e.state = editKey
	}
	if e.state != editKey {
		return // decided by an earlier piece
	}
	text, known := e.name.read(t)
	if !known {
		return
	}
	if !t.Last {
		e.name = name{}
	}
	this := matter(text)
	repeated := e.seen&this != 0
	e.seen |= this
	if repeated {
		e.status = Duplicate
		e.kept = e.kept || this != isVersion
		e.twice = e.twice || this == isVersion
	}
	switch {
	case repeated || this == 0:
		e.keep()
	case this == isVersion && (e.change.Remove || e.change.Version != ""):
		e.state = editDrop
		e.held = e.held[:0]
	case this != isVersion && e.change.Webhook:
		e.state = editHold
		e.member, e.colon = this, t.End
	default:
		e.keep()
	}
}

// keep decides that the member stays, and sees to the comma that is due.
func (e *Editor) keep() {
	due, stands := e.written > 0, e.read > 0
	if due && !stands {
		e.frames.bytes(oneComma)
	}
	comma := -1
	if stands && !due {
		if comma = lean.IndexByte(view(e.held), ','); comma >= 0 {
			e.held = append(e.held[:comma], e.held[comma+1:]...)
		}
	}
	e.letGo()
	if stands && !due && comma < 0 {
		at := e.frames.at + lean.IndexByte(view(e.chunk[e.frames.at:]), ',')
		e.frames.copyTo(at)
		e.frames.skipTo(at + 1)
	}
	e.state = editCopy
}

func (e *Editor) limit() int64 {
	if e.member == isWebhook {
		return MaxWebhookBytes
	}
	return MaxFilterBytes
}

// stay decides that a member too long to be taken out stays.
func (e *Editor) stay() {
	e.kept = true
	e.keep()
}

func (e *Editor) memberEnds(end int64) {
	if e.state == editHold {
		e.takeOut(end)
	}
	e.read++
	e.changed = e.state == editDrop
	if e.changed {
		e.frames.skipTo(e.in(end))
	} else {
		e.frames.copyTo(e.in(end))
		e.written++
	}
	e.state = editGap
}

// takeOut moves the value that ends here out of the body, unless it is too long.
func (e *Editor) takeOut(end int64) {
	if end-e.colon > e.limit() {
		e.stay()
		return
	}
	all := append(e.held, e.chunk[e.frames.at:e.in(end)]...)
	value := all[len(all)-int(end-e.value):]
	if e.member == isWebhook {
		e.webhook = append(e.webhook, value...)
	} else {
		e.filter = append(e.filter, value...)
	}
	e.held = all[:0]
	e.state = editDrop
}

// tail writes the slot behind the last member.
func (e *Editor) tail() {
	slot := SlotTail
	if e.kept {
		slot = SlotKept
	}
	f := &e.frames
	from := f.frame(OpSlot + Op(slot))
	if e.written > 0 {
		f.write(",")
	}
	members := len(f.out)
	f.write("{")
	if len(e.webhook) > 0 {
		f.write(`"` + webhookKey + `":`)
		f.write(view(e.webhook))
	}
	if len(e.webhook) > 0 && len(e.filter) > 0 {
		f.write(",")
	}
	if len(e.filter) > 0 {
		f.write(`"` + filterKey + `":`)
		f.write(view(e.filter))
	}
	f.write("}")
	f.sized(from)
	if raw := f.out[members:]; !utf8.Valid(raw) {
		f.add(OpRaw, raw)
	}
}

// appendGap appends text with one blank for all white space in a row, so that a
// gap stays small and what breaks behind it does not join what stands before.
func appendGap(gap, text []byte) []byte {
	for _, c := range text {
		if c > ' ' {
			gap = append(gap, c)
		} else if len(gap) == 0 || gap[len(gap)-1] != ' ' {
			gap = append(gap, ' ')
		}
	}
	return gap
}
