package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"perch/orchestrator/cloudflare"
	"perch/shared/seal"
)

// Secrets of the worker that are Perch's own.
const (
	secretSealKey  = "PERCH_SEAL_KEY"
	secretPrevious = "PERCH_SEAL_KEY_PREVIOUS"
)

// initSealKey is what init did about the key that seals.
type initSealKey struct {
	ID      string `json:"id,omitempty"`   // as the worker's health shows it
	Text    string `json:"text,omitempty"` // of a key that was made; shown this once
	Set     bool   `json:"set"`            // as the worker's secret, now
	Present bool   `json:"present"`        // the worker had one, which stays
	Rotated bool   `json:"rotated"`
	Problem string `json:"problem,omitempty"` // why the worker's secret was not set
}

// initKey gives the worker a key unless it has one, or with rotate a new one.
func (a *app) initKey(ctx context.Context, s settings, rotate, force bool) (initSealKey, error) {
	account := cloudflare.NewAccount(s.cloudflare)
	bindings, err := account.Bindings(ctx, s.worker)
	present := slices.ContainsFunc(bindings, func(b cloudflare.Binding) bool { return b.Name == secretSealKey })
	if rotate {
		if err != nil {
			return initSealKey{}, mend(err, permissionScriptsWrite, "deploy the worker first: its key is its secret")
		}
		return a.rotateKey(ctx, s, present, force)
	}
	if present {
		return initSealKey{Present: true}, nil
	}
	if s.dryRun {
		return initSealKey{}, nil
	}
	result, key, keyErr := a.newKey(true)
	if keyErr != nil {
		return result, keyErr
	}
	if err == nil {
		err = account.SetSecret(ctx, s.worker, secretSealKey, key.Text())
	}
	if err != nil && !errors.Is(err, cloudflare.ErrNotFound) {
		result.Problem = err.Error()
	}
	result.Set = err == nil
	return result, nil
}

// newKey makes a key, or where it may takes the one that is set here.
func (a *app) newKey(mayBeSet bool) (initSealKey, seal.Key, error) {
	if mayBeSet {
		key, err := a.sealKey()
		if err != nil || key != nil {
			return initSealKey{ID: idOf(key)}, orNone(key), err
		}
	}
	var b [seal.KeyBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return initSealKey{}, seal.Key{}, fmt.Errorf("make seal key: %w", err)
	}
	key := seal.NewKey(b)
	return initSealKey{ID: key.ID(), Text: key.Text()}, key, nil
}

func idOf(key *seal.Key) string {
	if key == nil {
		return ""
	}
	return key.ID()
}

func orNone(key *seal.Key) seal.Key {
	if key == nil {
		return seal.Key{}
	}
	return *key
}

// rotateKey makes the worker seal with a new key, and open what the present one
// has sealed as long as it is kept. The order is such that no seal is refused in
// between.
func (a *app) rotateKey(ctx context.Context, s settings, present, force bool) (initSealKey, error) {
	former, err := a.sealKey()
	switch {
	case err != nil:
		return initSealKey{}, err
	case former == nil && present && !force:
		return initSealKey{}, invalid("set PERCH_SEAL_KEY to the present key; with --force what it has sealed does not open any more",
			"the present seal key is not given")
	}
	if former != nil && present {
		if err := a.isWorkers(ctx, s, *former); err != nil && !force {
			return initSealKey{}, err
		}
	}
	if s.dryRun {
		return initSealKey{}, nil
	}
	result, key, err := a.newKey(false)
	if err != nil {
		return result, err
	}
	account := cloudflare.NewAccount(s.cloudflare)
	if former != nil {
		if err := account.SetSecret(ctx, s.worker, secretPrevious, former.Text()); err != nil {
			return initSealKey{}, mend(err, permissionScriptsWrite, checkAccount)
		}
	}
	if err := account.SetSecret(ctx, s.worker, secretSealKey, key.Text()); err != nil {
		return initSealKey{}, mend(err, permissionScriptsWrite, checkAccount)
	}
	result.Set, result.Rotated = true, true
	return result, nil
}

// isWorkers checks that the key is the one that the worker seals with, as far as
// its health tells: another would be kept in its place.
func (a *app) isWorkers(ctx context.Context, s settings, key seal.Key) error {
	ids, err := healthKeys(ctx, s.workerURL)
	if err != nil {
		return err
	}
	if len(ids) == 0 || ids[0] == key.ID() {
		return nil
	}
	return refused("set PERCH_SEAL_KEY to the worker's key; with --force what that has sealed does not open any more",
		"the key here, %s, is not the worker's, %s", key.ID(), ids[0])
}

// workerHealth is what a worker says of itself.
type workerHealth struct {
	Status string   `json:"status"`
	Bypass bool     `json:"bypass"`
	Seal   []string `json:"seal"` // ids of its keys, the one that seals first
}

// healthKeys asks the worker for the ids of its keys; none where its URL is not
// known.
func healthKeys(ctx context.Context, workerURL string) ([]string, error) {
	if workerURL == "" {
		return nil, nil
	}
	answer, err := cloudflare.Health(ctx, workerURL)
	if err != nil {
		return nil, err
	}
	var health workerHealth
	if err := json.Unmarshal([]byte(answer), &health); err != nil {
		return nil, errors.New("read worker health: this is no answer of Perch")
	}
	return health.Seal, nil
}

func (a *app) printSealKey(k initSealKey, dryRun bool, e environmentOf) {
	switch {
	case k.Present:
		fmt.Fprintln(a.stdout, "the worker has a key that seals what clients bring back")
	case dryRun:
		fmt.Fprintln(a.stdout, "would make the key that seals what clients bring back, and set it as the worker's secret "+secretSealKey)
	case k.Set:
		fmt.Fprintf(a.stdout, "set the worker's secret %s: key %s\n", secretSealKey, k.ID)
	default:
		if k.Problem != "" {
			fmt.Fprintln(a.stdout, k.Problem)
		}
		fmt.Fprintf(a.stdout, "made key %s that seals what clients bring back; after the deployment set it:\n"+
			"  npm run wrangler -- secret put %s --env %s\n", k.ID, secretSealKey, e.name)
	}
	if k.Rotated {
		fmt.Fprintf(a.stdout, "the former key is kept as %s: delete that when nothing it sealed is of use any more, such as after a week\n", secretPrevious)
	}
}
