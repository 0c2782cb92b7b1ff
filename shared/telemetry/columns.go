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
	Kind       Column = "blob4"  // KindRequest
	Outcome    Column = "blob5"  // one of the Outcome constants
	Reason     Column = "blob6"  // why the variant was assigned
	Rollout    Column = "blob7"  // id of the rollout
	Colo       Column = "blob8"  // Cloudflare's data centre
	Country    Column = "blob9"  // the client's, ISO 3166-1 alpha-2
	Trace      Column = "blob10" // 32 hexadecimal digits
	User       Column = "blob11" // salted fingerprint, 16 hexadecimal digits
	ErrorClass Column = "blob12" // "", connect, client, http
)

// Numbers. Analytics Engine allows 20 doubles.
const (
	Status      Column = "double1" // HTTP status answered by the upstream; 0 if none
	FirstByteMS Column = "double2" // request received to response headers
	Generation  Column = "double3" // of the document that decided
)

// Index is the sampling key: service and variant, so that a small arm keeps its
// rows however large the other is.
const Index Column = "index1"

// SampleInterval is how many points a row stands for.
const SampleInterval Column = "_sample_interval"

// MaxIndexBytes is the longest index that Analytics Engine takes.
const MaxIndexBytes = 96

// KindRequest is the kind of the one point that every routed request writes.
const KindRequest = "request"

// Outcomes of a request or prediction.
const (
	OutcomeOK          = "ok"
	OutcomeError       = "error"        // counts against its variant
	OutcomeClientError = "client_error" // 400, 404, 422: a metric of its own
	OutcomeExcluded    = "excluded"     // says nothing of the variant: 401, 402, 403, 429, the client went away
)

// Reasons for which a variant is assigned.
const (
	ReasonPercentage = "percentage" // by bucket, stable or canary
	ReasonHalted     = "halted"     // rolled back
	ReasonUnattended = "unattended" // the dead man's switch
	ReasonOverride   = "override"   // asked for by the client
	ReasonRule       = "rule"
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
