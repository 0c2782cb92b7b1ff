package prediction

import (
	"unsafe"

	"perch/shared/jsonstream"
)

// name collects a member's name that may come in pieces, as far as it can be
// one that matters.
type name struct {
	bytes [len(filterKey)]byte
	n     int // bytes collected; more than fit: a name that does not matter
}

// read takes a piece of a name and returns it once it is whole, or known not to
// matter: then as "". The text is valid only during the call.
//
//go:noinline
func (k *name) read(t jsonstream.Token) (text string, known bool) {
	if t.Last && k.n == 0 {
		return view(t.Text), true
	}
	if k.n+len(t.Text) > len(k.bytes) {
		k.n = len(k.bytes) + 1
	} else {
		k.n += copy(k.bytes[k.n:], t.Text)
	}
	n := k.n
	if t.Last {
		k.n = 0
	}
	if n > len(k.bytes) {
		return "", true
	}
	return view(k.bytes[:n]), t.Last
}

// view is the text of bytes that stay as they are meanwhile. TinyGo would copy
// what is only compared.
func view(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }
