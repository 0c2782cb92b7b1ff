package prediction

import (
	"unicode/utf8"

	"perch/shared/jsonstream"
)

// MaxSlotBytes is the longest string, quotes included, that becomes a slot of an
// answer.
const MaxSlotBytes = 8 << 10

// Shape says what an answer's JSON holds.
type Shape uint8

// The shapes.
const (
	ShapePrediction  Shape = 1 // a prediction or a training
	ShapePredictions Shape = 2 // a list of those: next, previous, results
	ShapePage        Shape = 3 // a list of something else: next and previous only
)

// Answer reads an answer while it streams past, and leaves slots where ids and
// URLs of Replicate stand: strings at their own place only, never inside input,
// output, logs or metrics. All other bytes go on as they are, and so does
// everything behind the place where the JSON breaks, or that is no object.
type Answer struct {
	scanner jsonstream.Scanner
	frames  frames
	name    name
	shape   Shape
	passing bool // nothing more is read
	broken  bool // the facts are void

	listField field // the member of the list that the key before named
	listed    bool  // within results
	item      bool  // within one of them
	member    field // of the prediction
	inner     field // of it, the object that is open: fieldURLs, fieldMetrics or none
	nested    field // the member of that

	base      int64 // offset of the chunk in the answer
	chunk     []byte
	expected  field // whose value comes next, if it can be a slot
	slot      field // whose value is being read as one
	slotStart int64
	raw       []byte // of earlier chunks, of the slot
	value     []byte // decoded text of the value being read
	begun     bool   // it is being read
	facts     facts
}

// NewAnswer returns an Answer. Of no shape it reads nothing.
func NewAnswer(shape Shape) *Answer {
	a := new(Answer)
	a.Reset(shape)
	return a
}

// Reset makes the reader ready for another answer, in the memory that it has.
func (a *Answer) Reset(shape Shape) {
	a.facts.reset()
	unread := shape < ShapePrediction || shape > ShapePage
	*a = Answer{shape: shape, passing: unread, broken: unread, frames: a.frames, raw: a.raw[:0], value: a.value[:0], facts: a.facts}
}

// Push reads the next chunk and returns its frames, valid until the next call.
func (a *Answer) Push(chunk []byte) []byte {
	a.frames.begin()
	a.chunk = chunk
	if !a.passing {
		if a.scanner.Push(chunk, a) != nil {
			a.giveUp()
		} else {
			a.hold()
		}
	}
	a.frames.copyTo(len(chunk))
	a.base, a.chunk = a.base+int64(len(chunk)), nil
	return a.frames.end()
}

// Close returns what was held back when the answer ended too early, as frames,
// and behind it the facts.
func (a *Answer) Close() []byte {
	a.frames.begin()
	if !a.scanner.Done() {
		a.giveUp()
	}
	a.writeFacts()
	return a.frames.end()
}

// Facts returns what is known so far of the prediction; nothing of what is
// malformed, or no object. Of ShapePredictions each result has a frame of its own.
func (a *Answer) Facts() Facts {
	if a.broken {
		return Facts{}
	}
	return a.facts.get()
}

// AppendFacts appends Facts as JSON.
func (a *Answer) AppendFacts(dst []byte) []byte {
	if a.broken {
		a.facts.reset()
	}
	return a.facts.appendJSON(dst)
}

func (a *Answer) writeFacts() {
	from := a.frames.frame(OpFacts)
	a.frames.out = a.AppendFacts(a.frames.out)
	a.frames.sized(from)
}

func (a *Answer) giveUp() {
	a.letGo()
	a.passing, a.broken = true, true
}

// letGo lets the value that might have become a slot stay as it is.
func (a *Answer) letGo() {
	a.frames.bytes(a.raw)
	a.raw = a.raw[:0]
	a.slot = noField
}

// hold keeps the part of a slot that the chunk ends in.
func (a *Answer) hold() {
	if a.expected != noField {
		// A string begins without a token.
		if start, stands := a.scanner.Text(); stands {
			a.slot, a.slotStart, a.expected = a.expected, start, noField
		}
	}
	if a.slot == noField {
		return
	}
	a.frames.copyTo(int(a.slotStart - a.base))
	a.raw = append(a.raw, a.chunk[a.frames.at:]...)
	a.frames.skipTo(len(a.chunk))
	if len(a.raw) > MaxSlotBytes {
		a.letGo()
	}
}

// Token implements jsonstream.Sink.
func (a *Answer) Token(t jsonstream.Token) bool {
	if t.Depth == 0 {
		return t.Kind == jsonstream.BeginObject || t.Kind == jsonstream.EndObject
	}
	if a.shape == ShapePrediction {
		a.prediction(t, t.Depth)
		return true
	}
	switch {
	case t.Depth == 1:
		a.list(t)
	case !a.listed:
	case t.Depth == 2:
		a.result(t)
	case a.item:
		a.prediction(t, t.Depth-2)
	}
	return true
}

// list takes a token of the list's own members.
func (a *Answer) list(t jsonstream.Token) {
	if t.Kind == jsonstream.Key {
		a.listField = noField
		if text, known := a.name.read(t); known {
			a.listField = listField(text)
		}
		a.expect(a.listField)
		return
	}
	a.listed = t.Kind == jsonstream.BeginArray && a.listField == fieldResults && a.shape == ShapePredictions
	a.read(t, a.listField)
}

// result takes a token between results.
func (a *Answer) result(t jsonstream.Token) {
	switch t.Kind {
	case jsonstream.BeginObject:
		a.item = true
		a.facts.reset()
	case jsonstream.EndObject:
		a.item = false
		a.writeFactsAt(t.End)
		a.facts.reset()
	}
}

// writeFactsAt writes the facts of a result behind its bytes.
func (a *Answer) writeFactsAt(end int64) {
	a.frames.copyTo(int(end - a.base))
	a.writeFacts()
}

// prediction takes a token of a prediction, whose members are at depth 1.
func (a *Answer) prediction(t jsonstream.Token, depth int) {
	switch {
	case depth == 1 && t.Kind == jsonstream.Key:
		a.member = noField
		if text, known := a.name.read(t); known {
			a.member = predictionField(text)
		}
		a.expect(a.member)
	case depth == 1:
		a.inner = noField
		if t.Kind == jsonstream.BeginObject && (a.member == fieldURLs || a.member == fieldMetrics) {
			a.inner = a.member
		}
		a.read(t, a.member)
	case depth > 2 || a.inner == noField:
	case t.Kind == jsonstream.Key:
		a.nested = noField
		if text, known := a.name.read(t); known {
			a.nested = innerField(a.inner, text)
		}
		a.expect(a.nested)
	default:
		a.read(t, a.nested)
	}
}

// expect notes that the field's value comes next.
func (a *Answer) expect(of field) {
	a.expected = noField
	if slots[of] != 0 {
		a.expected = of
	}
}

// slots are the fields whose texts become slots.
var slots = [...]Slot{
	fieldID: SlotID, fieldWebhook: SlotWebhook, fieldGet: SlotGet, fieldCancel: SlotCancel, fieldStream: SlotStream,
	fieldNext: SlotPage, fieldPrevious: SlotPage, fieldResults: 0,
}

// read takes a token of a field's value.
func (a *Answer) read(t jsonstream.Token, of field) {
	if of == noField || t.Kind == jsonstream.EndObject || t.Kind == jsonstream.EndArray {
		return
	}
	if !a.begun {
		a.begin(t, of)
	}
	a.begun = !t.Last
	if t.Kind != jsonstream.String && t.Kind != jsonstream.Number {
		return
	}
	room := longest(of) + 1 - len(a.value)
	a.value = append(a.value, t.Text[:min(room, len(t.Text))]...)
	if !t.Last {
		return
	}
	if a.slot != noField {
		a.endSlot(t.End)
	}
	switch {
	case of == fieldError:
		a.facts.set(of, t.Kind, firstOf(a.value, MaxErrorBytes))
	case len(a.value) <= longest(of):
		a.facts.set(of, t.Kind, a.value)
	}
}

// begin takes the first token of a value.
func (a *Answer) begin(t jsonstream.Token, of field) {
	a.value = a.value[:0]
	a.facts.begin(of, t.Kind)
	if a.expected != noField && t.Kind == jsonstream.String {
		a.slot, a.slotStart = of, t.Start
	}
	a.expected = noField
}

// longest is how long a text can be and say something.
func longest(of field) int {
	switch {
	case slots[of] != 0:
		return MaxSlotBytes
	case of == fieldError:
		return MaxErrorBytes
	}
	return maxFactBytes
}

// endSlot writes the slot whose value ends here, unless it is too long.
func (a *Answer) endSlot(end int64) {
	from, to := max(a.frames.at, int(a.slotStart-a.base)), int(end-a.base)
	if end-a.slotStart > MaxSlotBytes {
		a.letGo()
		return
	}
	a.frames.copyTo(from)
	a.frames.add(OpSlot+Op(slots[a.slot]), a.value)
	if int64(len(a.value)) != end-a.slotStart-2 || !utf8.Valid(a.value) {
		a.raw = append(a.raw, a.chunk[from:to]...)
		a.frames.add(OpRaw, a.raw)
	}
	a.raw = a.raw[:0]
	a.slot = noField
	a.frames.skipTo(to)
}
