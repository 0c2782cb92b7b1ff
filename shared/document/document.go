// Package document is the rollout document in Workers KV: what the edge and the
// orchestrator must agree on. It compiles under TinyGo.
package document

// Schema is the version of the document's format that this package reads.
const Schema = 1

// MaxBytes is the largest document that Parse accepts.
const MaxBytes = 64 << 10

// The most targets and rules that a document, and headers that a target may have.
const (
	MaxTargets = 32
	MaxRules   = 32
	MaxHeaders = 32
)

// MaxTimeMS is the longest that a document's time limits may be.
const MaxTimeMS = 600_000

// DefaultTimeMS is what the time limits are unless given.
const DefaultTimeMS = 30_000

// OutcomesWebhook asks for a webhook of the worker's own in every prediction.
const OutcomesWebhook = "webhook"

// ModeCanary splits users between stable and canary by percentage.
const ModeCanary = "canary"

// Names of the two targets that every rollout is about.
const (
	Stable = "stable"
	Canary = "canary"
)

// Document says how one service is split between its targets.
type Document struct {
	Service    Service
	Rollout    string // id of the rollout, unique per service: a segment, as headers and keys hold it
	Generation int64  // rises with every write
	Mode       string // ModeCanary
	// BasisPoints is the canary's share in hundredths of a percent, 0 to 10000.
	BasisPoints int
	Salt        string // fixed for the life of a rollout
	Targets     []Target
	Rules       []Rule
	User        User
	// Overrides lets testers choose their variant.
	Overrides bool
	// TimeoutMS and IdleTimeoutMS are the limits of targets that have none of
	// their own; 0 is DefaultTimeMS.
	TimeoutMS, IdleTimeoutMS int64
	Fallback                 *Fallback // nil is DefaultFallback
	Outcomes                 string    // "" (from answers, polls and streams) or OutcomesWebhook
	Access                   *Access   // nil is the worker's own
	// UnattendedAfterMS is the dead man's switch, in epoch milliseconds: from
	// then on the percentage counts as 0. 0 switches it off.
	UnattendedAfterMS int64
}

// Target is who answers: exactly one of Version, Deployment, Model and URL is set.
type Target struct {
	Name       string // "stable", "canary", or what rules call it
	Version    string // "owner/name:id" or a bare id
	Deployment string // owner/name
	Model      string // owner/name of an official model
	URL        string // base of a plain HTTP model server
	// Credentials passes the client's Authorization and cookies on to URL;
	// Replicate's own targets always get them.
	Credentials bool
	// Headers are added to every request to the target.
	Headers []Header
	// Fallback names the target that answers where this one fails; the canary's
	// is stable, and stable has none.
	Fallback string
	// TimeoutMS is the time until an answer begins, IdleTimeoutMS that between
	// two events of a stream; 0 is the document's.
	TimeoutMS, IdleTimeoutMS int64
}

// Header is a header to add. Its value is plain text, or secret:NAME.
type Header struct {
	Name  string // lower case
	Value string
}

// Rule sends requests whose header has that exact value to a target.
type Rule struct {
	Header string // lower case
	Equals string
	Use    string // name of a target
}

// User says how a request's user is identified, in this order: a verified
// identity, the header, the cookie, From, a random id per request.
type User struct {
	Header string // lower case; DefaultUserHeader unless given
	Cookie string // DefaultUserCookie unless given
	From   string // "", FromToken or FromAddress
}

// Defaults and choices of User.
const (
	DefaultUserHeader = "x-user-id"
	DefaultUserCookie = "perch-user"
	FromToken         = "token"   // digest of the Authorization header
	FromAddress       = "address" // digest of the client's address
)

// Target returns the index in Targets of the target with that name, or −1.
//
//go:noinline
func (d *Document) Target(name string) int {
	for i := range d.Targets {
		if d.Targets[i].Name == name {
			return i
		}
	}
	return -1
}

// VersionID returns the bare id of the target's version, or "".
func (t Target) VersionID() string {
	for i := len(t.Version) - 1; i >= 0; i-- {
		if t.Version[i] == ':' {
			return t.Version[i+1:]
		}
	}
	return t.Version
}

// Equal reports whether both name the same upstream, whatever they are called
// and however they are waited for.
func (t Target) Equal(other Target) bool {
	return t.Version == other.Version && t.Deployment == other.Deployment && t.Model == other.Model && t.URL == other.URL &&
		t.Credentials == other.Credentials && equalHeaders(t.Headers, other.Headers)
}

func equalHeaders(a, b []Header) bool {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// String returns the target as a user writes it, such as "version acme/flux:5c7d…".
func (t Target) String() string {
	switch {
	case t.Version != "":
		return "version " + t.Version
	case t.Deployment != "":
		return "deployment " + t.Deployment
	case t.Model != "":
		return "model " + t.Model
	case t.URL != "":
		return "url " + t.URL
	}
	return "none"
}
