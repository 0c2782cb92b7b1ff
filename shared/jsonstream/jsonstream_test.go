package jsonstream

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// oracle decodes as encoding/json does; ok is false where the text is not
// exactly one JSON value.
func oracle(data []byte) (value any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF
}

// plain turns a tree into what encoding/json makes of the same text.
func plain(v Value) any {
	switch v.Kind {
	case BeginObject:
		object := map[string]any{}
		for _, m := range v.Members {
			object[m.Name] = plain(m.Value)
		}
		return object
	case BeginArray:
		array := make([]any, 0, len(v.Items))
		for _, item := range v.Items {
			array = append(array, plain(item))
		}
		return array
	case String:
		return v.Text
	case Number:
		return json.Number(v.Text)
	case True:
		return true
	case False:
		return false
	case Null:
		return nil
	}
	panic("unknown kind " + strconv.Itoa(int(v.Kind)))
}

// collector joins the pieces of tokens and holds them to their contract.
type collector struct {
	t      *testing.T
	whole  []Token
	begun  bool
	joined Token
}

func (c *collector) Token(t Token) bool {
	if !c.begun {
		c.joined = Token{Kind: t.Kind, Depth: t.Depth, Start: t.Start, End: t.Start}
	}
	require.Equal(c.t, c.joined.Kind, t.Kind, "a piece of another token in between")
	require.Equal(c.t, c.joined.Start, t.Start)
	require.Equal(c.t, c.joined.Depth, t.Depth)
	require.GreaterOrEqual(c.t, t.End, c.joined.End, "the token shrinks")
	c.joined.Text = append(c.joined.Text, t.Text...)
	c.joined.End, c.joined.Last, c.begun = t.End, t.Last, !t.Last
	if t.Last {
		c.whole = append(c.whole, c.joined)
	}
	return true
}

// scan pushes data in chunks that end at the offsets cuts and at its end.
func scan(t *testing.T, data []byte, cuts ...int) ([]Token, error) {
	var s Scanner
	c := collector{t: t}
	from := 0
	for _, cut := range append(cuts, len(data)) {
		// A chunk of its own, overwritten once used: tokens must not keep it.
		chunk := bytes.Clone(data[from:cut])
		err := s.Push(chunk, &c)
		for i := range chunk {
			chunk[i] = '!'
		}
		if err != nil {
			require.ErrorIs(t, s.Close(&c), ErrSyntax, "after an error the scanner stays broken")
			return c.whole, err
		}
		require.Equal(t, int64(cut), s.Offset())
		from = cut
	}
	return c.whole, s.Close(&c)
}

// check holds one text to the oracle: valid or not, tree, offsets, any chunks.
func check(t *testing.T, data []byte, cuts []int) {
	want, valid := oracle(data)
	tokens, err := scan(t, data)
	switch {
	case err == ErrDepth:
		require.Greater(t, bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")), MaxDepth)
	case valid:
		require.NoError(t, err, "%q", data)
	default:
		require.Contains(t, []error{ErrSyntax, ErrEnd}, err, "%q", data)
	}
	tree, treeErr := Parse(data)
	require.Equal(t, err, treeErr, "%q", data)
	if err == nil {
		require.Equal(t, want, plain(tree), "%q", data)
	}
	for _, token := range tokens {
		checkRaw(t, token, data[token.Start:token.End])
	}
	chunked, chunkedErr := scan(t, data, cuts...)
	require.Equal(t, err, chunkedErr, "%q cut at %v", data, cuts)
	require.Equal(t, tokens, chunked, "%q cut at %v", data, cuts)
}

// checkRaw holds a token's byte range to its text.
func checkRaw(t *testing.T, token Token, raw []byte) {
	switch token.Kind {
	case Key, String:
		var text string
		require.NoError(t, json.Unmarshal(raw, &text), "%q", raw)
		require.Equal(t, text, string([]rune(string(token.Text))), "%q", raw)
	case Number:
		require.Equal(t, string(token.Text), string(raw))
	default:
		want := map[Kind]string{BeginObject: "{", EndObject: "}", BeginArray: "[", EndArray: "]", True: "true", False: "false", Null: "null"}
		require.Equal(t, want[token.Kind], string(raw))
		require.Empty(t, token.Text)
	}
}

// seeds are texts at the edges of the grammar.
var seeds = []string{
	``, ` `, `null`, `true`, `false`, `tru`, `truex`, `nul `, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5`, `1e`, `1e+`, `1E-07`,
	`1e5.`, `-1.25e+10 `, `1 2`, `+1`, `0x10`, `NaN`, `""`, `"a`, `"\`, `"\x"`, `"\u12`, `"\u12g4"`, `"\u00E9\uabCD"`, `"é"`, `"\ud83d\ude00"`,
	`"\ud83d"`, `"\ud83dx"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\n"`, `"\ud83d😀"`, `"\udbff\udfff"`, `"\udbff\udc00"`, `"\ud800\udbff"`, `"\udc00"`, `"\ud7ff\ue000"`, `"\/\b\f\n\r\t\"\\"`,
	"\"\t\"", "\"\x7f\"", "\"\xff\"", "\"\xe2\x82\"", "\"\xed\xa0\x80\"", `[]`, `[`, `]`, `[,]`, `[1,]`, `[1 2]`, `[1}`, `{}`, `{`, `}`,
	`{]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1,"a":{"b":[]}}`, `{1:2}`, `[[[[]]]]`, `[{},[],"",0,null]`,
	"\ufeff{}", `{"service":"model:acme/flux","percentage":12.5,"targets":{"stable":{}}}`, " \t\r\n[ \t\r\n] \t\r\n", "\v1", `// 1`,
}

func TestSeeds(t *testing.T) {
	for _, text := range seeds {
		for cut := range len(text) + 1 {
			check(t, []byte(text), []int{cut})
		}
		every := make([]int, len(text))
		for i := range every {
			every[i] = i
		}
		check(t, []byte(text), every)
	}
}

// TestRandom: 20,000 random values, whole or damaged, in random chunks.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 20_000 {
		data := appendRandom(nil, r, 4)
		if r.IntN(2) == 0 {
			data = damage(data, r)
		}
		if json.Valid(data) {
			valid++
		}
		check(t, data, randomCuts(len(data), r))
	}
	require.Greater(t, valid, 10_000)
	require.Less(t, valid, 19_000)
}

func randomCuts(n int, r *rand.Rand) []int {
	var cuts []int
	for at := 0; at <= n; at += 1 + r.IntN(1+r.IntN(8)) {
		cuts = append(cuts, at)
	}
	return cuts
}

// appendRandom appends a random JSON value, with white space.
func appendRandom(dst []byte, r *rand.Rand, depth int) []byte {
	space := func() { dst = append(dst, " \t\n\r"[:r.IntN(5)*r.IntN(2)]...) }
	space()
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch r.IntN(kinds) {
	case 0:
		dst = append(dst, []string{"true", "false", "null"}[r.IntN(3)]...)
	case 1:
		dst = append(dst, []string{"0", "-0", "12", "-3.25", "1e9", "6.02E+23", "5e-324"}[r.IntN(7)]...)
	case 2, 3, 4:
		dst = appendRandomString(dst, r)
	case 5:
		dst = append(dst, '[')
		for i := range r.IntN(4) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendRandom(dst, r, depth-1)
		}
		dst = append(dst, ']')
	case 6:
		dst = append(dst, '{')
		for i := range r.IntN(4) {
			if i > 0 {
				dst = append(dst, ',')
			}
			space()
			dst = appendRandomString(dst, r)
			space()
			dst = append(dst, ':')
			dst = appendRandom(dst, r, depth-1)
		}
		dst = append(dst, '}')
	}
	space()
	return dst
}

func appendRandomString(dst []byte, r *rand.Rand) []byte {
	parts := []string{"a", "id", "é", "😀", "\xff", "\xe2\x82", `\n`, `\"`, `\\`, `\/`, `\u0041`, `\uFfFd`, `\u2028`, `\ud83d`, `\ude00`, `\ud83d\ude00`, `\ud800`, `\udbff`, `\udc00`, `\udfff`, `\u0000`}
	dst = append(dst, '"')
	for range r.IntN(5) {
		dst = append(dst, parts[r.IntN(len(parts))]...)
	}
	return append(dst, '"')
}

// damage changes, removes, doubles or cuts off a few bytes.
func damage(data []byte, r *rand.Rand) []byte {
	const alphabet = "{}[]\",:\\u0123456789.eE+-tfnal \x00\x1f\xff"
	for range 1 + r.IntN(2) {
		if len(data) == 0 {
			return data
		}
		at := r.IntN(len(data))
		switch r.IntN(4) {
		case 0:
			data[at] = alphabet[r.IntN(len(alphabet))]
		case 1:
			data = append(data[:at:at], data[at+1:]...)
		case 2:
			data = append(data[:at+1:at+1], data[at:]...)
		case 3:
			data = data[:at]
		}
	}
	return data
}

// TestDepth: 512 containers may be open at once, one more is refused.
func TestDepth(t *testing.T) {
	for name, pair := range map[string][2]string{"arrays": {"[", "]"}, "objects": {`{"a":`, "}"}, "both": {`[{"a":`, "}]"}} {
		t.Run(name, func(t *testing.T) {
			n := MaxDepth / len(pair[1])
			nested := func(n int) []byte {
				return []byte(strings.Repeat(pair[0], n) + "0" + strings.Repeat(pair[1], n))
			}
			check(t, nested(n), []int{1, 7, n})
			_, err := Parse(nested(n))
			require.NoError(t, err)
			_, err = Parse(nested(n + 1))
			require.Equal(t, ErrDepth, err)
		})
	}
	// Depth is what is open at once, not what was ever opened.
	_, err := Parse([]byte("[" + strings.Repeat("[],", 2*MaxDepth) + "[]]"))
	require.NoError(t, err)
}

// TestDepthOfTokens: brackets stand at the depth of their value.
func TestDepthOfTokens(t *testing.T) {
	tokens, err := scan(t, []byte(`{"a":[1,{"b":null}],"c":"d"}`))
	require.NoError(t, err)
	var depths []int
	for _, token := range tokens {
		depths = append(depths, token.Depth)
	}
	//                     {  a  [  1  {  b  n  }  ]  c  d  }
	require.Equal(t, []int{0, 1, 1, 2, 2, 3, 3, 2, 1, 1, 1, 0}, depths)
}

// TestGet: of a name that is there twice the last counts, as for encoding/json.
func TestGet(t *testing.T) {
	tree, err := Parse([]byte(`{"a":1,"b":2,"a":3}`))
	require.NoError(t, err)
	a := tree.Get("a")
	require.Equal(t, &Value{Kind: Number, Text: "3"}, a)
	require.Nil(t, tree.Get("c"))
	require.Nil(t, a.Get("a"))
}

type stopAfter int

func (s *stopAfter) Token(Token) bool {
	*s--
	return *s >= 0
}

// TestStop: a sink can end the scan at any token, and the scanner can be reset.
func TestStop(t *testing.T) {
	text := []byte(`{"a":[1,true,"x\n"]}`)
	var s Scanner
	for n := 0; ; n++ {
		s.Reset()
		sink := stopAfter(n)
		if err := s.Push(text, &sink); err == nil {
			require.True(t, s.Done())
			require.Greater(t, n, 10)
			return
		} else {
			require.Equal(t, ErrStopped, err)
			require.Equal(t, ErrSyntax, s.Push([]byte(" "), &sink))
			require.False(t, s.Done())
		}
	}
}

// TestDone: a top-level number may go on, everything else ends by itself.
func TestDone(t *testing.T) {
	for text, done := range map[string]bool{"12": false, "12 ": true, "{}": true, `"x"`: true, "[1": false, "": false, "true": true} {
		var s Scanner
		require.NoError(t, s.Push([]byte(text), &collector{t: t}))
		require.Equal(t, done, s.Done(), "%q", text)
	}
}

// TestAppendString: any text is written as JSON that both readers read back,
// invalid UTF-8 replaced.
func TestAppendString(t *testing.T) {
	for _, text := range []string{"", "plain", "\"\\/\b\f\n\r\t", "\x00\x1f\x7f", "é😀\u2028\u2029", "<&>", "\xff", "a\xe2\x82", "\xed\xa0\x80b"} {
		checkString(t, text)
	}
	require.Equal(t, `x"a\"\\\n\u0001"`, string(AppendString([]byte("x"), "a\"\\\n\x01")))
}

func checkString(t *testing.T, text string) {
	written := AppendString(nil, text)
	require.True(t, utf8.Valid(written))
	var read string
	require.NoError(t, json.Unmarshal(written, &read), "%q", text)
	require.Equal(t, string([]rune(text)), read)
	tree, err := Parse(written)
	require.NoError(t, err)
	require.Equal(t, Value{Kind: String, Text: read}, tree)
}

// TestMemory: whatever passes, a scanner needs no memory of its own.
func TestMemory(t *testing.T) {
	data := append(bytes.Repeat([]byte(`{"a":[1.5,"x\n😀",true]},`), 1000), '0')
	data = append(append([]byte{'['}, data...), ']')
	var s Scanner
	sink := stopAfter(1 << 30)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		s.Reset()
		if s.Push(data, &sink) != nil || s.Close(&sink) != nil {
			t.Fatal("not read")
		}
	}))
}

func FuzzParse(f *testing.F) {
	for _, text := range seeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data, nil)
		checkString(t, string(data))
	})
}

func FuzzScanner(f *testing.F) {
	for i, text := range seeds {
		f.Add([]byte(text), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		check(t, data, randomCuts(len(data), rand.New(rand.NewPCG(seed, 0))))
	})
}
