package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/policy"
	"perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/stack"
)

const (
	fleetSize = 300
	// callsAllowed is what Cloudflare's API takes in 5 minutes.
	callsAllowed = 1200
	// fleetInterval stands for the minute between two looks.
	fleetInterval = 4 * time.Second
)

// wideLimits is a policy that few requests prove: the calls are what is tested.
const wideLimits = `
steps: [50, 100]
interval: 4s
look: 4s
bake: 4s
window: 4s
reference: 4s
history: 4s
lag: 0s
cold_start: 0s
spread: 0s
expire: 60s
unattended_after: 1h
deadline: 40s
metrics:
  errors: {rollback: {absolute: 60}, promote: {absolute: 20}}
  client_errors: off
  latency_p50: off
  latency_p95: off
  total_p50: off
  total_p95: off
  first_token_p50: off
  first_token_p95: off
  cost_p50: off
  cost_p95: off
`

// ocean is a real stack with many services in it.
type ocean struct {
	*testing.T
	stack  *stack.Stack
	config cloudflare.Config
	clock  *fakeClock // of the orchestrator: it looks exactly when an interval has closed
	served int        // how often: each time other users fail
	looked bool
}

func newOcean(t *testing.T) *ocean {
	s, err := stack.Start(t.Context(), stack.Options{Worker: "test/stack/testdata/worker", Config: "test/stack/testdata/wrangler.toml", TimeScale: 1000})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	config := cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset}
	return &ocean{T: t, stack: s, config: config, clock: &fakeClock{}}
}

func serviceNumber(i int) document.Service {
	return document.Service{Kind: document.KindHTTP, Name: fmt.Sprintf("model-%03d", i)}
}

// begin starts all rollouts at the beginning of the next interval.
func (o *ocean) begin() {
	o.Helper()
	p, err := policy.Parse([]byte(wideLimits))
	require.NoError(o, err)
	o.clock.now = o.nextInterval()
	var pairs []cloudflare.Pair
	for i := range fleetSize {
		s, err := rollout.Start(rollout.New{
			Service: serviceNumber(i), Rollout: "r1", Policy: p,
			Stable: document.Target{URL: "https://one.example/"}, Canary: document.Target{URL: "https://two.example/"},
		}, rollout.By{Actor: "ada", Now: o.clock.now})
		require.NoError(o, err)
		for _, w := range s.Writes() {
			pairs = append(pairs, cloudflare.Pair{Key: w.Key, Value: w.Value})
		}
	}
	require.NoError(o, cloudflare.NewKV(o.config).PutMany(o.Context(), pairs))
}

// nextInterval waits until one begins, and returns when it did.
func (o *ocean) nextInterval() time.Time {
	at := time.Now().Truncate(fleetInterval).Add(fleetInterval)
	time.Sleep(time.Until(at))
	return at.UTC()
}

// serve writes what each service answered: of each arm ten requests, all of which
// fail where the canary is to.
func (o *ocean) serve(variants []string, fails func(i int) bool) {
	o.Helper()
	o.served++
	if now := time.Now(); now.Sub(now.Truncate(fleetInterval)) > fleetInterval/2 {
		o.nextInterval() // so that a service's arms fall into the same
	}
	var points []any
	for i := range fleetSize {
		for _, variant := range variants {
			if variant == document.Canary && fails(i) {
				for user := range 10 {
					points = append(points, pointOf(i, variant, telemetry.OutcomeError, fmt.Sprintf("%02x%062x", 10*o.served+user, i), 1))
				}
				continue
			}
			points = append(points, pointOf(i, variant, telemetry.OutcomeOK, fmt.Sprintf("%064x", i), 10))
		}
	}
	for part := range slices.Chunk(points, pointsAtOnce) {
		text, err := json.Marshal(part)
		require.NoError(o, err)
		response, err := http.Post(o.stack.Places[0].URL+"/points", "application/json", bytes.NewReader(text))
		require.NoError(o, err)
		require.NoError(o, response.Body.Close())
		require.Equal(o, http.StatusOK, response.StatusCode)
	}
	_, err := o.stack.Flush(o.Context())
	require.NoError(o, err)
}

// pointsAtOnce is how many different points, ten times each at most, one request
// writes: 250 is what Cloudflare takes.
const pointsAtOnce = 25

// pointOf is a point, and how often it is written.
func pointOf(i int, variant, outcome, user string, times int) any {
	service := serviceNumber(i).String()
	texts := map[telemetry.Column]string{
		telemetry.Service: service, telemetry.Variant: variant, telemetry.Kind: telemetry.KindRequest, telemetry.Outcome: outcome,
		telemetry.Reason: telemetry.ReasonPercentage, telemetry.Rollout: "r1", telemetry.User: user,
	}
	blobs := make([]string, 14)
	for column := range blobs {
		blobs[column] = texts[telemetry.Column(fmt.Sprintf("blob%d", column+1))]
	}
	return map[string]any{"count": times, "point": map[string]any{
		"blobs": blobs, "doubles": make([]float64, 10), "indexes": []string{telemetry.IndexOf(service, variant)},
	}}
}

// changes are what looks did, by the words for it.
type changes map[string]int

// look steps all services at the end of the interval after the last look's, and
// bounds the calls that it took.
func (o *ocean) look(happened changes) {
	o.Helper()
	o.clock.now = o.clock.now.Add(fleetInterval)
	time.Sleep(time.Until(o.clock.now))
	before, err := o.stack.Calls(o.Context())
	require.NoError(o, err)
	var out, problems bytes.Buffer
	a := &app{
		env: map[string]string{"CLOUDFLARE_ACCOUNT_ID": o.config.Account, "CLOUDFLARE_API_TOKEN": o.config.Token, "PERCH_NAMESPACE_ID": o.config.Namespace,
			"PERCH_DATASET": o.config.Dataset, "CLOUDFLARE_BASE_URL": o.config.BaseURL, "USER": "ada"},
		stdin: strings.NewReader(""), stdout: &out, stderr: &problems, hostname: "desk", clock: o.clock,
		connect: func(c cloudflare.Config) (Store, Source) { return cloudflare.NewKV(c), cloudflare.NewAnalytics(c) },
	}
	began := time.Now()
	code := a.run(o.Context(), []string{"orchestrator", "step", "--all"})
	took := time.Since(began).Round(time.Millisecond)
	after, err := o.stack.Calls(o.Context())
	require.NoError(o, err)
	all, did := 0, changes{}
	for name, n := range after {
		all += n - before[name]
	}
	for _, change := range []string{raised, promoted, rolledBack} {
		did[change] = strings.Count(out.String(), change)
		happened[change] += did[change]
	}
	want := exitDone
	if did[rolledBack] > 0 {
		want = exitRolledBack
	}
	require.Equal(o, want, code, "%s%s", out.String(), problems.String())
	o.Logf("a look took %s and %d calls: %v", took, all, did)
	require.Less(o, 5*all, callsAllowed/2)
	if o.looked { // the first one asks for the history as well
		require.Equal(o, 1, after[queries]-before[queries])
	}
	o.looked = true
}

const (
	raised     = "raise 50 → 100 %"
	promoted   = "promote: all users"
	rolledBack = "rollback 100 → 0 %"
	queries    = "POST analytics_engine/sql"
)

// catchUp looks until everything that was served has been judged.
func (o *ocean) catchUp(happened changes) {
	o.Helper()
	for end := time.Now(); o.clock.now.Before(end); {
		o.look(happened)
	}
}

// TestHundredsOfServices: at a look a minute, 300 services take less than half of
// the calls that the API allows, also when all of them change at once; and one
// query measures them all.
func TestHundredsOfServices(t *testing.T) {
	t.Parallel()
	o, happened := newOcean(t), changes{}
	o.begin()
	o.look(happened)
	o.look(happened)
	require.Equal(t, changes{raised: 0, promoted: 0, rolledBack: 0}, happened)

	o.serve([]string{document.Stable, document.Canary}, func(int) bool { return false })
	o.catchUp(happened)
	require.Equal(t, fleetSize, happened[raised])
	for range 5 { // no interval rolls back alone
		if happened[rolledBack] == fleetSize/3 {
			break
		}
		o.serve([]string{document.Canary}, func(i int) bool { return i%3 == 0 })
		o.catchUp(happened)
	}
	require.Equal(t, changes{raised: fleetSize, promoted: fleetSize * 2 / 3, rolledBack: fleetSize / 3}, happened)
}
