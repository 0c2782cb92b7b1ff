package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestClientsWithHeldToken: to the official clients an API key is as good as a
// token of Replicate's: they run, poll, stream and cancel with it.
func TestClientsWithHeldToken(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/held"}})
	digest := sha256.Sum256([]byte("test-token")) // what the scenarios' clients send
	d := rollout("acme/held", 5000)
	d.Access = &document.Access{Token: "secret:REPLICATE_TOKEN", Keys: []document.APIKey{{Name: "clients", SHA256: hex.EncodeToString(digest[:])}}}
	w.write(d)
	w.slow("acme/held", 100*time.Millisecond)
	for _, scenario := range []string{"sync", "async", "stream", "cancel"} {
		t.Run(scenario, func(t *testing.T) {
			w.upstream.ClearLog()
			var result json.RawMessage
			require.NotEmpty(t, w.runScenario(scenario, "acme/held", &result))
			require.NotContains(t, []string{"null", `""`, "[]"}, string(result))
			for _, e := range w.upstream.Log() {
				if e.Method != "GET" || e.Header.Get("accept") != "text/event-stream" {
					require.Equal(t, []string{"Bearer " + heldToken}, e.Header.Values("authorization"), e.Target)
				}
			}
		})
	}
}
