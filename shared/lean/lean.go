// Package lean is the little that the worker needs of strings, bytes and
// strconv, which would link Unicode's tables and formats that nobody asks for:
// 30 KB of the standard compiler's module. It compiles under TinyGo.
package lean

import "unsafe"

// Error is a text that is an error, as of errors.New, but equal to another of the
// same text.
type Error string

func (e Error) Error() string { return string(e) }

// IndexByte is strings.IndexByte. It looks at eight bytes at once: a loop over
// bytes costs the standard compiler's module more than all else of a decision.
//
//go:noinline
func IndexByte(s string, c byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	wanted := uint64(c) * ones
	i := 0
	for at := unsafe.Pointer(unsafe.StringData(s)); i+8 <= len(s); i += 8 {
		// A byte of x is 0 where that of s is c.
		x := *(*uint64)(unsafe.Add(at, i)) ^ wanted
		if (x-ones)&^x&tops != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// Cut is strings.Cut at one byte.
//
//go:noinline
func Cut(s string, separator byte) (before, after string, found bool) {
	if i := IndexByte(s, separator); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// HasPrefix is strings.HasPrefix.
func HasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// CutPrefix is strings.CutPrefix.
//
//go:noinline
func CutPrefix(s, prefix string) (after string, found bool) {
	if !HasPrefix(s, prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// CutSuffix is strings.CutSuffix.
//
//go:noinline
func CutSuffix(s, suffix string) (before string, found bool) {
	if n := len(s) - len(suffix); n >= 0 && s[n:] == suffix {
		return s[:n], true
	}
	return s, false
}

// AppendInt is strconv.AppendInt in decimal.
//
//go:noinline
func AppendInt(dst []byte, n int64) []byte {
	var digits [20]byte
	rest := uint64(n)
	if n < 0 {
		dst = append(dst, '-')
		rest = -rest
	}
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + rest%10)
		rest /= 10
		if rest == 0 {
			return append(dst, digits[i:]...)
		}
	}
}

// Int is strconv.FormatInt in decimal.
//
//go:noinline
func Int(n int64) string { return string(AppendInt(nil, n)) }

// AppendHex appends n as 16 hexadecimal digits.
func AppendHex(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}
