package bucket

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVectors: bucket and fingerprint, computed by xxhash-wasm 1.1.0. A change
// here moves every user of every running rollout.
func TestVectors(t *testing.T) {
	tests := []struct {
		salt, user  string
		bucket      int
		fingerprint uint64
	}{
		{"2026-11-20-a", "user-1", 4559, 0x86f0014e3c14121b},
		{"2026-11-20-a", "user-2", 4602, 0x3bb8966c841a4967},
		{"2026-11-20-b", "user-1", 9258, 0x68b9fb4ea1d13ae6},
		{"2026-11-20-a", "", 8440, 0x338068b7ea1d0f60},
		{"s", "é😀", 6343, 0xa4a38dfb472802b7},
		{"2026-11-20-a", "3f2c9b1e-8a77-4c1d-9c55-0d1b2a3c4d5e", 3083, 0xecc154bb0d2b2eab},
	}
	for _, test := range tests {
		require.Equal(t, test.bucket, Of(test.salt, test.user), "%q %q", test.salt, test.user)
		require.Equal(t, test.fingerprint, Fingerprint(test.salt, test.user), "%q %q", test.salt, test.user)
	}
	require.NotEqual(t, Of("ab", "c"), Of("a", "bc"), "salt and user run together")
}

const users = 100_000

// shapes are the ways in which user ids look alike.
var shapes = map[string]func(i int) string{
	"numbers":   strconv.Itoa,
	"prefixed":  func(i int) string { return "user-" + strconv.Itoa(i) },
	"addresses": func(i int) string { return fmt.Sprintf("u%d@example.com", i) },
	"ids":       func(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) },
}

// uniform holds counts to equal expectation by Pearson's chi-square. With more
// than 30 degrees of freedom it is nearly normal: mean df, variance 2·df. The
// ids are fixed, so this fails always or never; 4.5 deviations happen to one good
// hash in 300,000.
func uniform(t *testing.T, counts []int, what string) {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected := float64(total) / float64(len(counts))
	chi := 0.0
	for _, n := range counts {
		chi += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	df := float64(len(counts) - 1)
	require.Less(t, math.Abs(chi-df)/math.Sqrt(2*df), 4.5, "%s: chi-square %.0f with %.0f degrees of freedom", what, chi, df)
}

// TestUniform: every bucket gets its share of users, whatever their ids look like.
func TestUniform(t *testing.T) {
	for shape, id := range shapes {
		counts := make([]int, Count)
		for i := range users {
			counts[Of("2026-11-20-a", id(i))]++
		}
		uniform(t, counts, shape)
	}
}

// TestIndependent: which bucket a user has says nothing of the next rollout's,
// nor of the fingerprint. Pairs of tenths must be uniform over 100 cells.
func TestIndependent(t *testing.T) {
	for shape, id := range shapes {
		salts, prints := make([]int, 100), make([]int, 100)
		for i := range users {
			tenth := Of("2026-11-20-a", id(i)) / (Count / 10)
			salts[10*tenth+Of("2026-11-20-b", id(i))/(Count/10)]++
			prints[10*tenth+int(Fingerprint("2026-11-20-a", id(i))%Count)/(Count/10)]++
		}
		uniform(t, salts, shape+" under two salts")
		uniform(t, prints, shape+" and fingerprints")
	}
}

// TestRising: while the percentage rises, each step's canary users are those of
// the step before and more, and their share is the percentage.
func TestRising(t *testing.T) {
	canary := map[int]bool{}
	for _, basisPoints := range []int{0, 1, 25, 500, 2000, 5000, 10000} {
		now := map[int]bool{}
		for i := range users {
			if Of("salt", shapes["prefixed"](i)) < basisPoints {
				now[i] = true
			}
		}
		for i := range canary {
			require.True(t, now[i], "user %d fell back at %d", i, basisPoints)
		}
		p := float64(basisPoints) / Count
		require.InDelta(t, users*p, len(now), 4.5*math.Sqrt(users*p*(1-p)), "share at %d basis points", basisPoints)
		canary = now
	}
}

// TestFingerprintsDiffer: 100,000 users are counted as 100,000.
func TestFingerprintsDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for i := range users {
		seen[Fingerprint("salt", shapes["prefixed"](i))] = true
	}
	require.Len(t, seen, users)
}

func TestAllocations(t *testing.T) {
	user := strings.Repeat("u", 200)
	require.Zero(t, testing.AllocsPerRun(100, func() { Of("2026-11-20-a", user) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { Fingerprint("2026-11-20-a", user) }))
}

func BenchmarkOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Of("2026-11-20-a", "3f2c9b1e-8a77-4c1d-9c55-0d1b2a3c4d5e")
	}
}
