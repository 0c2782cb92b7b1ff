package router

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// typical is a document with a rule, and requests of a usual browser: fifteen
// cookies, the user's among them.
func typical(t testing.TB) (State, map[string]*Request) {
	state := State{Document: parse(t, `{"schema":1,"service":"acme/flux","rollout":"2026-11-20-a","generation":7,"mode":"canary","percentage":5,
		"salt":"2026-11-20-a","targets":{"stable":{"model":"acme/flux"},"canary":{"model":"acme/flux-next"}},
		"rules":[{"header":"x-model-type","equals":"person","use":"stable"}],"overrides":true,"unattended_after_ms":1795190400000}`)}
	var cookies []string
	for i := range 14 {
		cookies = append(cookies, fmt.Sprintf("cookie-%02d=%s", i, strings.Repeat("v", 24)))
	}
	cookie := strings.Join(append(cookies, "perch-user=6a1f7c2e-95d1-4c47-9f1e-0a5b6c7d8e9f"), "; ")
	rules := []string{"landscape"}
	return state, map[string]*Request{
		"header": {Header: "user-1234567", Cookie: cookie, Rules: rules},
		"cookie": {Cookie: cookie, Rules: rules},
		"new":    {Cookie: strings.Join(cookies, "; "), Random: "6a1f7c2e-95d1-4c47-9f1e-0a5b6c7d8e9f", Rules: rules},
	}
}

const benchNow = 1795190300000

var sink int

func BenchmarkDecide(b *testing.B) {
	state, requests := typical(b)
	for _, name := range []string{"header", "cookie", "new"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink += Decide(state, requests[name], benchNow).Target
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	for name, h := range map[string]Head{
		"model":   {Method: "POST", Path: "/v1/models/acme/flux/predictions"},
		"version": {Method: "POST", Path: "/v1/predictions"},
		"header":  {Method: "POST", Path: "/v1/predictions", Service: "model:acme/flux"},
		"http":    {Method: "POST", Path: "/qwen/v1/chat/completions"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink += int(Resolve(h).Action)
			}
		})
	}
}

// TestAllocations: deciding leaves no garbage behind, and so does finding the
// service of a request.
func TestAllocations(t *testing.T) {
	state, requests := typical(t)
	for name, q := range requests {
		require.Zero(t, testing.AllocsPerRun(1_000, func() { sink += Decide(state, q, benchNow).Target }), name)
	}
	halted := State{Document: state.Document, Halted: state.Rollout}
	require.Zero(t, testing.AllocsPerRun(1_000, func() { sink += Decide(halted, requests["header"], benchNow).Target }))
	for _, path := range []string{"/v1/models/acme/flux/predictions", "/v1/predictions", "/v1/predictions/abc", "/qwen/v1/chat"} {
		require.Zero(t, testing.AllocsPerRun(1_000, func() { sink += int(Resolve(Head{Method: "POST", Path: path}).Action) }), path)
	}
}

// TestDecideTime: a decision takes at most a microsecond. The best of many
// batches tells, as others use the machine too.
func TestDecideTime(t *testing.T) {
	const batch = 1_000
	limit := time.Microsecond
	if bits.UintSize == 32 {
		limit *= 4 // the hash multiplies 64 bits
	}
	state, requests := typical(t)
	for name, q := range requests {
		best := time.Hour
		for range 200 {
			start := time.Now()
			for range batch {
				sink += Decide(state, q, benchNow).Target
			}
			best = min(best, time.Since(start)/batch)
		}
		t.Logf("%s: %v", name, best)
		require.LessOrEqual(t, best, limit, name)
	}
}
