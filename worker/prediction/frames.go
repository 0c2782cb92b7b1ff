package prediction

// Op is what a frame says. A frame is its Op, a length n (4 bytes, the lowest
// first), and, but for OpCopy and OpSkip, n bytes of its own.
type Op uint8

// The ops. All frames of a chunk, in their order, make up what goes on of it;
// bytes of the chunk behind the last frame are left out.
const (
	OpCopy  Op = iota // the next n bytes of the chunk go on
	OpSkip            // the next n bytes of the chunk are left out
	OpBytes           // n bytes go on
	OpRaw             // how the slot before was written, where encoding its value would write it otherwise
	OpFacts           // facts of a prediction, as JSON

	OpSlot Op = 16 // OpSlot + Slot: the host puts something here
)

// Slot is a place where the host decides what goes on. Its frame's bytes are
// what stood there: the decoded text of a string or, for SlotTail and SlotKept,
// a comma where the first appended member needs one, and an object of the
// members that were taken out.
type Slot uint8

// The slots.
const (
	SlotID      Slot = iota + 1 // a prediction's id
	SlotGet                     // urls.get
	SlotCancel                  // urls.cancel
	SlotStream                  // urls.stream
	SlotPage                    // next and previous of a list
	SlotWebhook                 // a prediction's webhook
	SlotTail                    // behind the members of a body: webhook and webhook_events_filter may be appended
	SlotKept                    // like SlotTail where one of both is too long to be taken out, or repeated: only what was taken out may be put back
)

const frameHeadBytes = 5

// frames writes the frames of one chunk. Inlined wherever they are called, its
// methods would be a good part of the module.
type frames struct {
	out  []byte
	at   int // how much of the chunk was copied or skipped
	op   Op  // of the run that out does not have yet
	run  int // its length
	text int // where the frame of bytes begins that can still grow; 0: nowhere, 1: at 0, …
}

func (f *frames) begin() { *f = frames{out: f.out[:0]} }

func (f *frames) copyTo(end int) { f.pass(OpCopy, end) }

func (f *frames) skipTo(end int) { f.pass(OpSkip, end) }

//go:noinline
func (f *frames) pass(op Op, end int) {
	if end <= f.at {
		return
	}
	if f.op != op {
		f.flush()
	}
	f.op = op
	f.run += end - f.at
	f.at = end
}

func (f *frames) flush() {
	if f.run > 0 {
		f.head(f.op, f.run)
		f.run = 0
	}
}

//go:noinline
func (f *frames) head(op Op, n int) {
	f.out = append(f.out, byte(op), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	f.text = 0
}

// write appends to out, within a frame that was begun.
//
//go:noinline
func (f *frames) write(text string) { f.out = append(f.out, text...) }

// bytes adds to what goes on.
//
//go:noinline
func (f *frames) bytes(text []byte) {
	if len(text) == 0 {
		return
	}
	f.flush()
	if f.text == 0 {
		f.head(OpBytes, 0)
		f.text = len(f.out) - frameHeadBytes + 1
	}
	f.write(view(text))
	f.sized(f.text - 1)
}

// frame begins a frame whose bytes the caller appends to out, and returns where;
// sized ends it.
//
//go:noinline
func (f *frames) frame(op Op) int {
	f.flush()
	f.head(op, 0)
	return len(f.out) - frameHeadBytes
}

//go:noinline
func (f *frames) sized(from int) {
	n := len(f.out) - from - frameHeadBytes
	head := f.out[from : from+frameHeadBytes]
	head[1], head[2], head[3], head[4] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
}

//go:noinline
func (f *frames) add(op Op, text []byte) {
	from := f.frame(op)
	f.write(view(text))
	f.sized(from)
}

// end returns all frames.
func (f *frames) end() []byte {
	if f.op == OpCopy {
		f.flush()
	}
	return f.out
}
