package lean

import "math/bits"

const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5
)

const stripeBytes = 32

// XXH64 is the hash of that name with seed 0, by its specification
// (github.com/Cyan4973/xxHash, doc/xxhash_spec.md). The zero value is ready to use.
type XXH64 struct {
	lanes [4]uint64
	held  [stripeBytes]byte // the beginning of the next stripe
	total uint64            // bytes written
}

// WriteString adds to what is hashed.
func (h *XXH64) WriteString(s string) {
	if h.total == 0 {
		one := prime1 // a variable, as the sums overflow
		h.lanes = [4]uint64{one + prime2, prime2, 0, -one}
	}
	n := int(h.total % stripeBytes)
	h.total += uint64(len(s))
	for s != "" {
		copied := copy(h.held[n:], s)
		s = s[copied:]
		if n += copied; n == stripeBytes {
			h.stripe()
			n = 0
		}
	}
}

func (h *XXH64) stripe() {
	for i := range h.lanes {
		h.lanes[i] = round(h.lanes[i], h.word(8*i))
	}
}

func round(lane, word uint64) uint64 {
	return bits.RotateLeft64(lane+word*prime2, 31) * prime1
}

// word reads eight held bytes, the lowest first.
func (h *XXH64) word(at int) uint64 {
	b := h.held[at : at+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func (h *XXH64) half(at int) uint32 {
	b := h.held[at : at+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// Sum returns the hash of all that was written.
func (h *XXH64) Sum() uint64 {
	sum := prime5
	if h.total >= stripeBytes {
		l := &h.lanes
		sum = bits.RotateLeft64(l[0], 1) + bits.RotateLeft64(l[1], 7) + bits.RotateLeft64(l[2], 12) + bits.RotateLeft64(l[3], 18)
		for _, lane := range l {
			sum = (sum^round(0, lane))*prime1 + prime4
		}
	}
	sum += h.total
	i, n := 0, int(h.total%stripeBytes)
	for ; i+8 <= n; i += 8 {
		sum = bits.RotateLeft64(sum^round(0, h.word(i)), 27)*prime1 + prime4
	}
	if i+4 <= n {
		sum = bits.RotateLeft64(sum^uint64(h.half(i))*prime1, 23)*prime2 + prime3
		i += 4
	}
	for ; i < n; i++ {
		sum = bits.RotateLeft64(sum^uint64(h.held[i])*prime5, 11) * prime1
	}
	sum = (sum ^ sum>>33) * prime2
	sum = (sum ^ sum>>29) * prime3
	return sum ^ sum>>32
}
