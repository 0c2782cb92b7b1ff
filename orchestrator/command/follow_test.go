package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/report"
	"perch/shared/seal"
)

var testKey = seal.NewKey([seal.KeyBytes]byte{7})

// polled is a worker that is polled, and a source with predictions to poll.
type polled struct {
	*bench
	server *httptest.Server

	mu     sync.Mutex
	asked  []*http.Request
	answer func(id string) (status int, body string)
}

func (p *polled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r)
	p.mu.Unlock()
	status, body := p.answer(strings.TrimPrefix(r.URL.Path, "/v1/predictions/"))
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func newPolled(t *testing.T, open int) *polled {
	p := &polled{bench: newBench(t)}
	p.answer = func(id string) (int, string) { return 200, `{"id":"` + id + `","status":"succeeded"}` }
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	p.env["PERCH_WORKER_URL"], p.env["REPLICATE_API_TOKEN"], p.env["PERCH_SEAL_KEY"] = p.server.URL, "r8_secret", testKey.Text()
	for i := range open {
		p.source.open = append(p.source.open, cloudflare.Row{"prediction": fmt.Sprintf("p%03d", i), "of_service": "model:acme/flux", "variant": "canary", "in_rollout": "2026-11-20-a",
			"reason": "percentage", "of_user": "00ff", "in_trace": strings.Repeat("a", 32), "made_at": "1"})
	}
	return p
}

// TestFollow: every open prediction is polled once, under a seal that says whose
// it is.
func TestFollow(t *testing.T) {
	p := newPolled(t, 7)
	p.answer = func(id string) (int, string) {
		switch id {
		case "p000":
			return 200, `{"status":"processing"}`
		case "p001":
			return 404, `{"detail":"The requested resource could not be found.","status":404}`
		}
		return 200, `{"status":"failed"}`
	}
	r := p.do(0, "follow", "acme/flux")
	require.Equal(t, "asked about 7 of 7 predictions without a known end: 5 have ended, 1 run, 1 poll failed: "+
		"read prediction p001: status 404 Not Found: The requested resource could not be found.\n", r.stdout)
	var ids []string
	for _, asked := range p.asked {
		ids = append(ids, strings.TrimPrefix(asked.URL.Path, "/v1/predictions/"))
		require.Equal(t, "Bearer r8_secret", asked.Header.Get("Authorization"))
		c, err := seal.Open(asked.URL.Query().Get("perch"), seal.Follow, noon, testKey)
		require.NoError(t, err)
		require.Equal(t, seal.Context{Purpose: seal.Follow, Service: "model:acme/flux", Variant: "canary", Rollout: "2026-11-20-a", Reason: "percentage",
			User: "00ff", Trace: strings.Repeat("a", 32), Prediction: ids[len(ids)-1], IssuedAt: noon.Unix(), ExpiresAt: noon.Unix() + 300}, c)
	}
	slices.Sort(ids)
	require.Equal(t, []string{"p000", "p001", "p002", "p003", "p004", "p005", "p006"}, ids)
	require.Contains(t, p.source.queries[0], "made_at < 1795175940 ORDER BY made_at", "older than a minute")
	require.Contains(t, p.source.queries[0], "timestamp >= toDateTime(1795168800)", "and made in the last two hours")

	var result report.Followed
	require.NoError(t, json.Unmarshal([]byte(p.do(0, "follow", "--json", "acme/flux").stdout), &result))
	require.Equal(t, report.Followed{Open: 7, Asked: 7, Ended: 5, Running: 1, Failed: 1, Problem: result.Problem}, result)
}

// TestFollowWithoutKey: the bare id is polled, which the worker knows by alias.
func TestFollowWithoutKey(t *testing.T) {
	p := newPolled(t, 1)
	delete(p.env, "PERCH_SEAL_KEY")
	p.do(0, "follow", "acme/flux")
	require.Empty(t, p.asked[0].URL.RawQuery)
	p.env["PERCH_SEAL_KEY"] = "short"
	r := p.do(2, "follow", "acme/flux")
	require.Contains(t, r.stderr, "read PERCH_SEAL_KEY: read seal key: use base64url of 32 bytes")
}

// TestFollowUnderAHeldToken: the seal is enough where the worker holds the token.
func TestFollowUnderAHeldToken(t *testing.T) {
	p := newPolled(t, 1)
	delete(p.env, "REPLICATE_API_TOKEN")
	p.do(2, "follow", "acme/flux")
	p.withEdge("edge: {access: {token: secret:TOKEN, keys: [{name: a, sha256: " + oldID + "}]}}")
	p.start()
	p.do(0, "follow", "acme/flux")
	require.Len(t, p.asked, 1)
	require.Empty(t, p.asked[0].Header.Get("Authorization"))
	delete(p.env, "PERCH_SEAL_KEY")
	p.do(2, "follow", "acme/flux")
}

// TestFollowIsBounded: 300 at a time, and none after a refusal that all would get.
func TestFollowIsBounded(t *testing.T) {
	p := newPolled(t, 1000)
	var result report.Followed
	require.NoError(t, json.Unmarshal([]byte(p.do(0, "follow", "--json", "acme/flux").stdout), &result))
	require.Equal(t, report.Followed{Open: 1000, Asked: 300, Ended: 300}, result)
	require.Len(t, p.asked, 300)
	for _, status := range []int{401, 429} {
		p.asked = nil
		p.answer = func(string) (int, string) { return status, `{"detail":"no"}` }
		r := p.do(1, "follow", "acme/flux")
		require.Less(t, len(p.asked), 20)
		require.Contains(t, r.stderr, ": no\nhint: ")
		require.NotContains(t, r.stdout+r.stderr, "r8_secret")
	}
}

// TestSpread: over some turns each gets its share, old or new.
func TestSpread(t *testing.T) {
	list := make([]int, 1000)
	for i := range list {
		list[i] = i
	}
	seen := map[int]int{}
	for turn := range uint64(1000) {
		picked := spread(list, 300, turn*60e9)
		require.Len(t, picked, 300)
		distinct := map[int]bool{}
		for _, n := range picked {
			distinct[n] = true
			seen[n]++
		}
		require.Len(t, distinct, 300)
	}
	for i := range list {
		require.InDelta(t, 300, seen[i], 75, "%d", i) // five standard deviations
	}
	require.Equal(t, []int{1, 2}, spread([]int{1, 2}, 2, 99))
	require.Empty(t, spread([]int(nil), 2, 99))
}

func TestFollowRefuses(t *testing.T) {
	for _, c := range []struct{ name, unset, want string }{
		{"no worker", "PERCH_WORKER_URL", "the worker's URL is not known"},
		{"no token", "REPLICATE_API_TOKEN", "no token of Replicate's is given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPolled(t, 1)
			delete(p.env, c.unset)
			require.Contains(t, p.do(2, "follow", "acme/flux").stderr, c.want)
			require.Empty(t, p.asked)
		})
	}
	p := newPolled(t, 0)
	require.Equal(t, "no prediction is without a known end\n", p.do(0, "follow", "acme/flux").stdout)
	p.source.err = cloudflare.ErrNoData
	p.do(0, "follow", "acme/flux")
	p.source.err = errors.New("query analytics: status 503")
	require.Contains(t, p.do(1, "follow", "acme/flux").stderr, "query analytics: status 503")
}

// TestStepFollows: after its verdict, which no poll can change; and not where
// nothing may be written.
func TestStepFollows(t *testing.T) {
	p := newPolled(t, 3)
	p.start()
	p.do(0, "step", "--dry-run", "acme/flux")
	require.Empty(t, p.asked)
	r := p.do(0, "step", "acme/flux")
	require.Contains(t, r.stdout, "asked about 3 of 3 predictions without a known end: 3 have ended, 0 run")
	p.answer = func(string) (int, string) { return 503, "" }
	r = p.do(0, "step", "acme/flux")
	require.Contains(t, strings.Join(strings.Fields(r.stdout), " "), "3 polls failed: read prediction p00")
	p.server.Close()
	p.clock.advance(bake)
	p.do(0, "step", "acme/flux")
	require.Equal(t, 2000, p.document().BasisPoints, "a worker that cannot be reached is no reason to hold")
	asked := len(p.asked)
	p.do(0, "rollback", "acme/flux")
	p.do(4, "step", "acme/flux")
	require.Len(t, p.asked, asked)
}

// TestUnfollowedIsSaid: where nothing follows predictions, a step says what it
// would take.
func TestUnfollowedIsSaid(t *testing.T) {
	b := newBench(t).start()
	b.source.pending = 120
	b.clock.advance(time.Minute * 10)
	r := b.do(0, "step", "acme/flux")
	require.NotContains(t, r.stdout, "PERCH_WORKER_URL", "there is evidence enough")

	b = newBench(t).start()
	b.source.pending, b.source.canary = 120, nothing
	b.clock.advance(time.Minute * 10)
	r = b.do(0, "step", "acme/flux")
	require.Contains(t, strings.Join(strings.Fields(r.stdout), " "), "how 1080 predictions ended is not known: with PERCH_WORKER_URL and REPLICATE_API_TOKEN set they are followed")
	r = b.do(0, "step", "--json", "acme/flux")
	require.Contains(t, r.stdout, `"open": 1080`)
}

// TestRunFollows: at each look; what stands against it is said once.
func TestRunFollows(t *testing.T) {
	p := newPolled(t, 2)
	p.start()
	p.answer = func(string) (int, string) { return 503, "" }
	r := p.do(0, "run", "acme/flux")
	require.Equal(t, 1, strings.Count(r.stdout, "2 polls failed"))
	require.Greater(t, len(p.asked), 100)
}

// TestFleetFollows: all services' predictions by one query, each under the seal
// of its own service.
func TestFleetFollows(t *testing.T) {
	p := newPolled(t, 4)
	p.start()
	p.do(0, "start", "--stable", "url=https://one.example/", "--canary", "url=https://two.example/", "http:qwen")
	p.source.open[3]["of_service"] = "http:qwen"
	p.do(0, "step", "--all")
	p.asked, p.source.queries = nil, nil
	r := p.do(0, "step", "--all")
	require.Contains(t, r.stdout, "asked about 4 of 4 predictions without a known end: 4 have ended, 0 run")
	require.Len(t, p.source.queries, 1, "nothing is new to the judge")
	require.Contains(t, p.source.queries[0], "IN ('http:qwen', 'model:acme/flux')")
	services := map[string]int{}
	for _, asked := range p.asked {
		sealed, err := seal.Open(asked.URL.Query().Get("perch"), seal.Follow, noon, testKey)
		require.NoError(t, err)
		services[sealed.Service]++
	}
	require.Equal(t, map[string]int{"model:acme/flux": 3, "http:qwen": 1}, services)

	p.answer = func(string) (int, string) { return 503, "" }
	require.Equal(t, 1, strings.Count(p.do(0, "run", "--all").stdout, "4 polls failed"))
	p.source.queries = nil
	p.do(0, "start", "--canary", "deployment=acme/next", "acme/flux")
	p.do(0, "step", "--all", "--dry-run")
	require.NotContains(t, strings.Join(p.source.queries, ""), "ORDER BY made_at")
}
