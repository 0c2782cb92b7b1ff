package prediction

import (
	"math/rand/v2"
	"path/filepath"
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

func TestEditor(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "edit.txt"), "body", "version") {
		t.Run(c.Intent, func(t *testing.T) {
			body, version := c.Get("body"), c.Get("version")
			require.Equal(t, c.Want, edit(version, pieces(body, len(body)+1)), c.Where)
			for size := 1; size <= len(body); size++ {
				got := edit(version, pieces(body, size))
				require.Equal(t, squeeze(c.Want), squeeze(got), "%s in chunks of %d", c.Where, size)
			}
		})
	}
}

// TestEditorHoldsLittle: white space between members, and members that go, are
// not kept in memory, however much there is.
func TestEditorHoldsLittle(t *testing.T) {
	space := []byte(strings.Repeat(" \n", 4<<10))
	value := []byte(strings.Repeat("x", 8<<10))
	e := NewEditor("v")
	e.Push([]byte(`{"a":1,`))
	for range 100 {
		require.Empty(t, e.Push(space))
	}
	e.Push([]byte(`"version":"`))
	for range 100 {
		require.Empty(t, e.Push(value))
	}
	e.Push([]byte(`"`))
	for range 100 {
		e.Push(space)
	}
	require.Equal(t, "}", string(e.Push([]byte(`}`))))
	require.Less(t, cap(e.gap)+cap(e.held)+cap(e.out), 1<<10)
}

// find returns what a Finder says of a body, as testdata/find.txt writes it.
func find(chunks [][]byte) string {
	var f Finder
	status := Searching
	for _, chunk := range chunks {
		status = f.Push(chunk)
	}
	switch status {
	case Found:
		return strings.TrimSpace("found " + f.Version())
	case Absent:
		return "absent"
	}
	return "searching"
}

func edit(version string, chunks [][]byte) string {
	e := NewEditor(version)
	var out []byte
	for _, chunk := range chunks {
		out = append(out, e.Push(chunk)...)
	}
	return string(append(out, e.Close()...))
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
