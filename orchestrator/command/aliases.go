package command

import (
	"context"
	"fmt"

	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// aliasPrefix begins all alias keys.
const aliasPrefix = "alias:"

// foreignAliases returns those alias keys of the targets that lead to another
// service and stay with it, as one of its own targets is the same.
func (x *session) foreignAliases(ctx context.Context, targets ...document.Target) (keys, notes []string, err error) {
	wanted := map[string]bool{}
	for _, t := range targets {
		if key := rollout.AliasKey(t); key != "" {
			wanted[key] = true
		}
	}
	for key := range wanted {
		values, err := x.read(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		alias, readable := rollout.DecodeAlias(values[key])
		if !readable || alias.Service == x.service.String() {
			continue
		}
		uses, err := x.uses(ctx, alias.Service, key)
		if err != nil {
			return nil, nil, err
		}
		if uses {
			keys = append(keys, key)
			notes = append(notes, fmt.Sprintf("%s stays with %s, which has the same target: requests that name it alone are routed there", key, alias.Service))
		}
	}
	return keys, notes, nil
}

// uses reports that a service's document has a stable or canary of that alias.
func (x *session) uses(ctx context.Context, name, key string) (bool, error) {
	service, err := document.ParseService(name)
	if err != nil {
		return false, nil // nobody's
	}
	values, err := x.read(ctx, service.RolloutKey())
	if err != nil {
		return false, err
	}
	d, err := document.Parse(values[service.RolloutKey()])
	if err != nil {
		return false, nil
	}
	for _, variant := range []string{document.Stable, document.Canary} {
		if i := d.Target(variant); i >= 0 && rollout.AliasKey(d.Targets[i]) == key {
			return true, nil
		}
	}
	return false, nil
}

// dropStaleAliases removes what earlier rollouts of the service have left. What
// fails is left to the next start.
func (x *session) dropStaleAliases(ctx context.Context, s rollout.State) error {
	keys, err := x.store.List(ctx, aliasPrefix)
	if err != nil {
		return err
	}
	stored, err := x.store.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	for _, key := range s.StaleAliases(stored, x.app.clock.Now()) {
		if x.settings.dryRun {
			x.planned = append(x.planned, rollout.Write{Kind: rollout.WriteAlias, Key: key})
			continue
		}
		if err := x.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
