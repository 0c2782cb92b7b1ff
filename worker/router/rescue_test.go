package router

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/telemetry"
)

// The targets of rescueDocument.
const (
	rescueStable = iota
	rescueCanary // of Replicate
	rescueServer // a model server with a fallback
	rescueAlone  // a model server without
)

func rescueDocument(t *testing.T, fallback string) *document.Document {
	if fallback != "" {
		fallback = `,"fallback":` + fallback
	}
	return parse(t, `{"schema":1,"service":"acme/flux","rollout":"r","mode":"canary","percentage":5,"salt":"s"`+fallback+`,
		"targets":{"stable":{"model":"acme/flux"},"canary":{"model":"acme/next"},
			"server":{"url":"https://m.example","fallback":"stable"},"alone":{"url":"https://m.example"}}}`)
}

// TestRescue has a row for each sentence of the rules of failing safe.
func TestRescue(t *testing.T) {
	const (
		none, connect, gone     = telemetry.FailureNone, telemetry.FailureConnect, telemetry.FailureClientGone
		reset, timeout, cut     = telemetry.FailureReset, telemetry.FailureTimeout, telemetry.FailureCut
		failed, aborted, broken = telemetry.FailureFailed, telemetry.FailureAborted, telemetry.FailureBreaker
	)
	create := func(cause telemetry.Failure, status int) Trouble {
		return Trouble{Cause: cause, Status: status, Creates: true, Resendable: true}
	}
	post := func(cause telemetry.Failure, status int) Trouble {
		return Trouble{Cause: cause, Status: status, Resendable: true}
	}
	get := func(cause telemetry.Failure, status int) Trouble {
		return Trouble{Cause: cause, Status: status, Safe: true, Resendable: true}
	}
	tests := []struct {
		name     string
		fallback string // of the document
		target   int
		trouble  Trouble
		want     bool
	}{
		{"the canary refuses the connection: stable", "", rescueCanary, create(connect, 0), true},
		{"no answer and no cause is no connection", "", rescueCanary, create(none, 0), true},
		{"the canary answers 500: stable", "", rescueCanary, create(none, 500), true},
		{"the canary answers 503: stable", "", rescueCanary, create(none, 503), true},
		{"the canary answers 504: stable", "", rescueCanary, create(none, 504), true},
		{"Cloudflare could not reach the canary: stable", "", rescueCanary, create(none, 521), true},
		{"a create that was reset may be billed: not again", "", rescueCanary, create(reset, 0), false},
		{"a create that timed out may be billed: not again", "", rescueCanary, create(timeout, 0), false},
		{"Cloudflare's word for a reset is one", "", rescueCanary, create(none, 520), false},
		{"Cloudflare's word for a timeout is one", "", rescueCanary, create(none, 524), false},
		{"reset, with resend_creates: again", `{"resend_creates":true}`, rescueCanary, create(reset, 0), true},
		{"timed out, with resend_creates: again", `{"resend_creates":true}`, rescueCanary, create(timeout, 0), true},
		{"what is no create is sent again", "", rescueCanary, get(timeout, 0), true},
		{"url targets resend by default: reset", "", rescueServer, post(reset, 0), true},
		{"url targets resend by default: timeout", "", rescueServer, post(timeout, 0), true},
		{"url targets resend creates too", "", rescueServer, create(timeout, 0), true},
		{"a synchronous create that failed stays", "", rescueCanary, create(failed, 201), false},
		{"a synchronous create that failed, with failed on: stable", `{"on":["failed"]}`, rescueCanary, create(failed, 201), true},
		{"one that was aborted ended by the client's own wish", `{"on":["failed"]}`, rescueCanary, create(aborted, 201), false},
		{"each cause can be switched off: connect", `{"on":["reset","timeout","5xx","failed"]}`, rescueCanary, create(connect, 0), false},
		{"each cause can be switched off: reset", `{"on":["connect","timeout","5xx","failed"],"resend_creates":true}`, rescueCanary, create(reset, 0), false},
		{"each cause can be switched off: timeout", `{"on":["connect","reset","5xx","failed"],"resend_creates":true}`, rescueCanary, create(timeout, 0), false},
		{"each cause can be switched off: 5xx", `{"on":["connect","reset","timeout","failed"]}`, rescueCanary, create(none, 500), false},
		{"all can be switched off", `{"on":[]}`, rescueCanary, create(connect, 0), false},
		{"429 is passed on", "", rescueCanary, create(none, 429), false},
		{"429 is passed on, whatever is on", `{"on":["connect","reset","timeout","5xx","failed"],"resend_creates":true}`, rescueCanary, get(none, 429), false},
		{"so is what the client did wrong", "", rescueCanary, create(none, 422), false},
		{"so is a missing token", "", rescueCanary, create(none, 401), false},
		{"so is success", "", rescueCanary, create(none, 201), false},
		{"after the first byte nothing is retried", `{"resend_creates":true}`, rescueCanary, get(cut, 200), false},
		{"a client that went away needs no answer", "", rescueCanary, get(gone, 0), false},
		{"a body that is gone cannot be sent again", "", rescueCanary, Trouble{Cause: connect, Creates: true}, false},
		{"what the breaker skipped was not sent", "", rescueCanary, Trouble{Cause: broken, Creates: true}, true},
		{"stable has nobody behind it", "", rescueStable, create(connect, 0), false},
		{"stable's 500 is everybody's", "", rescueStable, create(none, 500), false},
		{"a rule's target has the fallback that it names", "", rescueServer, post(none, 502), true},
		{"and without one has none", "", rescueAlone, post(connect, 0), false},
		{"nor does the breaker give it one", "", rescueAlone, Trouble{Cause: broken}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, Rescue(rescueDocument(t, test.fallback), test.target, test.trouble))
		})
	}
}

// TestRescueNever: whatever is switched on, some are never sent twice.
func TestRescueNever(t *testing.T) {
	d := rescueDocument(t, `{"on":["connect","reset","timeout","5xx","failed"],"resend_creates":true}`)
	careful := rescueDocument(t, `{"on":["connect","reset","timeout","5xx","failed"]}`)
	rescued := 0
	for target := range d.Targets {
		for cause := telemetry.FailureNone; cause <= telemetry.FailureBreaker; cause++ {
			for status := range 600 {
				for flags := range 8 {
					trouble := Trouble{Cause: cause, Status: status, Creates: flags&1 != 0, Safe: flags&2 != 0, Resendable: flags&4 != 0}
					got := Rescue(d, target, trouble)
					if got {
						rescued++
					}
					outcome, _ := telemetry.Classify(status, cause)
					isSkipped := cause == telemetry.FailureBreaker
					require.False(t, got && outcome != telemetry.OutcomeError && !isSkipped, "%+v: %s", trouble, outcome)
					require.False(t, got && !trouble.Resendable && !isSkipped, "%+v", trouble)
					require.False(t, got && d.FallbackOf(target) < 0, "%+v", trouble)
					if Rescue(careful, target, trouble) {
						require.True(t, got)
						maybe := cause == telemetry.FailureReset || cause == telemetry.FailureTimeout
						require.False(t, maybe && trouble.Creates && !trouble.Safe && target == rescueCanary, "%+v", trouble)
					}
				}
			}
		}
	}
	require.Greater(t, rescued, 1000)
}

// TestMatches: patterns of paths are compared whole.
func TestMatches(t *testing.T) {
	for _, test := range []struct {
		path, pattern string
		want          bool
	}{
		{"/predictions", "/predictions", true},
		{"/predictions/", "/predictions", false},
		{"/prediction", "/predictions", false},
		{"/predictions/a", "/predictions/*", true},
		{"/predictions/", "/predictions/*", false},
		{"/predictions/a/b", "/predictions/*", false},
		{"/predictions/a/cancel", "/predictions/*/cancel", true},
		{"/predictions//cancel", "/predictions/*/cancel", false},
		{"/models/a/b/predictions", "/models/*/*/predictions", true},
		{"/models/a/predictions", "/models/*/*/predictions", false},
		{"", "/models", false},
		{"/models", "", false},
		{strings.Repeat("/a", 1000), "/*/*", false},
	} {
		require.Equal(t, test.want, matches(test.path, test.pattern), "%q %q", test.path, test.pattern)
	}
}
