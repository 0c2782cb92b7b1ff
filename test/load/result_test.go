package load

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantilesAreExactToOnePercent(t *testing.T) {
	var h Histogram
	require.Zero(t, h.Quantile(0.5))
	for i := 1; i <= 10_000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{
		0: time.Millisecond, 0.01: 100 * time.Millisecond, 0.5: 5 * time.Second, 0.95: 9500 * time.Millisecond, 1: 10 * time.Second,
	} {
		require.InEpsilon(t, want, h.Quantile(q), 0.0101, "quantile %v", q)
	}
	h = Histogram{}
	h.add(0)
	h.add(24 * time.Hour)
	require.Less(t, h.Quantile(0.5), 200*time.Microsecond)
	require.Greater(t, h.Quantile(1), time.Hour)
}

func TestSinceCountsWhatCameLater(t *testing.T) {
	at := time.Unix(0, 0)
	answer := func(variant string, latency time.Duration, err error) call {
		return call{sent: at, answered: at.Add(latency), variant: variant, servedBy: variant, status: 200, err: err}
	}
	g := Generator{result: Result{Began: at, Arms: map[string]Arm{}}}
	g.count(answer("stable", time.Second, nil))
	g.count(answer("stable", time.Second, nil))
	earlier := g.Snapshot()
	earlier.At = at.Add(time.Second)
	g.count(answer("stable", 3*time.Second, nil))
	g.count(answer("canary", 3*time.Second, errors.New("no memory")))
	later := g.Snapshot()
	later.At = at.Add(3 * time.Second)

	require.Equal(t, 2, earlier.Arms["stable"].OK, "a snapshot does not change")
	require.NotContains(t, earlier.Arms, "canary")
	d := later.Since(earlier)
	require.Equal(t, 2, d.Calls())
	require.Equal(t, 1, d.Failed())
	require.Equal(t, 0.5, d.Share("canary"))
	require.Equal(t, 1.0, d.PerSecond())
	require.Equal(t, map[int]int{200: 1}, d.Arms["stable"].Statuses)
	latency := d.Arms["stable"].Latency
	require.InEpsilon(t, 3*time.Second, latency.Quantile(0.01), 0.0101)
	require.Equal(t, 4, later.Calls(), "and neither does the later one")
	require.Zero(t, (&Result{}).Share("canary"))
	require.Zero(t, (&Result{}).PerSecond())
}
