package router

import (
	"perch/shared/document"
	"perch/shared/telemetry"
)

// Trouble is a request that its target did not answer well, before the first
// byte went out.
type Trouble struct {
	Cause      telemetry.Failure // FailureNone where it is the status
	Status     int               // 0 where none came
	Creates    bool              // a prediction, by Replicate's API
	Safe       bool              // by its method
	Resendable bool              // the whole body is at hand
}

// Rescue reports whether the request goes to its target's fallback, once. What
// the upstream refuses by 4xx the fallback would refuse as well, and a 429
// sent on would make a storm of it.
func Rescue(d *document.Document, target int, t Trouble) bool {
	if d.FallbackOf(target) < 0 {
		return false
	}
	cause := t.Cause.Of(t.Status)
	if cause == telemetry.FailureBreaker {
		return true // nothing was sent yet
	}
	f := d.Failover()
	// What was sent may have been accepted, and billed, though no answer came.
	again := t.Safe || !t.Creates || d.Targets[target].URL != "" || f.ResendCreates
	switch {
	case !t.Resendable:
		return false
	case cause == telemetry.FailureConnect:
		return f.On&document.OnConnect != 0
	case cause == telemetry.FailureReset:
		return f.On&document.OnReset != 0 && again
	case cause == telemetry.FailureTimeout:
		return f.On&document.OnTimeout != 0 && again
	case cause == telemetry.FailureFailed:
		return f.On&document.OnFailed != 0
	case cause == telemetry.FailureNone:
		return f.On&document.On5xx != 0 && t.Status >= 500
	}
	return false
}
