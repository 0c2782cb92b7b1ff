package jsonstream

import (
	"unicode/utf16"
	"unicode/utf8"
)

func (s *Scanner) beginText(kind Kind, at int64) {
	s.kind, s.start, s.state, s.high = kind, at, stateText, 0
}

// text consumes plain characters up to a quote, a backslash or the chunk's end.
func (s *Scanner) text(data []byte, i int, sink Sink) (int, error) {
	n := i
	for n < len(data) && data[n] != '"' && data[n] != '\\' {
		if data[n] < 0x20 {
			return 0, ErrSyntax
		}
		n++
	}
	end := s.offset + int64(n)
	if n > i {
		if err := s.flushSurrogate(end, sink); err != nil {
			return 0, err
		}
	}
	if n == len(data) {
		return n - i, s.emit(sink, data[i:n], end, false)
	}
	if data[n] == '\\' {
		s.state = stateEscape
		if n > i {
			return n - i + 1, s.emit(sink, data[i:n], end, false)
		}
		return 1, nil
	}
	if err := s.flushSurrogate(end, sink); err != nil {
		return 0, err
	}
	if s.kind == Key {
		s.state = stateColon
	} else {
		s.endValue()
	}
	return n - i + 1, s.emit(sink, data[i:n], end+1, true)
}

// flushSurrogate writes the replacement character for a high surrogate that no
// low one followed.
func (s *Scanner) flushSurrogate(end int64, sink Sink) error {
	if s.high == 0 {
		return nil
	}
	s.high = 0
	return s.emitRune(utf8.RuneError, end, sink)
}

func (s *Scanner) emitRune(r rune, end int64, sink Sink) error {
	n := utf8.EncodeRune(s.scratch[:], r)
	return s.emit(sink, s.scratch[:n], end, false)
}

func (s *Scanner) escape(c byte, end int64, sink Sink) error {
	if c == 'u' {
		s.state, s.hex, s.digits = stateHex, 0, 0
		return nil
	}
	r, ok := unescape(c)
	if !ok {
		return ErrSyntax
	}
	s.state = stateText
	if err := s.flushSurrogate(end, sink); err != nil {
		return err
	}
	return s.emitRune(r, end, sink)
}

func unescape(c byte) (rune, bool) {
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

func (s *Scanner) hexDigit(c byte, end int64, sink Sink) error {
	var v rune
	switch {
	case '0' <= c && c <= '9':
		v = rune(c - '0')
	case 'a' <= c && c <= 'f':
		v = rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		v = rune(c-'A') + 10
	default:
		return ErrSyntax
	}
	s.hex = s.hex<<4 | v
	s.digits++
	if s.digits < 4 {
		return nil
	}
	s.state = stateText
	return s.unit(s.hex, end, sink)
}

// unit takes one UTF-16 code unit and joins surrogate pairs.
func (s *Scanner) unit(u rune, end int64, sink Sink) error {
	if s.high != 0 {
		if r := utf16.DecodeRune(s.high, u); r != utf8.RuneError {
			s.high = 0
			return s.emitRune(r, end, sink)
		}
		if err := s.flushSurrogate(end, sink); err != nil {
			return err
		}
	}
	if utf16.IsSurrogate(u) {
		if u < 0xDC00 {
			s.high = u
			return nil
		}
		u = utf8.RuneError
	}
	return s.emitRune(u, end, sink)
}
