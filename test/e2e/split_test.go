package e2e

import (
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestShareIsBinomial: 20,000 users at 5 % land on the canary within binomial bounds.
func TestShareIsBinomial(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.write(w.httpRollout("qwen", 500))
	const users, share = 20_000, 0.05
	var canary atomic.Int64
	w.parallel(users, func(i int) {
		r := w.do(call{Method: "GET", Path: "/qwen/generate", Headers: map[string]string{"x-user-id": "user-" + strconv.Itoa(i)}})
		require.Equal(t, 200, r.Status, r.Body)
		require.Contains(t, r.Body, `"qwen-`+r.variant()+`"`, "the variant's header and who answered disagree")
		if r.variant() == document.Canary {
			canary.Add(1)
		}
	})
	// Five standard deviations: by chance alone once in 1.7 million runs, were the users drawn anew.
	bound := 5 * math.Sqrt(users*share*(1-share))
	require.InDelta(t, users*share, float64(canary.Load()), bound)
	t.Logf("%d of %d users on the canary", canary.Load(), users)

	// A request's point is written behind its answer's last byte.
	points := 0
	require.Eventually(t, func() bool {
		var err error
		points, err = w.stack.Flush(t.Context())
		return err != nil || points >= users
	}, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, users, points, "one analytics point per routed request")
}

// TestVariantNeverFlipsBack: while the percentage rises no user who had the canary gets stable again.
func TestVariantNeverFlipsBack(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/rise"}})
	const users = 400
	had := make([]bool, users)
	for generation, percentage := range []int{500, 2000, 5000, 10_000} {
		d := rollout("acme/rise", percentage)
		d.Generation = int64(generation + 1)
		w.write(d)
		w.awaitShown("model:acme/rise", document.FormatPercentage(percentage))
		var onCanary atomic.Int64
		w.parallel(users, func(i int) {
			isCanary := w.predict(0, "acme/rise", "user-"+strconv.Itoa(i)).variant() == document.Canary
			if isCanary {
				onCanary.Add(1)
			}
			require.False(t, had[i] && !isCanary, "user-%d went back to stable at %d basis points", i, percentage)
			had[i] = isCanary
		})
		t.Logf("%d basis points: %d of %d users on the canary", percentage, onCanary.Load(), users)
	}
	for i := range had {
		require.True(t, had[i], "user-%d is not on the canary at 100 %%", i)
	}
}

// parallel calls f for 0 to n−1 from a few goroutines.
func (w *world) parallel(n int, f func(i int)) {
	var (
		next  atomic.Int64
		group sync.WaitGroup
	)
	for range 16 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !w.Failed(); i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
	if w.Failed() {
		w.FailNow()
	}
}

// awaitShown waits until every place decides by a document with that percentage.
func (w *world) awaitShown(service, percentage string) {
	w.Helper()
	for place := range w.stack.Places {
		require.Eventually(w, func() bool {
			r := w.do(call{Method: "GET", Place: place, Path: "/_perch/variant?service=" + service})
			return r.Status == 200 && contains(r.Body, `"percentage":`+percentage+`,`)
		}, 10*time.Second, 20*time.Millisecond, "%s %% never shown in place %d", percentage, place)
	}
}
