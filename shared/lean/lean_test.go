package lean

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
)

// TestHash: the hash is XXH64 with seed 0 as others implement it. The values
// are those of the npm package xxhash-wasm 1.1.0; 32 bytes and more take another
// way through the algorithm.
func TestHash(t *testing.T) {
	for text, want := range map[string]uint64{
		"":                           0xef46db3751d8e999,
		"a":                          0xd24ec4f1a98c6e5b,
		"abc":                        0x44bc2cf5ad770999,
		"message digest":             0x066ed728fceeb3be,
		"abcdefghijklmnopqrstuvwxyz": 0xcfe1f278fa89835c,
		"é😀":                         0x8eebad97f27c1856,
		strings.Repeat("x", 31):      0x60dd0d01083b99f0,
		strings.Repeat("x", 32):      0xe2df261fc2ec30eb,
		strings.Repeat("x", 33):      0xb3fa465f554208a6,
		strings.Repeat("x", 1000):    0x4cb9a3b69cb700e1,
	} {
		var h XXH64
		h.WriteString(text)
		require.Equal(t, want, h.Sum(), "%q", text)
	}
}

// TestHashInPieces: it is that of Go's best known implementation too, however
// the text is cut.
func TestHashInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		text := make([]byte, r.IntN(200))
		for i := range text {
			text[i] = byte(r.Uint32())
		}
		var h XXH64
		for rest := string(text); rest != ""; {
			n := r.IntN(len(rest) + 1)
			h.WriteString(rest[:n])
			rest = rest[n:]
		}
		require.Equal(t, xxhash.Sum64(text), h.Sum(), "%x", text)
	}
}

// TestAgainstStandard holds each function to the one that it stands for.
func TestAgainstStandard(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) string {
		s := make([]byte, r.IntN(n))
		for i := range s {
			s[i] = "ab:/é"[r.IntN(6)]
		}
		return string(s)
	}
	for range 20_000 {
		s, part, c := random(24), random(4), "ab:/c"[r.IntN(5)]
		require.Equal(t, strings.IndexByte(s, c), IndexByte(s, c))
		before, after, found := Cut(s, c)
		wantBefore, wantAfter, wantFound := strings.Cut(s, string(c))
		require.Equal(t, []any{wantBefore, wantAfter, wantFound}, []any{before, after, found}, "%q at %q", s, c)
		require.Equal(t, strings.HasPrefix(s, part), HasPrefix(s, part))
		rest, found := CutPrefix(s, part)
		wantRest, wantFound := strings.CutPrefix(s, part)
		require.Equal(t, []any{wantRest, wantFound}, []any{rest, found}, "%q from %q", part, s)
		rest, found = CutSuffix(s, part)
		wantRest, wantFound = strings.CutSuffix(s, part)
		require.Equal(t, []any{wantRest, wantFound}, []any{rest, found}, "%q off %q", part, s)
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for c := range every {
		for from := range every {
			s := string(every[from:])
			require.Equal(t, strings.IndexByte(s, byte(c)), IndexByte(s, byte(c)), "%d in %q", c, s)
		}
	}
	for _, n := range []int64{0, 1, -1, 9, 10, -10, 1795190400000, math.MaxInt64, math.MinInt64, r.Int64(), -r.Int64()} {
		require.Equal(t, strconv.FormatInt(n, 10), Int(n))
		require.Equal(t, "x"+strconv.FormatInt(n, 10), string(AppendInt([]byte("x"), n)))
		require.Equal(t, fmt.Sprintf("x%016x", uint64(n)), string(AppendHex([]byte("x"), uint64(n))))
	}
}
