package upstream

import (
	"fmt"
	"slices"
)

// FaultName says what goes wrong.
type FaultName string

// Instead of the answer. Unless the fault says Accepts, the call has no effect: a create creates nothing.
const (
	FaultResetHeaders  FaultName = "reset_headers"   // connection reset before any answer
	FaultSilence       FaultName = "silence"         // the connection stays open and nothing comes
	FaultStatus        FaultName = "status"          // a problem with Status, 500 by default
	FaultThrottled     FaultName = "throttled"       // 429 with Retry-After, and retry_after in the body
	FaultThrottledText FaultName = "throttled_text"  // 429 whose wait stands in the body's text only
	FaultThrottledRate FaultName = "throttled_reset" // 429 whose wait stands in ratelimit-reset only
	FaultContentType   FaultName = "content_type"    // 200 with a page of HTML
)

// On the way of the answer. The call has its effect.
const (
	FaultSlowFirstByte FaultName = "slow_first_byte" // the answer begins DelayMS late
	FaultResetBody     FaultName = "reset_body"      // connection closed after half of the body, or of the events
	FaultLongHeader    FaultName = "long_header"     // a header of 200 KB
)

// In a stream, after half of the output events.
const (
	FaultStreamCut       FaultName = "stream_cut"       // ends within an event
	FaultStreamEnd       FaultName = "stream_end"       // ends after a whole event, without done
	FaultStreamStall     FaultName = "stream_stall"     // nothing more comes, not even a comment
	FaultStreamMalformed FaultName = "stream_malformed" // one event is junk: no colon, no UTF-8; then it goes on
)

// In the life of a prediction.
const (
	FaultStuck    FaultName = "stuck"    // stays starting
	FaultFailed   FaultName = "failed"   // ends as failed, after its whole run
	FaultCanceled FaultName = "canceled" // ends as canceled, half-way through its run
	FaultAborted  FaultName = "aborted"  // ends as aborted when it should begin to run
)

// With the webhooks of a prediction.
const (
	FaultWebhookLost   FaultName = "webhook_lost"   // never sent
	FaultWebhookTwice  FaultName = "webhook_twice"  // each sent two times, with the same id
	FaultWebhookForged FaultName = "webhook_forged" // signed with another secret
	FaultWebhookStale  FaultName = "webhook_stale"  // signed for a time 10 minutes ago
)

// Call is a kind of request.
type Call string

// The kinds of requests.
const (
	CallCreate Call = "create" // of predictions
	CallGet    Call = "get"    // of one prediction
	CallCancel Call = "cancel" // of one prediction
	CallStream Call = "stream"
	CallPlain  Call = "plain" // to a plain model server
	CallOther  Call = "other" // the rest of the API
)

var calls = []Call{CallCreate, CallGet, CallCancel, CallStream, CallPlain, CallOther}

// Fault is something that goes wrong with the requests that reach a target.
type Fault struct {
	Name       FaultName `json:"name"`
	On         []Call    `json:"on,omitempty"`          // which requests; none means all those where it makes sense
	Rate       float64   `json:"rate,omitempty"`        // share of them, in (0,1]; 0 means 1
	Times      int       `json:"times,omitempty"`       // how many of them; 0 means until cleared
	DelayMS    int       `json:"delay_ms,omitempty"`    // of slow_first_byte, milliseconds
	Status     int       `json:"status,omitempty"`      // of status, 400 to 599
	RetryAfter int       `json:"retry_after,omitempty"` // of the three throttled, seconds; 0 means 30
	Accepts    bool      `json:"accepts,omitempty"`     // the call has its effect all the same
}

type faultKind int

const (
	insteadOfAnswer faultKind = iota
	onTheWay
	inStream
	inPrediction
	inWebhook
)

var faultKinds = map[FaultName]faultKind{
	FaultResetHeaders: insteadOfAnswer, FaultSilence: insteadOfAnswer, FaultStatus: insteadOfAnswer,
	FaultThrottled: insteadOfAnswer, FaultThrottledText: insteadOfAnswer, FaultThrottledRate: insteadOfAnswer,
	FaultContentType:   insteadOfAnswer,
	FaultSlowFirstByte: onTheWay, FaultResetBody: onTheWay, FaultLongHeader: onTheWay,
	FaultStreamCut: inStream, FaultStreamEnd: inStream, FaultStreamStall: inStream, FaultStreamMalformed: inStream,
	FaultStuck: inPrediction, FaultFailed: inPrediction, FaultCanceled: inPrediction, FaultAborted: inPrediction,
	FaultWebhookLost: inWebhook, FaultWebhookTwice: inWebhook, FaultWebhookForged: inWebhook, FaultWebhookStale: inWebhook,
}

// calls are the kinds of requests in which the fault makes sense.
func (k faultKind) calls() []Call {
	switch k {
	case inStream:
		return []Call{CallStream, CallPlain}
	case inPrediction, inWebhook:
		return []Call{CallCreate}
	}
	return calls
}

func (f Fault) kind() faultKind { return faultKinds[f.Name] }

func (f Fault) concerns(call Call) bool {
	if len(f.On) > 0 {
		return slices.Contains(f.On, call)
	}
	return slices.Contains(f.kind().calls(), call)
}

func (f Fault) validate() error {
	kind, known := faultKinds[f.Name]
	if !known {
		return fmt.Errorf("name %q is no fault's", f.Name)
	}
	for _, call := range f.On {
		if !slices.Contains(kind.calls(), call) {
			return fmt.Errorf("on names %q, use any of %v", call, kind.calls())
		}
	}
	switch {
	case !(f.Rate >= 0 && f.Rate <= 1):
		return fmt.Errorf("rate is %v, use 0 to 1", f.Rate)
	case f.Times < 0:
		return fmt.Errorf("times is %d, use 0 for no end", f.Times)
	case f.RetryAfter < 0:
		return fmt.Errorf("retry_after is %d, use at least 0", f.RetryAfter)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status is %d, use 400 to 599", f.Status)
	case f.Name == FaultSlowFirstByte && f.DelayMS <= 0:
		return fmt.Errorf("delay_ms is %d, use at least 1", f.DelayMS)
	case f.Accepts && kind != insteadOfAnswer:
		return fmt.Errorf("accepts goes with faults instead of the answer only")
	}
	return nil
}
