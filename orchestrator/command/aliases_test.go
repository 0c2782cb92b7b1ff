package command

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestAliasesOutliveTheirRollout: the former stable's id leads to the service
// until a start that comes a month later.
func TestAliasesOutliveTheirRollout(t *testing.T) {
	b := newBench(t).start()
	b.clock.advance(60 * 24 * time.Hour)
	b.do(0, "promote", "acme/flux")
	b.do(0, "start", "--canary", "version=acme/flux:"+nextID, "acme/flux")
	require.Equal(t, document.Stable, b.alias("version:"+oldID).Variant, "somebody may still poll what ran on it")
	require.Equal(t, document.Stable, b.alias("version:"+newID).Variant)
	require.Equal(t, document.Canary, b.alias("version:"+nextID).Variant)
	b.do(0, "rollback", "acme/flux")
	b.clock.advance(31 * 24 * time.Hour)
	plan := b.do(0, "start", "--dry-run", "--canary", "deployment=acme/flux-next", "acme/flux")
	require.Contains(t, plan.stdout, "nothing any more under alias:version:"+oldID)
	require.Contains(t, b.kv.values, "alias:version:"+oldID)
	b.do(0, "start", "--canary", "deployment=acme/flux-next", "acme/flux")
	require.NotContains(t, b.kv.values, "alias:version:"+oldID)
	require.NotContains(t, b.kv.values, "alias:version:"+nextID)
	require.Equal(t, document.Stable, b.alias("version:"+newID).Variant)
	require.Equal(t, document.Canary, b.alias("deployment:acme:flux-next").Variant)
}

// TestAliasesOfAnotherService: one that has the same target keeps its alias, one
// that is gone does not.
func TestAliasesOfAnotherService(t *testing.T) {
	other := []string{"start", "--stable", "version=acme/flux:" + oldID, "--canary", "deployment=acme/other-next", "deployment:acme/other"}
	b := newBench(t)
	b.do(0, other...)
	r := b.do(0, "start", "--stable", "version=acme/flux:"+oldID, "--canary", "version=acme/flux:"+newID, "acme/flux")
	require.Contains(t, r.stdout, "stays with deployment:acme/other")
	require.Equal(t, "deployment:acme/other", b.alias("version:"+oldID).Service)
	b.do(0, "promote", "acme/flux")
	b.do(0, "rollback", "acme/flux")
	require.Equal(t, "deployment:acme/other", b.alias("version:"+oldID).Service)

	for key := range b.kv.values {
		if key != "alias:version:"+oldID {
			delete(b.kv.values, key)
		}
	}
	b.start()
	require.Equal(t, "model:acme/flux", b.alias("version:"+oldID).Service)
}

// TestAliasesLost: a step writes them again; that removing old ones fails is no
// reason to fail a start.
func TestAliasesLost(t *testing.T) {
	b := newBench(t).start()
	delete(b.kv.values, "alias:version:"+newID)
	r := b.do(0, "step", "acme/flux")
	require.Contains(t, r.stdout, "repaired: the aliases of the targets are not all there")
	require.Equal(t, document.Canary, b.alias("version:"+newID).Variant)

	b.do(0, "rollback", "acme/flux")
	b.kv.listErr = errors.New("list KV keys alias:*: status 503")
	r = b.do(0, "start", "--canary", "version=acme/flux:"+nextID, "acme/flux")
	require.Contains(t, r.stdout, "aliases of earlier rollouts were not removed: list KV keys alias:*: status 503")
}
