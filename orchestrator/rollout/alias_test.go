package rollout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// alias reads an alias of the store; it must be there.
func (s store) alias(t *testing.T, key string) Alias {
	t.Helper()
	a, readable := DecodeAlias(s[key])
	require.True(t, readable, "%s is %q", key, s[key])
	require.Equal(t, service.String(), a.Service)
	return a
}

// TestAliasesThroughARollout: from its start to the next one, the ids of both
// targets lead to the service, under the names that they had in the rollout.
func TestAliasesThroughARollout(t *testing.T) {
	old, canary := "alias:version:"+oldID, "alias:version:"+newID
	for _, ways := range []struct {
		name    string
		changes []func(State) State
	}{
		{"promoted", []func(State) State{promoted}},
		{"rolled back", []func(State) State{rolledBack}},
		{"promoted and rolled back", []func(State) State{promoted, rolledBack}},
	} {
		t.Run(ways.name, func(t *testing.T) {
			kv, s := store{}, started(t)
			kv.apply(s.Writes(), -1, false)
			for _, change := range append(ways.changes, func(s State) State { return s }) {
				require.Equal(t, Alias{service.String(), document.Stable, s.ID(), s.Last.Time}, kv.alias(t, old))
				require.Equal(t, Alias{service.String(), document.Canary, s.ID(), s.Last.Time}, kv.alias(t, canary))
				require.Empty(t, Repair(kv.observe(), by(noon)).Writes)
				s = change(s)
				kv.apply(s.Writes(), -1, false)
			}
			stable := *s.Document.target(document.Stable)
			next, err := Start(New{Service: service, Rollout: "next", Policy: s.Policy, Base: s.Document.Document, After: 20,
				Stable: stable, Canary: document.Target{Deployment: "acme/flux-next"}}, by(noon.Add(time.Hour)))
			require.NoError(t, err)
			kv.apply(next.Writes(), -1, false)
			require.Equal(t, document.Stable, kv.alias(t, AliasKey(stable)).Variant)
			require.Equal(t, "next", kv.alias(t, AliasKey(stable)).Rollout)
			require.Equal(t, document.Canary, kv.alias(t, "alias:deployment:acme:flux-next").Variant)
		})
	}
}

func promoted(s State) State {
	s, err := s.Promote("", by(noon.Add(time.Minute)))
	if err != nil {
		panic(err)
	}
	return s
}

func rolledBack(s State) State { return s.Rollback("", by(noon.Add(2*time.Minute))) }

// TestAliasesBeforeTraffic: of the writes of a start, those of the aliases stand
// before the document that sends users to their targets.
func TestAliasesBeforeTraffic(t *testing.T) {
	position := map[Kind]int{}
	for i, w := range started(t).Writes() {
		position[w.Kind] = i
	}
	require.Less(t, position[WriteAlias], position[WriteDocument])
}

// TestAliasesRepaired: what is missing or was altered comes back; what another
// service has taken is left to it.
func TestAliasesRepaired(t *testing.T) {
	key := "alias:version:" + newID
	cases := []struct {
		name, stored string
		repaired     bool
	}{
		{"gone", "", true},
		{"unreadable", "{", true},
		{"of an earlier rollout", `{"service":"model:acme/flux","variant":"stable","rollout":"before"}`, true},
		{"of a version that knew no rollouts", `{"service":"model:acme/flux","variant":"canary"}`, true},
		{"another service's", `{"service":"model:acme/other","variant":"stable","rollout":"x"}`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			kv, s := store{}, started(t)
			kv.apply(s.Writes(), -1, false)
			kv[key] = []byte(c.stored)
			r := Repair(kv.observe(), by(noon))
			if !c.repaired {
				require.Empty(t, r.Writes)
				return
			}
			require.Equal(t, []string{"the aliases of the targets are not all there"}, r.Found)
			kv.settle(t, noon)
			require.Equal(t, document.Canary, kv.alias(t, key).Variant)
			require.Equal(t, s.ID(), kv.alias(t, key).Rollout)
		})
	}
}

// TestForeignAliases: one that another service keeps is never written.
func TestForeignAliases(t *testing.T) {
	foreign := "alias:version:" + oldID
	s, err := Start(New{Service: service, Rollout: "a", Policy: started(t).Policy, ForeignAliases: []string{foreign},
		Stable: document.Target{Version: oldID}, Canary: document.Target{Version: newID}}, by(noon))
	require.NoError(t, err)
	s, err = Decode(s.Encode())
	require.NoError(t, err)
	for _, s := range []State{s, promoted(s), rolledBack(promoted(s))} {
		for _, w := range s.Writes() {
			require.NotEqual(t, foreign, w.Key)
		}
		require.Equal(t, []string{"alias:version:" + newID}, s.AliasKeys())
	}
}

// TestStaleAliases: only those of the service, of no target, and of no use for a month.
func TestStaleAliases(t *testing.T) {
	s := started(t)
	at := func(service string, age time.Duration) []byte {
		return []byte(`{"service":"` + service + `","variant":"stable","written_at":"` + noon.Add(-age).Format(time.RFC3339) + `"}`)
	}
	stored := map[string][]byte{
		"alias:version:old": at("model:acme/flux", aliasRest), "alias:version:fresh": at("model:acme/flux", aliasRest-time.Hour),
		"alias:version:other": at("model:acme/other", 2*aliasRest), "alias:version:" + newID: at("model:acme/flux", 2*aliasRest),
		"alias:version:odd": []byte("{"), "alias:model:a:b": []byte(`{"service":"model:acme/flux","variant":"stable"}`),
	}
	require.Equal(t, []string{"alias:model:a:b", "alias:version:old"}, s.StaleAliases(stored, noon))
}
