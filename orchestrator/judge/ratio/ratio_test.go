package ratio

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/pack"
)

// users adds minutes of users of whom a share goes to the canary, and reports whether
// the check ever called it a mismatch.
func users(r *rand.Rand, minutes, each int, share, expected float64) bool {
	var c Check
	found := false
	for range minutes {
		canary := 0.0
		for range each {
			if r.Float64() < share {
				canary++
			}
		}
		c = c.Add(canary, float64(each)-canary, expected)
		found = found || c.Mismatch()
	}
	return found
}

// TestMismatch: a healthy split is called a mismatch about never, another one soon.
func TestMismatch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	wrong := 0
	for range 2000 {
		if users(r, 60, 20, 0.05, 0.05) {
			wrong++
		}
	}
	require.LessOrEqual(t, wrong, 8, "of 2,000 at 0.001")
	for range 20 {
		require.True(t, users(r, 15, 100, 0.1, 0.05), "twice as many")
		require.True(t, users(r, 15, 100, 0.5, 0.6), "a sixth less")
	}
}

// TestFair: the evidence is expected not to grow; by enumeration.
func TestFair(t *testing.T) {
	for _, share := range []float64{0.05, 0.5, 0.9} {
		for n := 1; n <= 10; n++ {
			mean := 0.0
			for k := 0; k <= n; k++ {
				a, _ := math.Lgamma(float64(n + 1))
				b, _ := math.Lgamma(float64(k + 1))
				d, _ := math.Lgamma(float64(n - k + 1))
				chance := math.Exp(a - b - d + float64(k)*math.Log(share) + float64(n-k)*math.Log1p(-share))
				mean += chance * math.Exp(Check{}.Add(float64(k), float64(n-k), share).Log())
			}
			require.InDelta(t, 1, mean, 1e-9)
		}
	}
}

func TestValue(t *testing.T) {
	var c Check
	require.Zero(t, c.Log())
	one := c.Add(3, 40, 0.05)
	log := one.Log()
	two := one.Add(30, 40, 0.05)
	require.Equal(t, log, one.Log(), "adding leaves a check as it was")
	require.Equal(t, one, one.Add(0, 0, 0.05))
	require.Equal(t, one, one.Add(1, 1, 0), "a share that cannot be")
	for _, c := range []Check{c, one, two} {
		reader := pack.NewReader(c.Append(nil))
		require.Equal(t, c, Read(reader))
		require.NoError(t, reader.Done())
	}
	require.False(t, math.IsInf(Check{}.Add(1e12, 1e12, 0.5).Log(), 0))
}
