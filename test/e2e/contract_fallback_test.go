package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// TestContractFallback: of a create that the canary does not take, canary and
// stable each get what a direct call would have sent, however far apart their
// forms are; the client gets what stable answers.
func TestContractFallback(t *testing.T) {
	const model = "acme/flux"
	canaryID := versionID(model, document.Canary)
	w := newTwins(t, worldOptions{Models: []string{model}}, withModelServers)
	for _, side := range []*tap{w.behind, w.beside} {
		unwell := upstream.Fault{Name: upstream.FaultStatus, Status: 503, On: []upstream.Call{upstream.CallCreate}}
		require.NoError(t, side.upstream.SetFault(canaryID, unwell))
	}
	bodies := map[string][]createBody{"/v1/predictions": versioned, "/v1/models/acme/": unversioned}
	for _, canary := range w.forms(model, document.Canary) {
		if canary.name == "model" {
			continue // which runs stable's version
		}
		for _, stable := range w.forms(model, document.Stable) {
			name := "acme/" + canary.name + "-" + stable.name
			w.write(w.failingOver(name, canary.target, stable.target))
			t.Run(canary.name+" to "+stable.name, func(t *testing.T) {
				for path, bodies := range bodies {
					if path != "/v1/predictions" {
						path += canary.name + "-" + stable.name + "/predictions"
					}
					for _, body := range bodies {
						body = body.fill(canary.name+"-"+stable.name, name)
						w.within(t).requireRescued(path, body, canary, stable)
					}
				}
			})
		}
	}
}

// failingOver is a rollout of the named model, all on a canary that is asked each time.
func (w *twins) failingOver(name string, canary, stable document.Target) document.Document {
	d := rollout(name, 10_000)
	stable.Name, canary.Name = document.Stable, document.Canary
	d.Targets = []document.Target{stable, canary}
	fallback := document.DefaultFallback()
	fallback.BreakerFailures = 0
	d.Fallback = &fallback
	return d
}

// requireRescued: a create arrives at the canary and then at stable, at each as
// the direct call does.
func (w *twins) requireRescued(path string, body createBody, canary, stable targetForm) {
	w.Run(body.name, func(t *testing.T) {
		w := w.within(t)
		header := jsonType("accept-encoding", "gzip", "cookie", "a=b", "x-own", "kept")
		a := apiCall{Method: http.MethodPost, Target: path + "?a=%2F", Header: header, Body: body.client}
		through := w.send(w.stack.Places[0].URL, w.behind, a, 2)
		require.Equal(t, document.Canary, through.Answer.Get("x-perch-variant"), "%s", through.Body)
		require.Equal(t, document.Stable, through.Answer.Get("x-perch-served-by"))
		require.Equal(t, "5xx", through.Answer.Get("x-perch-fallback"))
		through.Answer.Del("x-perch-fallback") // why somebody else answered
		refused := w.directly(canary.direct(header, body))
		require.Equal(t, 503, refused.Status)
		w.requireSameRequest(exchange{wire: lengthTold(t, through.Before[0], refused)}, refused)
		answered := w.directly(stable.direct(header, body))
		require.Equal(t, 201, answered.Status, "%s", answered.Body)
		through.wire = lengthTold(t, through.wire, answered)
		w.requireSameRequest(through, answered)
		w.requireSameAnswer(through, answered)
	})
}

// lengthTold is a request as it would be if its length had been told: one that is
// edited while it streams cannot tell it when it begins.
func lengthTold(t *testing.T, through wire, direct exchange) wire {
	t.Helper()
	if through.Length >= 0 || through.Bytes <= 64<<10 {
		return through
	}
	require.Equal(t, []string{"chunked"}, through.Encoding)
	through.Encoding, through.Length = nil, through.Bytes
	through.Header.Set("content-length", direct.Header.Get("content-length"))
	return through
}
