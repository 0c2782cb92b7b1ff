package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/telemetry"
)

// aliasOf reads an alias past every cache.
func (w *world) aliasOf(version string) (alias struct{ Service, Variant, Rollout string }) {
	w.Helper()
	values, err := w.stack.KVValues(w.Context())
	require.NoError(w, err)
	text := values[document.AliasKey("version", version)]
	require.NotEmpty(w, text, "no alias of %s", version)
	require.NoError(w, json.Unmarshal([]byte(text), &alias))
	return alias
}

// byVersion asks for a prediction as npm replicate does for owner/name:id: by the
// bare id alone.
func (w *world) byVersion(place int, id, user string) reply {
	w.Helper()
	return w.do(call{
		Place: place, Path: "/v1/predictions", Body: `{"input":{"prompt":"hello"},"version":"` + id + `"}`,
		Headers: map[string]string{"content-type": "application/json", "prefer": "wait", "x-user-id": user},
	})
}

// TestAliasesFollowTheRollout: start, promote and rollback keep the bare ids of
// both targets leading to the service, whatever becomes of the rollout.
func TestAliasesFollowTheRollout(t *testing.T) {
	const model, service = "acme/named", "model:acme/named"
	stable, canary := versionID(model, document.Stable), versionID(model, document.Canary)
	w := newWorld(t, worldOptions{Models: []string{model}, Places: 2})
	require.Empty(t, w.byVersion(0, canary, "early").variant(), "nobody's yet, and remembered as such")
	w.begin(model, wide)
	id := w.document(model).Rollout
	both := func() {
		t.Helper()
		for version, variant := range map[string]string{stable: document.Stable, canary: document.Canary} {
			alias := w.aliasOf(version)
			require.Equal(t, []string{service, variant, id}, []string{alias.Service, alias.Variant, alias.Rollout})
		}
	}
	routed := func(ranOn string) {
		t.Helper()
		for place := range w.stack.Places {
			for _, version := range []string{stable, canary} {
				require.Eventually(t, func() bool {
					r := w.byVersion(place, version, "user")
					require.Equal(t, 201, r.Status, r.Body)
					return r.variant() != "" && last(w.upstream.Log()).Version == ranOn
				}, 10*time.Second, 50*time.Millisecond, "version %s in place %d", version[:8], place)
			}
		}
	}
	both()
	w.orchestrate(exitDone, wide, "promote", model)
	both()
	routed(canary)
	w.orchestrate(exitDone, wide, "rollback", model)
	both()
	routed(stable)

	w.orchestrate(exitDone, wide, "start", "--canary", "deployment="+model+"-canary", model)
	require.NotEqual(t, id, w.aliasOf(stable).Rollout)
	require.Equal(t, service, w.aliasOf(canary).Service, "what ran on the last canary may still be polled")
}

// TestPolledAfterPromotion: a prediction of the former stable that somebody polls
// by its bare id, where it was not made, is still known as that.
func TestPolledAfterPromotion(t *testing.T) {
	const model = "acme/former"
	w := newWorld(t, worldOptions{Models: []string{model}, Places: 2})
	w.begin(model, wide)
	w.orchestrate(exitDone, wide, "set", "--percentage", "0", model)
	w.awaitShown(model, "0")
	made := w.createAt(0, model, map[string]string{"x-user-id": "me"})
	w.awaitEnd(made.ID)
	w.orchestrate(exitDone, wide, "promote", model)
	w.awaitVariantVersion(1, model, versionID(model, document.Canary))
	r := w.do(call{Place: 1, Method: "GET", Path: "/v1/predictions/" + made.ID})
	require.Equal(t, 200, r.Status)
	row := w.points(r.Header.Get("x-perch-trace"))[0]
	for column, want := range map[telemetry.Column]string{
		telemetry.Prediction: made.ID, telemetry.Variant: document.Stable, telemetry.Reason: telemetry.ReasonPolled,
		telemetry.Ended: "succeeded", telemetry.Rollout: w.aliasOf(versionID(model, document.Stable)).Rollout,
	} {
		got, err := row.Text(string(column))
		require.NoError(t, err)
		require.Equal(t, want, got, column)
	}
}

// awaitVariantVersion asks until a place sends a model's predictions to a version.
func (w *world) awaitVariantVersion(place int, model, version string) {
	w.Helper()
	require.Eventually(w, func() bool {
		require.Equal(w, 201, w.predict(place, model, "user").Status)
		return last(w.upstream.Log()).Version == version
	}, 10*time.Second, 50*time.Millisecond)
}
