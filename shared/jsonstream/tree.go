package jsonstream

import "unicode/utf8"

// Value is a parsed JSON value; small documents only, bodies are streamed.
type Value struct {
	Kind    Kind   // BeginObject, BeginArray, String, Number, True, False or Null
	Text    string // of a String, valid UTF-8, or of a Number
	Members []Member
	Items   []Value
}

// Member is one name and value of an object, in the order of the document.
type Member struct {
	Name  string
	Value Value
}

// Parse reads one whole document. It reports ErrSyntax, ErrDepth or ErrEnd.
func Parse(data []byte) (Value, error) {
	var (
		s Scanner
		b builder
	)
	if err := s.Push(data, &b); err != nil {
		return Value{}, err
	}
	if err := s.Close(&b); err != nil {
		return Value{}, err
	}
	return b.root, nil
}

// Get returns the member of that name, or nil: the last one, where it is repeated.
//
//go:noinline
func (v *Value) Get(name string) *Value {
	for i := len(v.Members) - 1; i >= 0; i-- {
		if v.Members[i].Name == name {
			return &v.Members[i].Value
		}
	}
	return nil
}

// builder keeps the open containers by value, and hangs each into its parent
// when it closes.
type builder struct {
	root  Value
	stack []frame
	text  []byte
}

type frame struct {
	value Value
	key   string
}

// Token implements Sink.
func (b *builder) Token(t Token) bool {
	switch t.Kind {
	case BeginObject, BeginArray:
		b.stack = append(b.stack, frame{value: Value{Kind: t.Kind}})
	case EndObject, EndArray:
		top := &b.stack[len(b.stack)-1]
		b.stack = b.stack[:len(b.stack)-1]
		b.add(&top.value)
	case Key, String, Number:
		b.text = append(b.text, t.Text...)
		if !t.Last {
			return true
		}
		text := validText(b.text)
		b.text = b.text[:0]
		if t.Kind == Key {
			b.stack[len(b.stack)-1].key = text
			return true
		}
		b.add(&Value{Kind: t.Kind, Text: text})
	default:
		b.add(&Value{Kind: t.Kind})
	}
	return true
}

// validText replaces each byte that is not UTF-8 by U+FFFD, as encoding/json does.
func validText(text []byte) string {
	if utf8.Valid(text) {
		return string(text)
	}
	valid := make([]byte, 0, len(text)+2*utf8.UTFMax)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		valid = utf8.AppendRune(valid, r)
		text = text[n:]
	}
	return string(valid)
}

//go:noinline
func (b *builder) add(v *Value) {
	if len(b.stack) == 0 {
		b.root = *v
		return
	}
	top := &b.stack[len(b.stack)-1]
	if top.value.Kind == BeginArray {
		top.value.Items = append(top.value.Items, *v)
		return
	}
	top.value.Members = append(top.value.Members, Member{Name: top.key, Value: *v})
}
