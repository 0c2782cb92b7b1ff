// Package jsonstream reads JSON as it streams past, in constant memory and
// without reflection. It compiles under TinyGo.
package jsonstream

import (
	"perch/shared/lean"
	"unicode/utf8"
)

// MaxDepth is how many objects and arrays may be open at once.
const MaxDepth = 512

// Kind says what a token is.
type Kind uint8

// The kinds of token that a Sink receives.
const (
	BeginObject Kind = iota + 1
	EndObject
	BeginArray
	EndArray
	Key    // decoded text of a member's name, perhaps in pieces
	String // decoded text of a string value, perhaps in pieces
	Number // literal text, perhaps in pieces
	True
	False
	Null
)

// Token is one piece of the input. Keys, strings and numbers may arrive in
// several pieces, the last of which has Last set; everything else is whole.
// Text is valid only during the call.
type Token struct {
	Kind Kind
	Last bool
	// Depth counts the containers that enclose the token: 0 for the top-level
	// value and the brackets that delimit it, 1 for its members.
	Depth int
	// Start and End are the byte range [Start, End) of the whole raw token so
	// far in the input, quotes included, counted from 0.
	Start, End int64
	Text       []byte
}

// Sink receives the tokens of a Scanner; false stops it with ErrStopped.
type Sink interface {
	Token(Token) bool
}

// What Push and Close report.
const (
	ErrStopped = lean.Error("stopped")
	ErrSyntax  = lean.Error("invalid JSON")
	ErrDepth   = lean.Error("JSON nested too deeply")
	ErrEnd     = lean.Error("unexpected end of JSON")
)

type state uint8

const (
	stateValue      state = iota // a value must follow
	stateFirstValue              // a value or ']'
	stateFirstKey                // a key or '}'
	stateKey                     // a key must follow
	stateColon                   // ':' must follow
	stateAfter                   // ',' or the closing bracket
	stateDone                    // white space only
	stateText                    // inside a key or string
	stateEscape                  // after a backslash
	stateHex                     // inside \uXXXX
	stateNumber                  // inside a number
	stateLiteral                 // inside true, false or null
	stateBroken                  // an error was reported
)

// Scanner is a push tokenizer: feed it a document in chunks of any size.
// It accepts what encoding/json accepts, and treats invalid UTF-8 alike (the
// bytes are passed on; callers that need text replace them). The zero value is
// ready to use.
type Scanner struct {
	state  state
	number numberState
	kind   Kind // of the text token being read: Key or String
	depth  int
	object [MaxDepth / 8]byte // bit set: the container at that depth is an object

	offset  int64 // bytes consumed before the current chunk
	start   int64 // where the current token began
	literal string
	matched int  // bytes of literal seen
	hex     rune // value of the \u escape being read
	digits  int
	high    rune // a high surrogate that waits for its low half, or 0
	scratch [utf8.UTFMax]byte
}

// Reset makes the scanner ready for another document.
func (s *Scanner) Reset() { *s = Scanner{} }

// Offset returns how many bytes were consumed.
func (s *Scanner) Offset() int64 { return s.offset }

// Done reports whether the top-level value is complete. A top-level number is
// complete only after Close.
func (s *Scanner) Done() bool { return s.state == stateDone }

// Text returns where the key or string began within which the input stands, of
// which no piece may have been handed on yet.
func (s *Scanner) Text() (start int64, stands bool) {
	return s.start, s.state == stateText || s.state == stateEscape || s.state == stateHex
}

// Push consumes data and hands its tokens to sink. After an error the scanner
// stays broken until Reset.
func (s *Scanner) Push(data []byte, sink Sink) error {
	for i := 0; i < len(data); {
		n, err := s.step(data, i, sink)
		if err != nil {
			s.state = stateBroken
			s.offset += int64(i)
			return err
		}
		i += n
	}
	s.offset += int64(len(data))
	return nil
}

// Close reports ErrEnd unless exactly one whole value was pushed.
func (s *Scanner) Close(sink Sink) error {
	if s.state == stateNumber && s.number.complete() {
		if err := s.endNumber(s.offset, nil, sink); err != nil {
			s.state = stateBroken
			return err
		}
	}
	if s.state == stateBroken {
		return ErrSyntax
	}
	if s.state != stateDone {
		return ErrEnd
	}
	return nil
}

// step consumes at least one byte of data[i:], or changes the state.
func (s *Scanner) step(data []byte, i int, sink Sink) (int, error) {
	switch s.state {
	case stateText:
		return s.text(data, i, sink)
	case stateEscape:
		return 1, s.escape(data[i], s.offset+int64(i)+1, sink)
	case stateHex:
		return 1, s.hexDigit(data[i], s.offset+int64(i)+1, sink)
	case stateNumber:
		return s.numberText(data, i, sink)
	case stateLiteral:
		return 1, s.literalByte(data[i], s.offset+int64(i), sink)
	case stateBroken:
		return 0, ErrSyntax
	}
	c := data[i]
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return 1, nil
	}
	return 1, s.structure(c, s.offset+int64(i), sink)
}

// structure handles a byte that is no white space, outside of any token.
func (s *Scanner) structure(c byte, at int64, sink Sink) error {
	switch s.state {
	case stateValue, stateFirstValue:
		if c == ']' && s.state == stateFirstValue {
			return s.close(EndArray, at, sink)
		}
		return s.beginValue(c, at, sink)
	case stateFirstKey, stateKey:
		if c == '}' && s.state == stateFirstKey {
			return s.close(EndObject, at, sink)
		}
		if c != '"' {
			return ErrSyntax
		}
		s.beginText(Key, at)
		return nil
	case stateColon:
		if c != ':' {
			return ErrSyntax
		}
		s.state = stateValue
		return nil
	case stateAfter:
		return s.after(c, at, sink)
	}
	return ErrSyntax
}

func (s *Scanner) after(c byte, at int64, sink Sink) error {
	inObject := s.inObject()
	switch {
	case c == ',' && inObject:
		s.state = stateKey
	case c == ',':
		s.state = stateValue
	case c == '}' && inObject:
		return s.close(EndObject, at, sink)
	case c == ']' && !inObject:
		return s.close(EndArray, at, sink)
	default:
		return ErrSyntax
	}
	return nil
}

func (s *Scanner) beginValue(c byte, at int64, sink Sink) error {
	s.start = at
	switch c {
	case '{':
		return s.open(BeginObject, stateFirstKey, at, sink)
	case '[':
		return s.open(BeginArray, stateFirstValue, at, sink)
	case '"':
		s.beginText(String, at)
	case 't':
		s.beginLiteral("true", True)
	case 'f':
		s.beginLiteral("false", False)
	case 'n':
		s.beginLiteral("null", Null)
	default:
		if !s.number.begin(c) {
			return ErrSyntax
		}
		s.kind, s.state = Number, stateNumber
		return s.emit(sink, s.one(c), at+1, false)
	}
	return nil
}

func (s *Scanner) open(kind Kind, next state, at int64, sink Sink) error {
	if s.depth == MaxDepth {
		return ErrDepth
	}
	bit := byte(1) << (s.depth % 8)
	if kind == BeginObject {
		s.object[s.depth/8] |= bit
	} else {
		s.object[s.depth/8] &^= bit
	}
	s.kind, s.state = kind, next
	err := s.emit(sink, nil, at+1, true)
	s.depth++
	return err
}

func (s *Scanner) close(kind Kind, at int64, sink Sink) error {
	s.depth--
	s.endValue()
	s.kind, s.start = kind, at
	return s.emit(sink, nil, at+1, true)
}

func (s *Scanner) inObject() bool {
	d := s.depth - 1
	return s.object[d/8]&(1<<(d%8)) != 0
}

func (s *Scanner) endValue() {
	if s.depth == 0 {
		s.state = stateDone
		return
	}
	s.state = stateAfter
}

func (s *Scanner) beginLiteral(word string, kind Kind) {
	s.literal, s.matched, s.kind, s.state = word, 1, kind, stateLiteral
}

func (s *Scanner) literalByte(c byte, at int64, sink Sink) error {
	if c != s.literal[s.matched] {
		return ErrSyntax
	}
	s.matched++
	if s.matched < len(s.literal) {
		return nil
	}
	s.endValue()
	return s.emit(sink, nil, at+1, true)
}

func (s *Scanner) one(c byte) []byte {
	s.scratch[0] = c
	return s.scratch[:1]
}

// emit hands on a token, or a piece of one, of the kind that is being read.
//
//go:noinline
func (s *Scanner) emit(sink Sink, text []byte, end int64, last bool) error {
	if !sink.Token(Token{Kind: s.kind, Last: last, Depth: s.depth, Start: s.start, End: end, Text: text}) {
		return ErrStopped
	}
	return nil
}
