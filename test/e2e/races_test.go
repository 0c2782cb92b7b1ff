package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// gate stands between an orchestrator and the API and stops its n-th write to
// KV, before or after it has taken effect.
type gate struct {
	url     string
	reached chan struct{} // closed when the write has come
	verdict chan bool     // true lets the write go on, false forgets it
	writes  atomic.Int64
}

func (w *world) gate(stop int, persist bool) *gate {
	w.Helper()
	api, err := url.Parse(w.stack.API)
	require.NoError(w, err)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: api.Scheme, Host: api.Host})
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	g := &gate{reached: make(chan struct{}), verdict: make(chan bool, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		isWrite := r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/storage/kv/") && !strings.HasSuffix(r.URL.Path, "/bulk/get")
		if !isWrite || g.writes.Add(1) != int64(stop) {
			proxy.ServeHTTP(rw, r)
			return
		}
		if persist {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		close(g.reached)
		if <-g.verdict {
			proxy.ServeHTTP(rw, r)
		}
	}))
	w.Cleanup(server.Close)
	g.url = server.URL + api.Path
	return g
}

// stepWrites is how many writes a step makes that raises a canary: the judge's
// memory, the state, the document, the history.
const stepWrites = 4

// due starts a rollout whose next step has to raise it from 5 to 20 %.
func (w *world) due(model, policy string) {
	w.Helper()
	w.begin(model, policy)
	w.traffic(model)
	require.Eventually(w, func() bool {
		r := w.orchestrate(exitDone, policy, "step", "--dry-run", "--json", model)
		return decision(w, r) == "promote"
	}, 40*time.Second, 100*time.Millisecond, "the canary was never fit to be raised")
	require.Equal(w, 500, w.document(model).BasisPoints, "a dry run wrote")
}

// decision is the verdict in what step --json said.
func decision(w *world, r result) string {
	var step struct{ Verdict struct{ Decision string } }
	require.NoError(w, json.Unmarshal([]byte(r.stdout), &step), r.stdout)
	return step.Verdict.Decision
}

// TestLateStepCannotUndoRollback: a step that stands before any of its writes
// while a rollback happens leaves no canary behind.
func TestLateStepCannotUndoRollback(t *testing.T) {
	w := newWorld(t, worldOptions{Places: 2, Models: []string{"acme/late1", "acme/late2", "acme/late3", "acme/late4"}})
	for write := 1; write <= stepWrites; write++ {
		t.Run("write "+strconv.Itoa(write), func(t *testing.T) {
			w := w.within(t)
			model := "acme/late" + strconv.Itoa(write)
			w.due(model, policy)
			g := w.gate(write, false)
			step := w.command(g.url, policy, "step", model)
			ended := make(chan result, 1)
			go func() { ended <- w.finish(step) }()
			select {
			case <-g.reached:
			case r := <-ended:
				t.Fatalf("the step ended before its write %d: %s%s", write, r.stdout, r.stderr)
			}
			w.orchestrate(exitDone, policy, "rollback", "--reason", "a person saw it", model)
			g.verdict <- true
			r := <-ended
			require.NotEqual(t, exitDone, r.exit, "the step did not notice: %s%s", r.stdout, r.stderr)
			w.awaitGone(model)
			// What the late step may have written over is mended by the next command.
			w.finish(w.command(w.stack.API, policy, "step", model))
			require.Equal(t, 0, w.document(model).BasisPoints)
			w.awaitGone(model)
		})
	}
}

// TestTwoStepsAtOnce: two steps at the same time raise a canary once.
func TestTwoStepsAtOnce(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/twice0", "acme/twice1", "acme/twice2"}})
	for i, c := range conditions {
		t.Run(c.name, func(t *testing.T) {
			w := w.within(t)
			model := "acme/twice" + strconv.Itoa(i)
			w.setConditions(c.lag, c.sample)
			w.due(model, c.policy)
			var group sync.WaitGroup
			results := make([]result, 2)
			for i := range results {
				cmd := w.command(w.stack.API, c.policy, "step", model)
				group.Go(func() { results[i] = w.finish(cmd) })
			}
			group.Wait()
			// Two numbers of few sampled rows may differ, so that both steps hold;
			// what must not be is a second raise.
			if w.document(model).BasisPoints == 500 {
				w.stepUntil(model, c.policy, 500, exitDone)
			}
			require.Equal(t, 2000, w.document(model).BasisPoints, "%+v", results)
			w.orchestrate(exitDone, c.policy, "step", model)
			require.Equal(t, 2000, w.document(model).BasisPoints)
		})
	}
}

// TestKilledAtAnyWrite: whichever write a step is killed at, and whether or not
// that write took effect, the next step carries on, and nothing happens twice.
func TestKilledAtAnyWrite(t *testing.T) {
	var models []string
	for i := range 2 * stepWrites {
		models = append(models, "acme/kill"+strconv.Itoa(i))
	}
	w := newWorld(t, worldOptions{Models: models})
	for i, model := range models {
		write, persist, c := i/2+1, i%2 == 1, conditions[i%len(conditions)]
		name := fmt.Sprintf("write %d, persisted %t, %s", write, persist, c.name)
		t.Run(name, func(t *testing.T) {
			w := w.within(t)
			w.setConditions(c.lag, c.sample)
			w.due(model, c.policy)
			g := w.gate(write, persist)
			w.killAt(g, func() *exec.Cmd { return w.command(g.url, c.policy, "step", model) })
			w.stepUntil(model, c.policy, 500, exitDone)
			require.Equal(t, 2000, w.document(model).BasisPoints)
			w.orchestrate(exitDone, c.policy, "step", model)
			require.Equal(t, 2000, w.document(model).BasisPoints)
			raised := 0
			for _, entry := range w.history(model) {
				if entry.To == 20 {
					raised++
				}
			}
			require.Equal(t, 1, raised, "history entries of the step to 20 %%")
			require.Equal(t, document.Stable, w.document(model).Targets[0].Name)
		})
	}
}

// killAt kills a step while one of its writes stands at the gate. A step that
// holds, as it may where few rows are sampled or traffic is slow, is followed by
// another.
func (w *world) killAt(g *gate, step func() *exec.Cmd) {
	w.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		cmd, ended := step(), make(chan result, 1)
		go func() { ended <- w.finish(cmd) }()
		select {
		case <-g.reached:
			require.NoError(w, cmd.Process.Kill())
			<-ended
			g.verdict <- false
			return
		case r := <-ended:
			require.Equal(w, exitDone, r.exit, r.stdout+r.stderr)
			g.writes.Store(0) // of one that stored the judge's memory, or renewed the dead man's switch
		}
	}
	w.Fatal("no step came to the write to be killed at")
}
