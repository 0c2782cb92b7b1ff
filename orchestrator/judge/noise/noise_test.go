package noise

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/pack"
)

// estimate returns c of intervals with n requests at a rate that wobbles by a standard
// deviation of its logarithm.
func estimate(r *rand.Rand, n, rate, wobble float64) float64 {
	var ring Ring
	var before, variance float64
	for i := range 60 {
		mean := n * rate * math.Exp(wobble*r.NormFloat64())
		k := math.Max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64()))
		x, v := Rate(k, n)
		if i > 0 {
			ring = ring.Add(before, variance, x, v, 59)
		}
		before, variance = x, v
	}
	return ring.C()
}

// TestC: c is about the wobble, between its bounds, and not fooled by little traffic.
func TestC(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tests := []struct {
		name                             string
		n, rate, wobble, least, greatest float64
	}{
		{"steady", 100_000, 0.01, 0, Least, 0.12},
		{"by a third", 100_000, 0.01, 0.3, 0.2, 0.4},
		{"by half", 100_000, 0.01, 0.5, 0.35, 0.65},
		{"wild", 100_000, 0.01, 3, Most, Most},
		{"rare errors", 1000, 0.0001, 0, Least, Least},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sum := 0.0
			for range 50 {
				sum += estimate(r, test.n, test.rate, test.wobble)
			}
			require.GreaterOrEqual(t, sum/50, test.least-1e-9)
			require.LessOrEqual(t, sum/50, test.greatest+1e-9)
		})
	}
}

func TestRing(t *testing.T) {
	var ring Ring
	require.Equal(t, Default, ring.C())
	var rings []Ring
	for i := range 20 {
		rings = append(rings, ring)
		ring = ring.Add(0, 1, float64(i), 1, 12)
	}
	require.Equal(t, 12, ring.Len())
	for i, r := range rings {
		require.Equal(t, min(i, 12), r.Len(), "adding leaves a ring as it was")
	}
	reader := pack.NewReader(ring.Append(nil))
	read := Read(reader)
	require.NoError(t, reader.Done())
	require.Equal(t, ring.C(), read.C())
	require.Equal(t, ring.values, read.values)
}

// TestFinite: nothing and everything have a logarithm and a variance.
func TestFinite(t *testing.T) {
	for _, n := range []float64{0, 0.3, 1, 1e12} {
		for _, k := range []float64{0, n / 3, n} {
			for _, measure := range []func(k, n float64) (float64, float64){Rate, Odds} {
				log, variance := measure(k, n)
				require.False(t, math.IsNaN(log) || math.IsInf(log, 0))
				require.True(t, variance > 0 && !math.IsInf(variance, 0))
			}
		}
	}
}
