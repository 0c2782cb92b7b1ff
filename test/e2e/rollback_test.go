package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestZeroReachesIdlePlaces: once the cache time has passed after a write of 0
// or a halt, no place answers from the canary, not even one that had been idle.
func TestZeroReachesIdlePlaces(t *testing.T) {
	tests := []struct {
		name string
		stop func(w *world, d document.Document)
		want string
	}{
		{"percentage 0", func(w *world, d document.Document) {
			d.Generation, d.BasisPoints = d.Generation+1, 0
			w.write(d)
		}, "percentage"},
		{"halt", func(w *world, d document.Document) { w.put(d.Service.HaltKey(), d.Rollout) }, "halted"},
		{"halt, and a late step writes the canary back", func(w *world, d document.Document) {
			w.put(d.Service.HaltKey(), d.Rollout)
			d.Generation, d.BasisPoints = d.Generation+1, 10_000
			w.write(d)
		}, "halted"},
	}
	w := newWorld(t, worldOptions{Places: 2, Models: []string{"acme/m0", "acme/m1", "acme/m2"}})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			model := "acme/m" + strconv.Itoa(i)
			d := rollout(model, 10_000)
			w.write(d)
			w.awaitVariant(0, model, "user", document.Canary)
			w.awaitVariant(1, model, "user", document.Canary)
			tt.stop(w, d)
			// Place 0 goes on serving, place 1 is idle.
			stopped := time.Now()
			for time.Since(stopped) < settled {
				w.predict(0, model, "user")
			}
			for place := range w.stack.Places {
				for user := range 200 {
					r := w.predict(place, model, "user-"+strconv.Itoa(user))
					require.Equal(t, document.Stable, r.variant(), "place %d", place)
					require.Contains(t, r.Body, versionID(model, document.Stable))
				}
			}
			shown := w.do(call{Method: "GET", Path: "/_perch/variant?service=model:" + model})
			require.Contains(t, shown.Body, `"reason":"`+tt.want+`"`)
		})
	}
}

// TestIdlePlaceReadsAnew: a place that was idle for longer than the oldest age
// reads the document before it answers, so that its first answer is right.
func TestIdlePlaceReadsAnew(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/idle"}})
	d := rollout("acme/idle", 10_000)
	w.write(d)
	w.awaitVariant(0, "acme/idle", "user", document.Canary)
	w.put(d.Service.HaltKey(), d.Rollout)
	<-time.After(max(maxAge, cacheTime) + 200*time.Millisecond) // being idle is what is tested
	require.Equal(t, document.Stable, w.predict(0, "acme/idle", "user").variant())
}

// TestDeadMansSwitch: past unattended_after_ms the canary gets nothing.
func TestDeadMansSwitch(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/dead"}})
	d := rollout("acme/dead", 10_000)
	d.UnattendedAfterMS = time.Now().Add(2 * time.Second).UnixMilli()
	w.write(d)
	w.awaitVariant(0, "acme/dead", "user", document.Canary)
	w.awaitVariant(0, "acme/dead", "user", document.Stable)
	require.GreaterOrEqual(t, time.Now().UnixMilli(), d.UnattendedAfterMS, "stable before the switch was due")
}
