package pack

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRoundTrip: each number comes back as it was, to the last bit.
func TestRoundTrip(t *testing.T) {
	floats := []float64{0, math.Copysign(0, -1), 1, 63, 64, 0.1, 1e12, 1e15, 1 << 53, 1<<53 + 2, 1e300, -1, -0.5, math.Inf(-1), math.SmallestNonzeroFloat64}
	ints := []int64{0, 1, -1, math.MaxInt64, math.MinInt64}
	var text []byte
	for _, x := range floats {
		text = Short(Bits(Float(text, x), x), float32(x))
	}
	for _, n := range ints {
		text = Int(text, n)
	}
	r := NewReader(text)
	for _, x := range floats {
		require.Equal(t, math.Float64bits(x), math.Float64bits(r.Float()))
		require.Equal(t, math.Float64bits(x), math.Float64bits(r.Bits()))
		require.Equal(t, float32(x), r.Short())
	}
	for _, n := range ints {
		require.Equal(t, n, r.Int())
	}
	require.NoError(t, r.Done())
}

// TestSmall: counts take a byte or two.
func TestSmall(t *testing.T) {
	require.Len(t, Float(nil, 63), 1)
	require.Len(t, Float(nil, 8191), 2)
	require.Len(t, Float(nil, 0.5), 9)
}

// TestDamaged: what is cut off anywhere is found to be, and reads as 0.
func TestDamaged(t *testing.T) {
	text := Int(Float(Bits(Short(nil, 1), 2), 0.3), 1000)
	for cut := range len(text) {
		r := NewReader(text[:cut])
		r.Short()
		r.Bits()
		r.Float()
		require.Zero(t, r.Int())
		require.ErrorIs(t, r.Err(), ErrDamaged)
		require.ErrorIs(t, r.Done(), ErrDamaged)
	}
	require.ErrorIs(t, NewReader(text).Done(), ErrDamaged, "something is left over")
	r := NewReader(Int(nil, 1<<40))
	require.Zero(t, r.Len(1), "a length that cannot be")
	require.Error(t, r.Err())
}

// TestFloats: room that was given is given to nobody else.
func TestFloats(t *testing.T) {
	r := NewReader(nil)
	seen := map[*float64]bool{}
	for _, n := range []int{1, 500, 20, 2000, 3} {
		floats := r.Floats(n)
		require.Len(t, floats, n)
		for i := range floats {
			require.False(t, seen[&floats[i]])
			seen[&floats[i]] = true
		}
	}
}
