// Package telemetry names the columns of an Analytics Engine point. The worker's
// shell writes points by the constants that generate writes from here; the
// orchestrator's queries read them by the same names. It compiles under TinyGo.
package telemetry

//go:generate go run ./generate -out ../../worker/shell/columns.ts

// Column is where Analytics Engine keeps one field of a point.
type Column string

// Texts. Analytics Engine allows 20 blobs of together 16 KB.
const (
	Service    Column = "blob1"  // full name, such as model:acme/flux
	Variant    Column = "blob2"  // assigned: stable, canary or the target of a rule
	ServedBy   Column = "blob3"  // who answered
	Kind       Column = "blob4"  // one of the Kind constants
	Outcome    Column = "blob5"  // one of the Outcome constants
	Reason     Column = "blob6"  // why the variant was assigned
	Rollout    Column = "blob7"  // id of the rollout
	Colo       Column = "blob8"  // Cloudflare's data centre
	Country    Column = "blob9"  // the client's, ISO 3166-1 alpha-2
	Trace      Column = "blob10" // 32 hexadecimal digits; of a rating, that of the request that it rates, or ""
	User       Column = "blob11" // salted fingerprint, 16 hexadecimal digits
	ErrorClass Column = "blob12" // one of the Class constants, or ""
	Prediction Column = "blob13" // id of the prediction that was made, ended or rated, or ""
	Ended      Column = "blob14" // how it ended: one of the Ended constants, or "" while it is open
)

// Numbers. Analytics Engine allows 20 doubles. Times are in milliseconds; 0 is
// unknown.
const (
	Status          Column = "double1"  // HTTP status answered by the assigned variant; 0 if none
	FirstByteMS     Column = "double2"  // request received to response headers; also of an end that the create's own answer told
	Generation      Column = "double3"  // of the document that decided
	QueueMS         Column = "double4"  // prediction created to started
	PredictMS       Column = "double5"  // the model's own time
	TotalMS         Column = "double6"  // prediction created to completed
	FirstTokenMS    Column = "double7"  // request received to the first event with output
	EventsPerSecond Column = "double8"  // of a stream, from its first event to its last
	DurationMS      Column = "double9"  // request received to the answer's last byte
	Score           Column = "double10" // of a rating, in [0,1]; 1 is best
)

// Index is the sampling key: service and variant, so that a small arm keeps its
// rows however large the other is. Ratings, which are few beside requests, have
// service and KindFeedback: requests cannot crowd them out.
const Index Column = "index1"

// SampleInterval is how many points a row stands for.
const SampleInterval Column = "_sample_interval"

// MaxIndexBytes is the longest index that Analytics Engine takes.
const MaxIndexBytes = 96

// Kinds of point. The same end of a prediction may be seen several times: count
// predictions by Prediction, not by points.
const (
	KindRequest    = "request"    // one for each routed request, when its answer has ended
	KindPrediction = "prediction" // each time that a prediction's end is seen
	KindFeedback   = "feedback"   // each rating of a request or a prediction
)

// Outcomes of a request or prediction.
const (
	OutcomeOK          = "ok"
	OutcomeError       = "error"        // counts against its variant
	OutcomeClientError = "client_error" // 400, 404, 422: a metric of its own
	OutcomeExcluded    = "excluded"     // says nothing of the variant: 401, 402, 403, 429, the client went away, skipped by the breaker
)

// Classes of error: what an outcome other than ok came from.
const (
	ClassConnect = "connect" // no connection
	ClassReset   = "reset"   // broken off before the answer began
	ClassTimeout = "timeout" // no answer in time
	ClassHTTP    = "http"    // the status
	ClassCut     = "cut"     // broken off after the first byte
	ClassFailed  = "failed"  // the prediction failed
	ClassAborted = "aborted" // the prediction never started
	ClassClient  = "client"  // the client went away or cancelled
	ClassBreaker = "breaker" // the variant was not asked
)

// How predictions end.
const (
	EndedSucceeded = "succeeded"
	EndedFailed    = "failed"
	EndedCanceled  = "canceled" // by the client, or while running past its Cancel-After
	EndedAborted   = "aborted"  // its Cancel-After passed before it started
)

// Reasons for which a variant is assigned.
const (
	ReasonPercentage = "percentage" // by bucket, stable or canary
	ReasonHalted     = "halted"     // rolled back
	ReasonUnattended = "unattended" // the dead man's switch
	ReasonOverride   = "override"   // asked for by the client
	ReasonRule       = "rule"
	ReasonPolled     = "polled" // known from an alias alone: another request made the prediction
	ReasonTrap       = "trap"   // the decision failed; stable
	ReasonBypass     = "bypass" // PERCH_BYPASS
)

// IndexOf returns the index value of a service's variant; of names too long for
// an index, the digest.
func IndexOf(service, variant string) string {
	index := service + "|" + variant
	if len(index) <= MaxIndexBytes {
		return index
	}
	index = digest(service) + "|" + variant
	if len(index) <= MaxIndexBytes {
		return index
	}
	return digest(service) + "|" + digest(variant)
}
