package prediction

import (
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/worker/wasmtest/scenario"
)

func TestFinder(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "find.txt"), "body") {
		t.Run(c.Intent, func(t *testing.T) {
			body := c.Get("body")
			for size := 1; size <= len(body)+1; size++ {
				require.Equal(t, c.Want, find(pieces(body, size)), "%s in chunks of %d", c.Where, size)
			}
		})
	}
}

// TestFinderEarly: a version is known before its body has ended, and what
// follows may still prove the body unfit.
func TestFinderEarly(t *testing.T) {
	var f Finder
	require.Equal(t, Searching, f.Push([]byte(`{"vers`)))
	require.Equal(t, Searching, f.Push([]byte(`ion":"a/`)))
	require.Equal(t, Found, f.Push([]byte(`b","input":`)))
	require.Equal(t, "a/b", f.Version())
	require.Equal(t, Found, f.Push([]byte(`{},`)))
	require.Equal(t, Duplicate, f.Push([]byte(`"version":"c"}`)))
	require.Equal(t, Duplicate, f.Push([]byte(`}`)))
	require.Equal(t, Duplicate, f.Close())
}

func TestEditor(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "edit.txt"), "body", "version") {
		t.Run(c.Intent, func(t *testing.T) {
			body, change := c.Get("body"), Change{Version: c.Get("version"), Remove: true}
			require.Equal(t, c.Want, edit(t, change, pieces(body, len(body)+1)).text(), c.Where)
			for size := 1; size <= len(body); size++ {
				got := edit(t, change, pieces(body, size)).text()
				require.Equal(t, squeeze(c.Want), squeeze(got), "%s in chunks of %d", c.Where, size)
			}
		})
	}
}

// TestWebhook: the webhook leaves the body. The case shows the slot where it
// stands: <7 …> for SlotTail, <8 …> for SlotKept.
func TestWebhook(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "webhook.txt"), "body", "version", "pad") {
		t.Run(c.Intent, func(t *testing.T) {
			n, _ := strconv.Atoi(c.Get("pad"))
			pad := strings.NewReplacer("PAD", strings.Repeat("x", n))
			body, want := pad.Replace(c.Get("body")), pad.Replace(c.Want)
			change := Change{Version: c.Get("version"), Webhook: true}
			require.Equal(t, want, edit(t, change, pieces(body, len(body)+1)).text(), c.Where)
			for size := 1; size <= len(body); size += 1 + size/50 {
				got := edit(t, change, pieces(body, size)).text()
				require.Equal(t, squeeze(want), squeeze(got), "%s in chunks of %d", c.Where, size)
			}
		})
	}
}

// TestEditorHoldsLittle: white space between members, and members that go, are
// not kept in memory, however much there is.
func TestEditorHoldsLittle(t *testing.T) {
	space := []byte(strings.Repeat(" \n", 4<<10))
	value := []byte(strings.Repeat("x", 8<<10))
	e := NewEditor(Change{Version: "v", Webhook: true})
	silent := func(chunk []byte) {
		t.Helper()
		for range 100 {
			require.Empty(t, e.Push(chunk))
		}
	}
	e.Push([]byte(`{"a":1,`))
	silent(space)
	e.Push([]byte(`"version":"`))
	silent(value)
	e.Push([]byte(`"`))
	silent(space)
	e.Push([]byte(`,"webhook":`))
	for range 100 {
		e.Push(space)
	}
	e.Push([]byte(`"`))
	for range 100 {
		e.Push(value)
	}
	r := reader{t: t, fill: marked}
	r.take(e.Push([]byte(`"}`)), []byte(`"}`))
	require.Equal(t, `"<8 ,{}>}`, string(r.out))
	require.Less(t, cap(e.held)+cap(e.frames.out), MaxWebhookBytes+2*len(space))
}

// find returns what a Finder says of a body, as testdata/find.txt writes it.
func find(chunks [][]byte) string {
	var f Finder
	for _, chunk := range chunks {
		f.Push(chunk)
	}
	status := f.Close()
	if status == Found {
		return strings.TrimSpace("found " + f.Version())
	}
	return []string{"searching", "found", "absent", "duplicate", "malformed"}[status]
}

// edited is what an Editor made of a body.
type edited struct {
	reader
	end Status
}

func (e *edited) text() string { return string(e.out) }

func edit(t testing.TB, change Change, chunks [][]byte) *edited {
	editor := NewEditor(change)
	e := &edited{reader: reader{t: t, fill: marked}}
	for _, chunk := range chunks {
		e.take(editor.Push(chunk), chunk)
	}
	e.end = editor.End()
	e.take(editor.Close(), nil)
	return e
}

// pieces cuts a body into chunks of a size; each is its own memory, so that
// whoever keeps one is found out.
func pieces(body string, size int) [][]byte {
	var chunks [][]byte
	for len(body) > size {
		chunks = append(chunks, []byte(body[:size]))
		body = body[size:]
	}
	return append(chunks, []byte(body))
}

// cuts cuts a body at random, with empty chunks too.
func cuts(random *rand.Rand, body string) [][]byte {
	var chunks [][]byte
	for body != "" {
		n := min(random.IntN(9), len(body))
		chunks = append(chunks, []byte(body[:n]))
		body = body[n:]
	}
	return chunks
}

// squeeze takes white space out: what stands between members may be lost where
// a chunk ends there.
func squeeze(text string) string { return strings.Join(strings.Fields(text), "") }
