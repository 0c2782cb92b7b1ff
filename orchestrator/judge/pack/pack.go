// Package pack writes numbers to few bytes and reads them back exactly. It is
// pure.
package pack

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrDamaged says that bytes are not what was written.
var ErrDamaged = errors.New("packed numbers are cut off or damaged")

// mostInteger bounds the numbers that are written as integers.
const mostInteger = 1 << 53

// Int appends an integer.
func Int(to []byte, n int64) []byte { return binary.AppendVarint(to, n) }

// Float appends a number: small whole ones that are not negative take a byte or
// two, others nine.
func Float(to []byte, x float64) []byte {
	if x >= 0 && x < mostInteger && x == math.Trunc(x) && !math.Signbit(x) {
		return binary.AppendUvarint(to, uint64(x)<<1)
	}
	return Bits(append(to, 1), x)
}

// Bits appends a number in eight bytes.
func Bits(to []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(to, math.Float64bits(x))
}

// Short appends a number of single precision in four bytes.
func Short(to []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(to, math.Float32bits(x))
}

// Reader reads what was appended. After an error everything it reads is 0.
type Reader struct {
	from []byte
	at   int
	err  error
	slab []float64 // what Floats still has at hand
}

// NewReader returns a reader of the bytes.
func NewReader(from []byte) *Reader { return &Reader{from: from} }

// Err returns ErrDamaged where something was missing.
func (r *Reader) Err() error { return r.err }

// Done returns ErrDamaged where something was missing or is left over.
func (r *Reader) Done() error {
	if r.at < len(r.from) {
		r.Fail()
	}
	return r.err
}

// Fail makes the bytes be damaged, for what they say makes no sense.
func (r *Reader) Fail() { r.err, r.at = ErrDamaged, len(r.from) }

// Int reads an integer.
func (r *Reader) Int() int64 {
	n, size := binary.Varint(r.from[r.at:])
	if size <= 0 {
		r.Fail()
		return 0
	}
	r.at += size
	return n
}

// Len reads the length of a list whose items take at least a number of bytes.
func (r *Reader) Len(itemBytes int) int {
	n := r.Int()
	if n < 0 || n > int64((len(r.from)-r.at)/itemBytes) {
		r.Fail()
		return 0
	}
	return int(n)
}

// Float reads what Float wrote.
func (r *Reader) Float() float64 {
	if r.at < len(r.from) && r.from[r.at]&0x81 == 0 {
		r.at++
		return float64(r.from[r.at-1] >> 1)
	}
	n, size := binary.Uvarint(r.from[r.at:])
	if size <= 0 {
		r.Fail()
		return 0
	}
	r.at += size
	if n&1 == 1 {
		return r.Bits()
	}
	return float64(n >> 1)
}

// Bits reads what Bits wrote.
func (r *Reader) Bits() float64 {
	if len(r.from)-r.at < 8 {
		r.Fail()
		return 0
	}
	r.at += 8
	return math.Float64frombits(binary.LittleEndian.Uint64(r.from[r.at-8:]))
}

// Short reads what Short wrote.
func (r *Reader) Short() float32 {
	if len(r.from)-r.at < 4 {
		r.Fail()
		return 0
	}
	r.at += 4
	return math.Float32frombits(binary.LittleEndian.Uint32(r.from[r.at-4:]))
}

// slab is how many numbers Floats makes room for at once.
const slab = 512

// Floats returns room for numbers.
func (r *Reader) Floats(n int) []float64 {
	if n > len(r.slab) {
		r.slab = make([]float64, max(n, slab))
	}
	floats := r.slab[:n:n]
	r.slab = r.slab[n:]
	return floats
}
