package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/load"
	"perch/test/stack"
	"perch/test/upstream"
)

// Exit statuses of the orchestrator, as README lists them.
const (
	exitDone       = 0
	exitUsage      = 2
	exitRolledBack = 4
	exitRefused    = 6
)

// bake is the time at each step.
const bake = 3 * time.Second

// policy is the default one with minutes turned into parts of a second. Its
// latency limits are wide, because a busy machine makes latencies of its own.
var policy = policyOf(bake, time.Second, 20)

func policyOf(bake, lag time.Duration, minRequests int) string {
	return fmt.Sprintf(`method: thresholds
interval: 1s
look: 200ms
bake: %s
window: %s
history: 1m
cold_start: 0s
spread: 0s
lag: %s
min_requests: %d
failures: 2
unattended_after: 60s
deadline: 120s
metrics:
  latency_p95: &slow {rollback: {absolute: 3s, relative: 20}, promote: {absolute: 2s, relative: 15}}
  total_p50: *slow
  total_p95: *slow
`, bake, bake, lag, minRequests)
}

// conditions are how analytics answers.
var conditions = []struct {
	name   string
	lag    time.Duration
	sample int // queries see one in so many points
	policy string
	bad    float64 // error rate that cannot stay unseen in the policy's minimum of rows
}{
	{"plain", 0, 1, policy, 0.5},
	{"lag of 60 s, scaled", 60 * time.Second / timeScale, 1, policyOf(bake, 3*time.Second, 20), 0.5},
	// Without the breaker, which leaves too few points for one in ten to be seen.
	{"sampled 1 to 10", 0, 10, policyOf(2*bake, time.Second, 4) + "edge: {fallback: {breaker_failures: 0}}\n", 0.95},
}

// result is how a command ended.
type result struct {
	exit           int
	stdout, stderr string
}

// command prepares the real orchestrator against an API; the policy is YAML.
func (w *world) command(api, policy string, args ...string) *exec.Cmd {
	w.Helper()
	file := filepath.Join(w.TempDir(), "policy.yaml")
	require.NoError(w, os.WriteFile(file, []byte(policy), 0o600))
	binary, err := filepath.Abs("../../.build/orchestrator")
	require.NoError(w, err)
	require.FileExists(w, binary, "the orchestrator is not built: run make orchestrator")
	cmd := exec.CommandContext(w.Context(), binary, args...)
	cmd.Dir = w.TempDir()
	cmd.Env = append(os.Environ(),
		"CLOUDFLARE_BASE_URL="+api, "CLOUDFLARE_ACCOUNT_ID="+w.stack.Account, "CLOUDFLARE_API_TOKEN="+w.stack.Token,
		"PERCH_NAMESPACE_ID="+w.stack.Namespace, "PERCH_DATASET="+w.stack.Dataset, "PERCH_WORKER_URL="+w.stack.Places[0].URL,
		"PERCH_SEAL_KEY="+sealKey.Text(), "REPLICATE_API_TOKEN=test-token", "REPLICATE_BASE_URL="+w.upstream.URL()+"/v1",
		"PERCH_POLICY="+file, "GITHUB_STEP_SUMMARY=", "GITHUB_OUTPUT=")
	return cmd
}

// finish runs a command to its end.
func (w *world) finish(cmd *exec.Cmd) result {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		w.Errorf("run %v: %v", cmd.Args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// orchestrate runs a command of the orchestrator and expects its exit status.
func (w *world) orchestrate(exit int, policy string, args ...string) result {
	w.Helper()
	r := w.finish(w.command(w.stack.API, policy, args...))
	require.Equal(w, exit, r.exit, "orchestrator %v\n%s%s", args, r.stdout, r.stderr)
	return r
}

// begin starts a rollout of a model whose stable version serves everyone.
func (w *world) begin(model, policy string) {
	w.Helper()
	stable, canary := model+":"+versionID(model, document.Stable), model+":"+versionID(model, document.Canary)
	w.orchestrate(exitDone, policy, "init", "--stable", "version="+stable, model)
	w.orchestrate(exitDone, policy, "start", "--canary", "version="+canary, model)
}

// document reads a model's document past every cache.
func (w *world) document(model string) *document.Document {
	w.Helper()
	values, err := w.stack.KVValues(w.Context())
	require.NoError(w, err)
	d, err := document.Parse([]byte(values[document.Service{Kind: document.KindModel, Name: model}.RolloutKey()]))
	require.NoError(w, err)
	return d
}

// traffic sends requests of many users until the test ends.
func (w *world) traffic(model string) *load.Generator {
	w.Helper()
	g, err := load.New(load.Options{
		Service: load.Model(w.stack.Places[0].URL, "test-token", model), Users: 5_000, RatePerSecond: 200, MaxInFlight: 100,
	})
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	w.Cleanup(func() {
		cancel()
		<-done
	})
	return g
}

// stepUntil steps until the document's share is no longer from, and returns
// what the last step said.
func (w *world) stepUntil(model, policy string, from int, exit int) result {
	w.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for time.Now().Before(deadline) {
		r := w.finish(w.command(w.stack.API, policy, "step", "--json", model))
		if w.document(model).BasisPoints != from {
			require.Equal(w, exit, r.exit, r.stdout+r.stderr)
			return r
		}
		require.Equal(w, exitDone, r.exit, r.stdout+r.stderr)
	}
	w.Fatalf("the share never left %d basis points", from)
	return result{}
}

func (w *world) setConditions(lag time.Duration, sample int) {
	w.Helper()
	lagMS := int(lag.Milliseconds())
	require.NoError(w, w.stack.SetAnalytics(w.Context(), stack.AnalyticsUpdate{LagMS: &lagMS, Sample: &sample}))
}

// TestGoodCanaryAdvancesOneStep: after its bake time and not before, a step
// raises a good canary to the next step, and the step after that holds.
func TestGoodCanaryAdvancesOneStep(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/good0", "acme/good1", "acme/good2"}})
	for i, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			w := w.within(t)
			model := []string{"acme/good0", "acme/good1", "acme/good2"}[i]
			w.setConditions(c.lag, c.sample)
			w.begin(model, c.policy)
			began := time.Now()
			w.traffic(model)
			w.stepUntil(model, c.policy, 500, exitDone)
			require.GreaterOrEqual(t, time.Since(began), bake, "raised before its bake time")
			require.Equal(t, 2000, w.document(model).BasisPoints)
			w.orchestrate(exitDone, c.policy, "step", model)
			require.Equal(t, 2000, w.document(model).BasisPoints, "the next step's bake time has only begun")
		})
	}
}

// TestBadCanaryGetsZero: a step writes 0 for a canary that fails many requests.
func TestBadCanaryGetsZero(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/bad0", "acme/bad1", "acme/bad2"}})
	for i, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			w := w.within(t)
			model := []string{"acme/bad0", "acme/bad1", "acme/bad2"}[i]
			w.setConditions(c.lag, c.sample)
			bad := upstream.Behavior{Latency: upstream.Fixed(2 * time.Millisecond), ErrorRate: c.bad}
			require.NoError(t, w.upstream.SetBehavior(versionID(model, document.Canary), bad))
			w.begin(model, c.policy)
			w.traffic(model)
			r := w.stepUntil(model, c.policy, 500, exitRolledBack)
			require.Equal(t, "rollback", decision(w, r))
			require.Equal(t, 0, w.document(model).BasisPoints)
			values, err := w.stack.KVValues(t.Context())
			require.NoError(t, err)
			require.Equal(t, w.document(model).Rollout, values["halt:model:acme:"+model[len("acme/"):]])
			w.awaitGone(model)
		})
	}
}

// TestNoDataHolds: without traffic a step neither raises nor rolls back.
func TestNoDataHolds(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/quiet"}})
	w.begin("acme/quiet", policy)
	<-time.After(bake + time.Second) // that nothing happens is what is tested
	r := w.orchestrate(exitDone, policy, "step", "--json", "acme/quiet")
	require.Equal(t, "hold", decision(w, r))
	require.Equal(t, 500, w.document("acme/quiet").BasisPoints)

	down := true
	require.NoError(t, w.stack.SetAnalytics(t.Context(), stack.AnalyticsUpdate{Down: &down}))
	r = w.orchestrate(exitDone, policy, "step", "--json", "acme/quiet")
	require.Equal(t, "hold", decision(w, r))
	require.Equal(t, 500, w.document("acme/quiet").BasisPoints)
}

// TestRunPromotes: run takes a good canary through all steps and makes it stable.
func TestRunPromotes(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/run"}})
	quick := policyOf(2*time.Second, time.Second, 10)
	w.begin("acme/run", quick)
	w.traffic("acme/run")
	cmd := w.command(w.stack.API, quick, "run", "acme/run")
	summary, output := filepath.Join(t.TempDir(), "summary"), filepath.Join(t.TempDir(), "output")
	cmd.Env = append(cmd.Env, "GITHUB_STEP_SUMMARY="+summary, "GITHUB_OUTPUT="+output)
	r := w.finish(cmd)
	require.Equal(t, exitDone, r.exit, r.stdout+r.stderr)
	d := w.document("acme/run")
	require.Equal(t, versionID("acme/run", document.Canary), d.Targets[d.Target(document.Stable)].VersionID())
	require.Equal(t, -1, d.Target(document.Canary))
	require.Equal(t, 0, d.BasisPoints)

	text, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Contains(t, string(text), "phase=promoted")
	text, err = os.ReadFile(summary)
	require.NoError(t, err)
	require.Contains(t, string(text), "acme/run")

	var shares []float64
	for _, entry := range w.history("acme/run") {
		shares = append(shares, entry.To)
	}
	require.Subset(t, shares, []float64{5, 20, 50, 100})
}

// TestSetByHand: the hand on the lever reaches every place, both ways.
func TestSetByHand(t *testing.T) {
	w := newWorld(t, worldOptions{Places: 2, Models: []string{"acme/hand"}})
	w.begin("acme/hand", policy)
	w.orchestrate(exitDone, policy, "set", "--percentage", "100", "acme/hand")
	for place := range w.stack.Places {
		w.awaitVariant(place, "acme/hand", "user", document.Canary)
	}
	w.orchestrate(exitDone, policy, "set", "--percentage", "0", "acme/hand")
	w.awaitGone("acme/hand")
	w.orchestrate(exitDone, policy, "rollback", "acme/hand")
	w.orchestrate(exitRefused, policy, "set", "--percentage", "5", "acme/hand")
	w.orchestrate(exitDone, policy, "set", "--percentage", "0", "acme/hand")
}

// TestDoctor: all is well once a request has been served, and a missing
// permission is named with its mend.
func TestDoctor(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/health"}})
	w.begin("acme/health", policy)
	require.Equal(t, 201, w.predict(0, "acme/health", "user").Status)
	require.Eventually(t, func() bool {
		points, err := w.stack.Flush(t.Context())
		require.NoError(t, err)
		return points > 0
	}, 10*time.Second, 20*time.Millisecond)
	w.orchestrate(exitDone, policy, "doctor")

	cmd := w.command(w.stack.API, policy, "doctor")
	cmd.Env = append(cmd.Env, "CLOUDFLARE_API_TOKEN=local-token-kv")
	r := w.finish(cmd)
	require.Equal(t, 1, r.exit, r.stdout+r.stderr)
	require.Contains(t, r.stdout, "Account Analytics: Read")
}

// TestBadInputIsRefused: set and validate say what is allowed, and write nothing.
func TestBadInputIsRefused(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/input"}})
	w.begin("acme/input", policy)
	before := w.document("acme/input")
	for _, percentage := range []string{"250", "-1", "12.345", "ten", ""} {
		r := w.orchestrate(exitUsage, policy, "set", "--percentage", percentage, "acme/input")
		require.Contains(t, r.stderr, "0 to 100", "percentage %q", percentage)
	}
	require.Equal(t, before, w.document("acme/input"))

	good := string(before.Encode())
	for name, text := range unusable(good) {
		file := filepath.Join(t.TempDir(), "document.json")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		r := w.orchestrate(exitUsage, policy, "validate", file)
		require.NotEmpty(t, r.stderr+r.stdout, name)
	}
	file := filepath.Join(t.TempDir(), "document.json")
	require.NoError(t, os.WriteFile(file, []byte(good), 0o600))
	w.orchestrate(exitDone, policy, "validate", file)
}

// historyEntry is the part of an entry that the tests read.
type historyEntry struct {
	Generation int64   `json:"generation"`
	Action     string  `json:"action"`
	To         float64 `json:"to"`
}

func (w *world) history(model string) []historyEntry {
	w.Helper()
	r := w.orchestrate(exitDone, policy, "history", "--json", model)
	var entries []historyEntry
	require.NoError(w, json.Unmarshal([]byte(r.stdout), &entries), r.stdout)
	return entries
}

// within is the same world for a subtest.
func (w *world) within(t *testing.T) *world {
	inner := *w
	inner.T = t
	return &inner
}

// awaitGone waits for the cache time and then expects stable of every place.
func (w *world) awaitGone(model string) {
	w.Helper()
	<-time.After(settled)
	for place := range w.stack.Places {
		for i := range 200 {
			r := w.predict(place, model, "user-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
			require.Equal(w, document.Stable, r.variant(), "place %d", place)
		}
	}
}
