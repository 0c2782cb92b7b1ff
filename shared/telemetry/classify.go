package telemetry

import (
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Failure says how a request ended without a whole answer.
type Failure int32

// The failures; FailureNone is a whole answer.
const (
	FailureNone       Failure = iota
	FailureConnect            // no connection, or reset before the headers
	FailureClientGone         // the client went away
)

// Classify returns the outcome and error class of an answer with an HTTP
// status, 100 to 599, or 0 where none came.
func Classify(status int, failure Failure) (outcome, class string) {
	switch {
	case failure == FailureClientGone:
		return OutcomeExcluded, "client"
	case failure == FailureConnect, status == 0:
		return OutcomeError, "connect"
	case status >= 500:
		return OutcomeError, "http"
	case status == 400, status == 404, status == 422:
		return OutcomeClientError, "http"
	case status == 401, status == 402, status == 403, status == 429:
		return OutcomeExcluded, "http"
	}
	return OutcomeOK, ""
}

func digest(text string) string {
	return strconv.FormatUint(xxhash.Sum64String(text), 16)
}
