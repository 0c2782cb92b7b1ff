package prediction

import (
	"bytes"
	"cmp"
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
	name   string
	value  json.RawMessage
	behind int // bytes from the name's end to the value's
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
		m := member{name: name.(string), behind: -int(d.InputOffset())}
		if d.Decode(&m.value) != nil {
			return nil, false
		}
		m.behind += int(d.InputOffset())
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

// isObject reports whether the first thing in a body is the beginning of an object.
func isObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

// wantFound is what a Finder must say of a whole body; ok is false where the
// oracle cannot tell: a body that breaks may be unfit for another reason before.
func wantFound(body []byte) (want string, ok bool) {
	members, fine := decode(body)
	switch {
	case len(body) == 0:
		return "absent", true
	case !fine && !isObject(body):
		return "absent", json.Valid(body)
	case !fine:
		return "", false
	}
	seen := map[string]bool{}
	for _, m := range members {
		matters := m.name == versionKey || m.name == webhookKey || m.name == filterKey
		if matters && seen[m.name] {
			return "duplicate", true
		}
		seen[m.name] = true
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
		want = strings.TrimSpace("found " + text)
	}
	return cmp.Or(want, "absent"), true
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
	for _, file := range []string{"find.txt", "edit.txt", "webhook.txt"} {
		for _, c := range scenario.Read(f, filepath.Join("testdata", file), "body", "version", "pad") {
			for flags := range uint8(4) {
				f.Add([]byte(c.Get("body")), c.Get("version"), flags, uint64(1))
			}
		}
	}
}

func FuzzFinder(f *testing.F) {
	addBodies(f)
	f.Fuzz(func(t *testing.T, body []byte, _ string, _ uint8, seed uint64) {
		checkFinder(t, body, rand.New(rand.NewPCG(seed, 0)))
	})
}

func FuzzEditor(f *testing.F) {
	addBodies(f)
	f.Fuzz(func(t *testing.T, body []byte, version string, flags uint8, seed uint64) {
		change := Change{Version: version, Remove: flags&1 != 0, Webhook: flags&2 != 0}
		checkEditor(t, body, change, rand.New(rand.NewPCG(seed, 0)))
	})
}

func checkFinder(t testing.TB, body []byte, random *rand.Rand) {
	whole, cut := find(pieces(string(body), len(body)+1)), find(cuts(random, string(body)))
	if json.Valid(body) {
		require.Equal(t, whole, cut, "%q in chunks", body)
	}
	if want, ok := wantFound(body); ok && utf8.Valid(body) {
		require.Equal(t, want, whole, "%q", body)
	}
	if !json.Valid(body) {
		require.NotContains(t, whole+cut, "found", "%q", body)
	}
}

// checkEditor: the edited body has the members of the body, written as they
// were, without what is taken out and with what is to be set; chunks make no
// difference; and what is no JSON does not become any.
func checkEditor(t testing.TB, body []byte, change Change, random *rand.Rand) {
	wholeEdit, cutEdit := edit(t, change, pieces(string(body), len(body)+1)), edit(t, change, cuts(random, string(body)))
	require.Equal(t, wholeEdit.end, cutEdit.end, "%q in chunks", body)
	require.Equal(t, wholeEdit.slots, cutEdit.slots, "%q in chunks", body)
	whole, cut := wholeEdit.text(), cutEdit.text()
	if !json.Valid(body) {
		// Where it breaks is seen sooner or later, by a comma, in other chunks.
		require.Equal(t, uncomma(whole), uncomma(cut), "%q in chunks", body)
		for _, e := range []*edited{wholeEdit, cutEdit} {
			require.False(t, json.Valid(untailed(e)), "%q has become %q", body, e.out)
		}
		if isObject(body) {
			require.Equal(t, Malformed, wholeEdit.end, "%q", body)
		}
		return
	}
	require.Equal(t, squeeze(whole), squeeze(cut), "%q in chunks", body)
	members, ok := decode(body)
	if !ok {
		if depth(body) <= jsonstream.MaxDepth {
			require.Equal(t, string(body), whole)
			require.Equal(t, Searching, wholeEdit.end)
		} else if isObject(body) {
			require.Equal(t, Malformed, wholeEdit.end)
		}
		return
	}
	want := wantEdited(t, members, change)
	got, ok := decode(untailed(wholeEdit))
	require.True(t, ok, "%q has become %q", body, whole)
	for _, i := range want.set {
		require.Less(t, i, len(got), "%q has become %q", body, whole)
		got[i].value = normal(t, got[i].value)
	}
	require.Equal(t, want.members, plain(got), "%q has become %q", body, whole)
	require.Equal(t, want.slots, wholeEdit.slots, "%q", body)
	require.Equal(t, want.end, wholeEdit.end, "%q", body)
}

// untailed is an edited body without the mark of its slot.
func untailed(e *edited) []byte {
	out := string(e.out)
	for _, s := range e.slots {
		out = strings.Replace(out, marked(s), "", 1)
	}
	return []byte(out)
}

// plain leaves only names and values.
func plain(members []member) []member {
	var plain []member
	for _, m := range members {
		plain = append(plain, member{name: m.name, value: m.value})
	}
	return plain
}

type wanted struct {
	members []member
	set     []int // places among them of the version that was set
	slots   []filled
	end     Status
}

// wantEdited is what must become of the members of a body.
func wantEdited(t testing.TB, members []member, change Change) wanted {
	var w wanted
	slot, seen, taken := SlotTail, map[string]bool{}, map[string]string{}
	twice := false
	set := func() {
		if change.Version != "" {
			w.set = append(w.set, len(w.members))
			w.members = append(w.members, member{name: versionKey, value: normal(t, encoded(t, change.Version))})
		}
	}
	set()
	for _, m := range members {
		isHook := m.name == webhookKey || m.name == filterKey
		repeated := seen[m.name]
		seen[m.name] = true
		if repeated && (isHook || m.name == versionKey) {
			w.end = Duplicate
			twice = twice || m.name == versionKey
		}
		limit := map[string]int{webhookKey: MaxWebhookBytes, filterKey: MaxFilterBytes}[m.name]
		switch {
		case m.name == versionKey && !repeated && (change.Remove || change.Version != ""):
			continue
		case isHook && !repeated && change.Webhook && m.behind <= limit:
			taken[m.name] = string(m.value)
			continue
		case isHook:
			slot = SlotKept
		}
		w.members = append(w.members, member{name: m.name, value: m.value})
	}
	if twice {
		set()
	}
	if change.Webhook {
		var had []string
		for _, name := range []string{webhookKey, filterKey} {
			if value, found := taken[name]; found {
				had = append(had, `"`+name+`":`+value)
			}
		}
		comma := ""
		if len(w.members) > 0 {
			comma = ","
		}
		w.slots = []filled{{slot, comma + "{" + strings.Join(had, ",") + "}"}}
	}
	return w
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
	keys := []string{
		`input`, `version`, `version`, `\u0076ersion`, `versions`, `versio`, ``, `v`, `ver\u0073ion`, `vers ion`,
		`webhook`, `webhook`, `web\u0068ook`, `webhook_events_filter`, `webhook_events_filter`, `webhook_events_filters`, `webhook_`, `w`, `id`, `seed`,
	}
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
	for range 20_000 {
		body := randomBody(random)
		checkFinder(t, body, random)
		checkEditor(t, body, Change{Version: []string{"", "acme/flux:1"}[random.IntN(2)], Remove: random.IntN(2) == 0, Webhook: random.IntN(2) == 0}, random)
		if !json.Valid(body) {
			malformed++
		}
		if want, _ := wantFound(body); strings.HasPrefix(want, "found") {
			found++
		}
	}
	require.Greater(t, malformed, 1_000)
	require.Greater(t, found, 1_000)
}
