package jsonstream

// numberState is where in the number grammar of RFC 8259 the scanner stands.
type numberState uint8

const (
	numberMinus    numberState = iota // after '-'
	numberZero                        // after a leading 0
	numberInteger                     // in the integer part
	numberPoint                       // after '.'
	numberFraction                    // in the fraction
	numberE                           // after 'e'
	numberSign                        // after the exponent's sign
	numberExponent                    // in the exponent
)

func (n *numberState) begin(c byte) bool {
	switch {
	case c == '-':
		*n = numberMinus
	case c == '0':
		*n = numberZero
	case '1' <= c && c <= '9':
		*n = numberInteger
	default:
		return false
	}
	return true
}

// complete reports whether the number may end here.
func (n numberState) complete() bool {
	return n == numberZero || n == numberInteger || n == numberFraction || n == numberExponent
}

// next takes one more byte of the number; false means that c is not part of it.
func (n *numberState) next(c byte) bool {
	digit := '0' <= c && c <= '9'
	switch *n {
	case numberMinus:
		return n.begin(c) && c != '-'
	case numberZero, numberInteger:
		switch {
		case digit && *n == numberInteger:
		case c == '.':
			*n = numberPoint
		case c == 'e' || c == 'E':
			*n = numberE
		default:
			return false
		}
	case numberPoint, numberFraction:
		switch {
		case digit:
			*n = numberFraction
		case (c == 'e' || c == 'E') && *n == numberFraction:
			*n = numberE
		default:
			return false
		}
	case numberE:
		switch {
		case digit:
			*n = numberExponent
		case c == '+' || c == '-':
			*n = numberSign
		default:
			return false
		}
	case numberSign, numberExponent:
		if !digit {
			return false
		}
		*n = numberExponent
	}
	return true
}

// numberText consumes the bytes of a number; the byte after it is left alone.
func (s *Scanner) numberText(data []byte, i int, sink Sink) (int, error) {
	n := i
	for n < len(data) && s.number.next(data[n]) {
		n++
	}
	if n == len(data) {
		return n - i, s.emit(sink, data[i:n], s.offset+int64(n), false)
	}
	if !s.number.complete() {
		return 0, ErrSyntax
	}
	return n - i, s.endNumber(s.offset+int64(n), data[i:n], sink)
}

func (s *Scanner) endNumber(end int64, text []byte, sink Sink) error {
	s.endValue()
	return s.emit(sink, text, end, true)
}
