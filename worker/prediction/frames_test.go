package prediction

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/jsonstream"
)

// filled is a slot and what stood there.
type filled struct {
	slot  Slot
	value string
}

// reader puts together what frames make of chunks.
type reader struct {
	t     testing.TB
	fill  func(filled) string // the text for a slot; nil: its own value
	out   []byte
	slots []filled
	facts []string
	last  int // where in out the last slot begins
}

// take reads the frames of a chunk.
func (r *reader) take(frames, chunk []byte) {
	for len(frames) > 0 {
		require.GreaterOrEqual(r.t, len(frames), frameHeadBytes, "a frame is cut off")
		op, n := Op(frames[0]), int(binary.LittleEndian.Uint32(frames[1:]))
		if op < OpRaw {
			require.Positive(r.t, n, "an empty frame")
		}
		frames = frames[frameHeadBytes:]
		if op == OpCopy || op == OpSkip {
			require.LessOrEqual(r.t, n, len(chunk), "more than the chunk has")
			if op == OpCopy {
				r.out = append(r.out, chunk[:n]...)
			}
			chunk = chunk[n:]
			continue
		}
		r.own(op, frames[:n])
		frames = frames[n:]
	}
}

func (r *reader) own(op Op, text []byte) {
	switch op {
	case OpBytes:
		r.out = append(r.out, text...)
	case OpFacts:
		r.facts = append(r.facts, string(text))
	case OpRaw:
		s := r.slots[len(r.slots)-1]
		if r.fill == nil || r.fill(s) == s.value {
			r.out = r.out[:r.last]
			r.out = append(r.out, text...)
		}
	default:
		s := filled{Slot(op - OpSlot), string(text)}
		r.slots = append(r.slots, s)
		r.last = len(r.out)
		if r.fill != nil {
			s.value = r.fill(s)
		}
		if s.slot < SlotTail {
			r.out = jsonstream.AppendString(r.out, s.value)
			return
		}
		r.out = append(r.out, s.value...)
	}
}

// marked writes a slot so that it can be seen.
func marked(s filled) string { return fmt.Sprintf("<%d %s>", s.slot, s.value) }

func TestFrames(t *testing.T) {
	var f frames
	read := func(chunk string, write func()) string {
		f.begin()
		write()
		r := reader{t: t, fill: marked}
		r.take(f.end(), []byte(chunk))
		return string(r.out)
	}
	require.Empty(t, read("abc", func() {}))
	require.Equal(t, "abc", read("abc", func() { f.copyTo(1); f.copyTo(3) }))
	require.Len(t, f.out, frameHeadBytes, "one frame")
	require.Empty(t, read("abc", func() { f.skipTo(3) }))
	require.Empty(t, f.out, "what is left out at the end needs no frame")
	require.Equal(t, `aXYcZ"<2 v>"ef`, read("abcdef", func() {
		f.copyTo(1)
		f.skipTo(2)
		f.bytes([]byte("X"))
		f.bytes(nil)
		f.bytes([]byte("Y"))
		f.copyTo(3)
		f.bytes([]byte("Z"))
		f.skipTo(4)
		f.add(OpSlot+Op(SlotGet), []byte("v"))
		f.copyTo(6)
		f.copyTo(2) // behind it already
	}))
}
