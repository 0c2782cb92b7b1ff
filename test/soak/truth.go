package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perch/shared/document"
	"perch/test/upstream"
)

// arm is what the upstream knows of the predictions that were assigned to one.
type arm struct {
	rescued int               // it failed, and the other made the prediction
	ended   map[string]string // prediction to how it ended
}

func (a *arm) all() int { return a.rescued + len(a.ended) }

// tally counts the ends.
func (a *arm) tally() map[string]int {
	n := map[string]int{}
	for _, ended := range a.ended {
		n[ended]++
	}
	return n
}

// judged is how the judge ought to count: what was canceled says nothing of a variant.
func (a *arm) judged() judged {
	n := a.tally()
	errors := a.rescued + n["failed"] + n["aborted"]
	return judged{Requests: float64(errors + n["succeeded"]), Errors: float64(errors)}
}

// truth reads the upstream's log: the tries of one request have its trace in common, and the first of them went to the
// arm that was assigned. Then it asks the upstream itself how each prediction ended. The result is by model and arm.
func (c *census) truth(ctx context.Context) (map[string]map[string]*arm, error) {
	all := map[string]map[string]*arm{}
	for _, model := range countedModels {
		all[model] = map[string]*arm{}
		for _, name := range arms {
			all[model][name] = &arm{ended: map[string]string{}}
		}
	}
	failed := map[string]*arm{} // trace to the arm that failed
	made := map[string]*arm{}
	for _, e := range c.upstream.Log() {
		if e.Method != http.MethodPost || !strings.HasSuffix(e.Path, "/predictions") {
			continue
		}
		a := all[e.Model][armOf(e)]
		trace := e.Header.Get("traceparent")
		switch {
		case a == nil:
			return nil, fmt.Errorf("read log: %s ran on %s", e.Prediction, e.Version)
		case failed[trace] != nil:
			failed[trace].rescued++
		case e.Status >= http.StatusInternalServerError:
			failed[trace] = a
		default:
			made[e.Prediction] = a
		}
	}
	return all, c.askEnds(ctx, made)
}

func armOf(e upstream.Entry) string {
	if e.Version == upstream.VersionID(e.Model, document.Canary) {
		return document.Canary
	}
	return document.Stable
}

// askEnds asks the upstream, past the worker, how predictions ended.
func (c *census) askEnds(ctx context.Context, made map[string]*arm) error {
	var ids []string
	for id := range made {
		ids = append(ids, id)
	}
	ended := make([]string, len(ids))
	errs := make([]error, len(ids))
	var next atomic.Int64
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				ended[i], errs[i] = c.endOf(ctx, ids[i])
			}
		})
	}
	askers.Wait()
	for i, id := range ids {
		if errs[i] != nil {
			return errs[i]
		}
		made[id].ended[id] = ended[i]
	}
	return nil
}

func (c *census) endOf(ctx context.Context, id string) (ended string, err error) {
	err = await(ctx, "the end of "+id, 20*time.Second, func() (bool, error) {
		r, err := send(ctx, call{method: http.MethodGet, url: c.upstream.URL() + "/v1/predictions/" + id})
		if err != nil {
			return false, err
		}
		p, err := r.prediction()
		ended = p.Status
		return ended != "starting" && ended != "processing", err
	})
	return ended, err
}
