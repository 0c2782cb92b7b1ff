package rollout

import (
	"encoding/json"
	"slices"
	"time"

	"perch/shared/document"
)

// Alias is the value of an alias key: whose a version, deployment or model is.
// The edge finds through it the service of a request that names the target
// alone, and the variant of a prediction that it did not make itself.
type Alias struct {
	Service string `json:"service"`
	Variant string `json:"variant"` // in Rollout, also after a promotion: stable or canary
	Rollout string `json:"rollout,omitempty"`
	// WrittenAt is when the target was last known to be in use.
	WrittenAt time.Time `json:"written_at,omitzero"`
}

// aliasRest is how long an alias outlives its target's last use: clients have
// the ids of former stable versions in their configuration.
const aliasRest = 30 * 24 * time.Hour

// DecodeAlias reads the value of an alias key; false if it is unreadable.
func DecodeAlias(text []byte) (Alias, bool) {
	var a Alias
	err := json.Unmarshal(text, &a)
	return a, err == nil && a.Service != ""
}

// is reports that both say the same of a target.
func (a Alias) is(other Alias) bool {
	a.WrittenAt, other.WrittenAt = time.Time{}, time.Time{}
	return a == other
}

// arms are the two targets of the rollout under the names that they have had
// since its start. A promotion changes who serves, but not which of the two a
// prediction ran on.
func (s State) arms() []document.Target {
	stable, canary := s.Document.target(document.Stable), s.Document.target(document.Canary)
	if s.Phase == Promoted && s.Former != nil {
		former := s.Former.target(document.Stable)
		canary, stable = stable, &former
	}
	var arms []document.Target
	for _, arm := range []struct {
		name   string
		target *document.Target
	}{{document.Stable, stable}, {document.Canary, canary}} {
		if arm.target != nil {
			t := *arm.target
			t.Name = arm.name
			arms = append(arms, t)
		}
	}
	return arms
}

// AliasKeys are the keys that lead to the rollout's targets, other services'
// left out.
func (s State) AliasKeys() []string {
	var keys []string
	for _, t := range s.arms() {
		if key := AliasKey(t); key != "" && !slices.Contains(s.ForeignAliases, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// aliasWrites names both targets as the service's.
func (s State) aliasWrites() []Write {
	return slices.DeleteFunc(aliasWrites(s.Document.Service, s.ID(), s.arms(), s.Last.Time), func(w Write) bool {
		return slices.Contains(s.ForeignAliases, w.Key)
	})
}

// missingAliases are those of aliasWrites that the store does not hold. What
// another service has taken over meanwhile is left to it.
func (s State) missingAliases(stored map[string][]byte) []Write {
	return slices.DeleteFunc(s.aliasWrites(), func(w Write) bool {
		have, readable := DecodeAlias(stored[w.Key])
		want, _ := DecodeAlias(w.Value)
		return readable && (have.is(want) || have.Service != want.Service)
	})
}

// AliasWrites names a document's stable and canary target as its service's.
func AliasWrites(d *document.Document, now time.Time) []Write {
	var arms []document.Target
	for _, variant := range []string{document.Stable, document.Canary} {
		if i := d.Target(variant); i >= 0 {
			arms = append(arms, d.Targets[i])
		}
	}
	return aliasWrites(d.Service, d.Rollout, arms, stamp(now))
}

func aliasWrites(service document.Service, rollout string, arms []document.Target, at time.Time) []Write {
	var writes []Write
	for _, t := range arms {
		if key := AliasKey(t); key != "" {
			value, _ := json.Marshal(Alias{service.String(), t.Name, rollout, at})
			writes = append(writes, Write{WriteAlias, key, value})
		}
	}
	return writes
}

// AliasKey is the key that leads to a target's service; "" for a url target.
func AliasKey(t document.Target) string {
	switch {
	case t.Version != "":
		return document.AliasKey("version", t.VersionID())
	case t.Deployment != "":
		return document.AliasKey("deployment", t.Deployment)
	case t.Model != "":
		return document.AliasKey("model", t.Model)
	}
	return ""
}

// StaleAliases returns the keys that may be removed at the start of a rollout,
// sorted: those of its service that no target of the new rollout needs, and that
// nobody has needed for a month.
func (s State) StaleAliases(stored map[string][]byte, now time.Time) []string {
	var stale []string
	for key, text := range stored {
		alias, readable := DecodeAlias(text)
		if readable && alias.Service == s.Document.Service.String() && now.Sub(alias.WrittenAt) >= aliasRest &&
			!slices.Contains(s.AliasKeys(), key) {
			stale = append(stale, key)
		}
	}
	slices.Sort(stale)
	return stale
}
