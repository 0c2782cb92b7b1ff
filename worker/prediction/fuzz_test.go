package prediction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"perch/shared/jsonstream"
	"perch/worker/wasmtest/scenario"
)

// member is a member of an object, its value as it is written.
type member struct {
	name  string
	value json.RawMessage
}

// decode returns the top-level members of a body in their order, by
// encoding/json; ok is false where the body is no single JSON object.
func decode(body []byte) (members []member, ok bool) {
	if !json.Valid(body) || depth(body) > jsonstream.MaxDepth {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var m member
		m.name = name.(string)
		if d.Decode(&m.value) != nil {
			return nil, false
		}
		members = append(members, m)
	}
	return members, true
}

// depth returns how deep valid JSON is nested.
func depth(body []byte) int {
	d := json.NewDecoder(bytes.NewReader(body))
	now, most := 0, 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			return most
		}
		if err != nil {
			return 0
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
		case json.Delim('}'), json.Delim(']'):
			now--
		}
		most = max(most, now)
	}
}

// wantFound is what a Finder must say of a whole body; ok is false where the
// oracle cannot tell, as the body breaks or ends somewhere.
func wantFound(body []byte) (want string, ok bool) {
	members, ok := decode(body)
	if !ok {
		return "absent", json.Valid(body) && depth(body) <= jsonstream.MaxDepth
	}
	for _, m := range members {
		if m.name != versionKey {
			continue
		}
		var value any
		if json.Unmarshal(m.value, &value) != nil {
			return "", false
		}
		text, isText := value.(string)
		if !isText || longerThan(m.value, text) {
			return "absent", true
		}
		return string(bytes.TrimSpace([]byte("found " + text))), true
	}
	return "absent", true
}

// longerThan reports whether a version is too long to be one. Invalid UTF-8
// counts as it stands in the body, not as the replacement of it.
func longerThan(raw json.RawMessage, text string) bool {
	if utf8.Valid(raw) {
		return len(text) > MaxVersionBytes
	}
	return len(raw) > MaxVersionBytes
}

func addBodies(f *testing.F) {
	for _, file := range []string{"find.txt", "edit.txt"} {
		for _, c := range scenario.Read(f, filepath.Join("testdata", file), "body", "version") {
			f.Add([]byte(c.Get("body")), c.Get("version"), uint64(1))
		}
	}
}

func FuzzFinder(f *testing.F) {
	addBodies(f)
	f.Fuzz(func(t *testing.T, body []byte, _ string, seed uint64) {
		checkFinder(t, body, rand.New(rand.NewPCG(seed, 0)))
	})
}

func FuzzEditor(f *testing.F) {
	addBodies(f)
	f.Fuzz(func(t *testing.T, body []byte, version string, seed uint64) {
		checkEditor(t, body, version, rand.New(rand.NewPCG(seed, 0)))
	})
}

func checkFinder(t testing.TB, body []byte, random *rand.Rand) {
	whole := find(pieces(string(body), len(body)+1))
	require.Equal(t, whole, find(cuts(random, string(body))), "%q in chunks", body)
	if want, ok := wantFound(body); ok && utf8.Valid(body) {
		require.Equal(t, want, whole, "%q", body)
	}
}

// checkEditor: the edited body has the members of the body, written as they
// were, without its versions and with the one that is to be set; chunks make no
// difference; and what is no JSON does not become any.
func checkEditor(t testing.TB, body []byte, version string, random *rand.Rand) {
	whole := edit(version, pieces(string(body), len(body)+1))
	cut := edit(version, cuts(random, string(body)))
	if !json.Valid(body) {
		// Where it breaks is seen sooner or later, by a comma, in other chunks.
		require.Equal(t, uncomma(whole), uncomma(cut), "%q in chunks", body)
		require.False(t, json.Valid([]byte(whole)), "%q has become %q", body, whole)
		require.False(t, json.Valid([]byte(cut)), "%q has become %q", body, cut)
		return
	}
	require.Equal(t, squeeze(whole), squeeze(cut), "%q in chunks", body)
	members, ok := decode(body)
	if !ok {
		if depth(body) <= jsonstream.MaxDepth {
			require.Equal(t, string(body), whole)
		}
		return
	}
	var want []member
	if version != "" {
		want = append(want, member{versionKey, normal(t, encoded(t, version))})
	}
	for _, m := range members {
		if m.name != versionKey {
			want = append(want, m)
		}
	}
	got, ok := decode([]byte(whole))
	require.True(t, ok, "%q has become %q", body, whole)
	if version != "" {
		got[0].value = normal(t, got[0].value)
	}
	require.Equal(t, want, got, "%q has become %q", body, whole)
}

func uncomma(text string) string { return strings.ReplaceAll(squeeze(text), ",", "") }

// encoded is a string as encoding/json writes it.
func encoded(t testing.TB, text string) json.RawMessage {
	value, err := json.Marshal(text)
	require.NoError(t, err)
	return value
}

func normal(t testing.TB, value json.RawMessage) json.RawMessage {
	var text string
	require.NoError(t, json.Unmarshal(value, &text))
	return encoded(t, text)
}

// randomBody is a prediction's body, and at times not quite one.
func randomBody(random *rand.Rand) []byte {
	values := []string{`"x\"y\\"`, `"\ud83d\ude00 é"`, `1.5e3`, `-0`, `null`, `true`, `{"version":"inner","a":{}}`, `[1,"2",{"version":[]}]`, `""`, `"acme/flux:1"`}
	keys := []string{`input`, `version`, `\u0076ersion`, `versions`, `versio`, ``, `webhook`, `v`, `ver\u0073ion`, `vers ion`}
	space := func() string { return []string{"", "", "", " ", "\n\t", "  "}[random.IntN(6)] }
	var b bytes.Buffer
	b.WriteString(space() + "{")
	for i := range random.IntN(6) {
		if i > 0 {
			b.WriteString(space() + ",")
		}
		fmt.Fprintf(&b, `%s"%s"%s:%s%s`, space(), keys[random.IntN(len(keys))], space(), space(), values[random.IntN(len(values))])
	}
	b.WriteString(space() + "}" + space())
	body := b.Bytes()
	if random.IntN(4) == 0 { // a byte changed, lost or doubled
		i := random.IntN(len(body))
		switch random.IntN(3) {
		case 0:
			body[i] = "{}[]\",:\\ 1e\x00"[random.IntN(12)]
		case 1:
			body = append(body[:i:i], body[i+1:]...)
		case 2:
			body = append(body[:i+1:i+1], body[i:]...)
		}
	}
	return body
}

// TestAgainstEncodingJSON holds both to the oracle on random bodies.
func TestAgainstEncodingJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	malformed, found := 0, 0
	for range 50_000 {
		body := randomBody(random)
		checkFinder(t, body, random)
		checkEditor(t, body, []string{"", "acme/flux:1"}[random.IntN(2)], random)
		if !json.Valid(body) {
			malformed++
		}
		if want, _ := wantFound(body); want != "absent" {
			found++
		}
	}
	require.Greater(t, malformed, 2_000)
	require.Greater(t, found, 2_000)
}
