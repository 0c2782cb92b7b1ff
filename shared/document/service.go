package document

import "perch/shared/lean"

// Kind says what clients address a service by.
type Kind string

// The kinds of service.
const (
	KindModel      Kind = "model"      // owner/name of a Replicate model
	KindDeployment Kind = "deployment" // owner/name of a Replicate deployment
	KindHTTP       Kind = "http"       // first path segment of a plain HTTP service
)

// Service names one rollout: what clients call, not who answers.
type Service struct {
	Kind Kind
	Name string
}

// ParseService reads "model:acme/flux", "deployment:acme/flux", "http:qwen" or
// "acme/flux", which is a model.
func ParseService(text string) (Service, error) {
	kind, name, found := lean.Cut(text, ':')
	if !found {
		kind, name = string(KindModel), text
	}
	s := Service{Kind: Kind(kind), Name: name}
	switch s.Kind {
	case KindModel, KindDeployment:
		if !IsOwnerName(name) {
			return Service{}, lean.Error("service " + quote(text) + ": write owner/name of letters, digits, '.', '_' and '-'")
		}
	case KindHTTP:
		if !IsSegment(name) || name == "v1" {
			return Service{}, lean.Error("service " + quote(text) + ": the name of an http service is one path segment of letters, digits, '.', '_' and '-', and not v1")
		}
	default:
		return Service{}, lean.Error("service " + quote(text) + ": the kind must be model, deployment or http")
	}
	return s, nil
}

// String returns the full name, such as "model:acme/flux".
func (s Service) String() string { return string(s.Kind) + ":" + s.Name }

func (s Service) key() string { return string(s.Kind) + ":" + colons(s.Name) }

// colons writes owner/name as owner:name: KV keys hold no slash.
func colons(name string) string {
	owner, rest, found := lean.Cut(name, '/')
	if !found {
		return name
	}
	return owner + ":" + rest
}

// RolloutKey is the KV key of the rollout document.
func (s Service) RolloutKey() string { return "rollout:" + s.key() }

// HaltKey is the KV key that holds the id of the halted rollout.
func (s Service) HaltKey() string { return "halt:" + s.key() }

// StateKey is the KV key of the orchestrator's state.
func (s Service) StateKey() string { return "state:" + s.key() }

// JudgeKey is the KV key of what the judge keeps of the rollout.
func (s Service) JudgeKey() string { return "judge:" + s.key() }

// HistoryPrefix begins the KV keys of the service's history.
func (s Service) HistoryPrefix() string { return "history:" + s.key() + ":" }

// AliasKey is the KV key under which another name of a service is found: kind
// is "version" (a bare id), "deployment" or "model" (owner/name).
func AliasKey(kind, name string) string {
	return "alias:" + kind + ":" + colons(name)
}

// ServiceOfRolloutKey is the inverse of RolloutKey.
func ServiceOfRolloutKey(key string) (Service, bool) {
	rest, found := lean.CutPrefix(key, "rollout:")
	if !found {
		return Service{}, false
	}
	kind, name, _ := lean.Cut(rest, ':')
	if Kind(kind) != KindHTTP {
		owner, rest, _ := lean.Cut(name, ':')
		name = owner + "/" + rest
	}
	s, err := ParseService(kind + ":" + name)
	return s, err == nil
}

// IsOwnerName reports whether text is owner/name as Replicate writes it.
//
//go:noinline
func IsOwnerName(text string) bool {
	owner, name, found := lean.Cut(text, '/')
	return found && IsSegment(owner) && IsSegment(name)
}

// IsSegment reports whether text is 1 to 100 letters, digits, '.', '_' or '-',
// the first of them a letter or digit.
//
//go:noinline
func IsSegment(text string) bool {
	if text == "" || len(text) > 100 {
		return false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// IsVersionID reports whether text is the 64 hexadecimal digits of a version.
//
//go:noinline
func IsVersionID(text string) bool {
	if len(text) != 64 {
		return false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
