package histogram

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/pack"
)

func of(first int, counts ...float64) Histogram { return Histogram{first, counts} }

// TestBucket: a time lies between the ends of its bucket.
func TestBucket(t *testing.T) {
	for ms := 1.0; ms < 8e7; ms *= 1.0137 {
		bucket := Bucket(ms)
		require.GreaterOrEqual(t, ms*(1+1e-12), Edge(bucket))
		require.Less(t, ms*(1-1e-12), Edge(bucket+1))
	}
	for _, ms := range []float64{math.NaN(), -1, 0, 0.5, 1} {
		require.Equal(t, 0, Bucket(ms))
	}
	require.Equal(t, Buckets-1, Bucket(math.Inf(1)))
	require.InDelta(t, 23.3*3600e3, Edge(Buckets), 3600e3)
}

// TestMargins: 1.2 is two buckets whichever way, and what is not whole is never looser
// than it says.
func TestMargins(t *testing.T) {
	tests := []struct {
		name            string
		ratio           float64
		wider, narrower int
	}{
		{"nothing", 1, 0, 0},
		{"the promote limit", 1.2, 2, 2},
		{"the rollback limit", 1.5, 5, 4},
		{"four buckets", 1.44, 4, 4},
		{"double", 2, 8, 7},
		{"less", 1 / 1.2, -2, -2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.wider, Wider(test.ratio))
			require.Equal(t, test.narrower, Narrower(test.ratio))
		})
	}
	require.Equal(t, Bucket(200)+1, Wider(200))
	require.Equal(t, Bucket(200), Narrower(200))
}

func TestQuantile(t *testing.T) {
	h := of(10, 1, 0, 2, 1)
	require.InDelta(t, Edge(10), h.Quantile(0), 1e-9)
	require.InDelta(t, Edge(11), h.Quantile(0.25), 1e-9)
	require.InDelta(t, math.Sqrt(Edge(12)*Edge(13)), h.Quantile(0.5), 1e-9, "geometric within the bucket")
	require.InDelta(t, Edge(14), h.Quantile(1), 1e-9)
	require.Zero(t, Histogram{}.Quantile(0.5))
	require.Zero(t, of(5, 0, 0).Quantile(0.5))
	holding, ok := h.Holding(0.5)
	require.True(t, ok)
	require.Equal(t, 12, holding)
	require.LessOrEqual(t, h.Exceedance(13), 0.5)
	require.GreaterOrEqual(t, h.Exceedance(12), 0.5)
}

// TestQuantileScales: weights do not move a quantile to another bucket, though sums of
// fractions round.
func TestQuantileScales(t *testing.T) {
	h := of(0, 3, 4, 3, 7, 3)
	for _, q := range []float64{0.05, 0.15, 0.35, 0.5, 0.85, 0.95} {
		for factor := 0.1; factor < 1000; factor *= 1.7 {
			scaled, _ := h.Scale(factor).Holding(q)
			plain, _ := h.Holding(q)
			require.Equal(t, plain, scaled)
		}
	}
}

func TestExceedance(t *testing.T) {
	h := of(10, 1, 0, 2, 1)
	require.Equal(t, 1.0, h.Exceedance(-5))
	require.Equal(t, 1.0, h.Exceedance(10))
	require.Equal(t, 0.75, h.Exceedance(11))
	require.Equal(t, 0.25, h.Exceedance(13))
	require.Zero(t, h.Exceedance(14))
	require.Zero(t, Histogram{}.Exceedance(0))
}

// TestSums: adding is bucket by bucket, whatever the ranges, and taking away undoes it.
func TestSums(t *testing.T) {
	a, b := of(3, 1, 2), of(1, 5, 0, 7, 1, 1)
	sum := a.Add(b)
	require.Equal(t, of(1, 5, 0, 8, 3, 1), sum)
	require.Equal(t, of(3, 1, 2), a, "as it was")
	require.Equal(t, of(1, 0, 0, 1, 2, 0), sum.Sub(b))
	require.Equal(t, a, a.Add(Histogram{}))
	require.Equal(t, a, Histogram{}.Add(a))
	require.Equal(t, of(3, 0.5, 1), a.Scale(0.5))
	var s Sum
	require.Zero(t, s.View().Total())
	s.Add(a, 1)
	s.Add(b, 2)
	require.Equal(t, a.Add(b.Scale(2)), s.View())
	s.Reset()
	require.Zero(t, s.View().Total())
	s.Add(of(-3, 1, 1), 1)
	s.Add(of(Buckets-1, 1, 1), 1)
	require.Equal(t, 4.0, s.View().Total(), "what is out of range counts in the nearest bucket")
}

// TestText: any weights come back exactly.
func TestText(t *testing.T) {
	for _, h := range []Histogram{{}, of(0, 1), of(199, 0.1), of(7, 0, 1e12, 1.0/3, 2, 1e300, 63, 64)} {
		text, err := h.MarshalText()
		require.NoError(t, err)
		var read Histogram
		require.NoError(t, read.UnmarshalText(text))
		require.Equal(t, h, read)
	}
	var h Histogram
	require.Error(t, h.UnmarshalText([]byte("!")))
	require.ErrorIs(t, h.UnmarshalText([]byte("CA==")), pack.ErrDamaged)
}
