package upstream

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLatencyDistribution(t *testing.T) {
	tests := []struct {
		name    string
		latency Latency
		p50     time.Duration
		p95     time.Duration
	}{
		{"fixed", Fixed(80 * time.Millisecond), 80 * time.Millisecond, 80 * time.Millisecond},
		{"lognormal", Lognormal(80*time.Millisecond, 0.5), 80 * time.Millisecond,
			time.Duration(80 * math.Exp(1.6449*0.5) * float64(time.Millisecond))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newActor(7, "some version", Behavior{Latency: tt.latency})
			drawn := make([]time.Duration, 20_000)
			for i := range drawn {
				drawn[i] = a.draw("").run
			}
			slices.Sort(drawn)
			require.InEpsilon(t, tt.p50, drawn[len(drawn)/2], 0.03)
			require.InEpsilon(t, tt.p95, drawn[len(drawn)*95/100], 0.03)
		})
	}
}

func TestRatesAreSharesOfAllRequests(t *testing.T) {
	a := newActor(7, "some version", Behavior{ResetRate: 0.1, ErrorRate: 0.05, RejectRate: 0.2, FailedRate: 0.3})
	const n = 20_000
	counts := map[outcome]float64{}
	for range n {
		counts[a.draw("").outcome]++
	}
	for o, rate := range map[outcome]float64{
		outcomeReset: 0.1, outcomeError: 0.05, outcomeRejected: 0.2, outcomeFailed: 0.3, outcomeServed: 0.35,
	} {
		require.InDelta(t, rate, counts[o]/n, 5*math.Sqrt(rate*(1-rate)/n), "outcome %d", o)
	}
}

func TestChangedRateLeavesLatenciesOfASeedAlone(t *testing.T) {
	b := Behavior{Latency: Lognormal(time.Second, 0.5)}
	one, other := newActor(7, "v", b), newActor(7, "v", b)
	require.NoError(t, other.change(func(b *Behavior) error { b.ErrorRate = 1; return nil }))
	for range 100 {
		f, g := one.draw(""), other.draw("")
		require.Equal(t, f.run, g.run)
		require.Equal(t, outcomeServed, f.outcome)
		require.Equal(t, outcomeError, g.outcome)
	}
}

// TestFailingUsers: a share of the users gets nothing but errors, on every version the same, the others none.
func TestFailingUsers(t *testing.T) {
	b := Behavior{FailingUsers: 0.1}
	one, other := newActor(7, "v", b), newActor(8, "w", b)
	failing := 0.0
	const users = 5_000
	for i := range users {
		user := "user-" + strconv.Itoa(i)
		first := one.draw(user).outcome
		for range 3 {
			require.Equal(t, first, one.draw(user).outcome)
			require.Equal(t, first, other.draw(user).outcome)
		}
		if first == outcomeError {
			failing++
		}
	}
	require.InDelta(t, 0.1, failing/users, 5*math.Sqrt(0.1*0.9/users))
	require.Equal(t, outcomeServed, one.draw("").outcome, "nobody known")
}

func TestBehaviorRefuses(t *testing.T) {
	tests := []struct {
		name string
		b    Behavior
		want string
	}{
		{"negative rate", Behavior{ErrorRate: -0.1}, "rate is -0.1, use 0 to 1"},
		{"rate that is no number", Behavior{FailedRate: math.NaN()}, "rate is NaN, use 0 to 1"},
		{"sum past 1", Behavior{ErrorRate: 0.7, FailedRate: 0.7}, "rates add up to 1.4, use at most 1"},
		{"negative latency", Behavior{Latency: Latency{MedianMS: -1}}, "latency: median_ms is -1, use 0 to 3600000"},
		{"wide queue", Behavior{Queue: Latency{Sigma: 4}}, "queue: sigma is 4, use 0 to 3"},
		{"first token", Behavior{FirstToken: Latency{MedianMS: -1}}, "first_token: median_ms is -1, use 0 to 3600000"},
		{"failing users", Behavior{FailingUsers: 2}, "failing_users is 2, use 0 to 1"},
		{"error status", Behavior{ErrorStatus: 404}, "error_status is 404, use 500 to 599"},
		{"output", Behavior{OutputBytes: -1}, "output_bytes is -1, use 0 to 67108864"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newActor(1, "v", Behavior{ErrorRate: 0.25})
			require.EqualError(t, a.change(func(b *Behavior) error { *b = tt.b; return nil }), tt.want)
			require.Equal(t, Behavior{ErrorRate: 0.25}, a.get(), "a refused change leaves everything as it was")
		})
	}
}
