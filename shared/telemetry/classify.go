package telemetry

import "perch/shared/lean"

// Failure says how a request or a prediction ended without what was asked for.
type Failure int32

// The failures; FailureNone is a whole answer.
const (
	FailureNone       Failure = iota
	FailureConnect            // no connection
	FailureClientGone         // the client went away or cancelled
	FailureReset              // broken off before the response headers
	FailureTimeout            // no answer in time
	FailureCut                // broken off after the first byte
	FailureFailed             // the prediction failed
	FailureAborted            // the prediction never started
	FailureBreaker            // not asked: the breaker is open
)

// Classify returns the outcome and error class of an answer with an HTTP
// status, 100 to 599, or 0 where none came.
func Classify(status int, failure Failure) (outcome, class string) {
	switch failure.Of(status) {
	case FailureClientGone:
		return OutcomeExcluded, ClassClient
	case FailureBreaker:
		return OutcomeExcluded, ClassBreaker
	case FailureConnect:
		return OutcomeError, ClassConnect
	case FailureReset:
		return OutcomeError, ClassReset
	case FailureTimeout:
		return OutcomeError, ClassTimeout
	case FailureFailed:
		return OutcomeError, ClassFailed
	case FailureAborted:
		return OutcomeError, ClassAborted
	}
	switch {
	case status >= 500:
		return OutcomeError, ClassHTTP
	case status == 400, status == 404, status == 422:
		return OutcomeClientError, ClassHTTP
	case status == 401, status == 402, status == 403, status == 429:
		return OutcomeExcluded, ClassHTTP
	case failure == FailureCut:
		return OutcomeError, ClassCut
	}
	return OutcomeOK, ""
}

// Of returns the failure that a status stands for, where nothing else is known:
// Cloudflare answers 520 to 530 for an upstream that it could not reach.
func (f Failure) Of(status int) Failure {
	if f != FailureNone && f != FailureCut {
		return f
	}
	switch status {
	case 0, 521, 522, 523, 525, 526, 530:
		return FailureConnect
	case 520:
		return FailureReset
	case 524:
		return FailureTimeout
	}
	return f
}

func digest(text string) string {
	var h lean.XXH64
	h.WriteString(text)
	return string(lean.AppendHex(nil, h.Sum()))
}
