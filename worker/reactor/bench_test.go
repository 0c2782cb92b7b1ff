package reactor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/worker/router"
)

const benchDocument = `{
  "schema": 1, "service": "model:acme/flux", "rollout": "2026-11-20-a", "generation": 7,
  "mode": "canary", "percentage": 5, "salt": "2026-11-20-a",
  "targets": {"stable": {"model": "acme/flux"}, "canary": {"deployment": "acme/flux-next"},
    "person": {"url": "https://person.internal.example/"}},
  "rules": [{"header": "x-model-type", "equals": "person", "use": "person"}],
  "unattended_after_ms": 1795190400000
}`

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(benchDocument)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := document.Parse([]byte(benchDocument)); err != nil {
			b.Fatal(err)
		}
	}
}

// typicalCall is what the shell writes for a usual browser's request.
func typicalCall() string {
	var cookies []string
	for i := range 14 {
		cookies = append(cookies, fmt.Sprintf("cookie-%02d=%s", i, strings.Repeat("v", 24)))
	}
	fields := []string{"", "", "203.0.113.9", "6a1f7c2e-95d1-4c47-9f1e-0a5b6c7d8e9f", strings.Join(cookies, "; "), "", "user-1234567", "landscape"}
	return strings.Join(fields, "\n")
}

func BenchmarkDecide(b *testing.B) {
	r := new(Reactor)
	handle := r.Load(uint32(copy(r.Input[:], benchDocument)), 0)
	call := typicalCall()
	b.ReportAllocs()
	for b.Loop() {
		n := copy(r.Input[:], call)
		r.Decide(handle, uint32(n), 417, 4200000000, uint32(router.EndpointNamed))
	}
}

// TestAllocations: a request leaves no garbage behind in the module.
func TestAllocations(t *testing.T) {
	r := new(Reactor)
	handle := r.Load(uint32(copy(r.Input[:], benchDocument)), 0)
	require.NotZero(t, handle, string(r.Output))
	call := typicalCall()
	request := func() {
		n := copy(r.Input[:], call)
		r.Decide(handle, uint32(n), 417, 4200000000, uint32(router.EndpointNamed))
		r.Use(handle, 0, 0, uint32(router.EndpointNamed))
		r.Rescue(handle, 1, 0, 503, TroubleCreates|TroubleResendable)
		r.Report(handle, 1, 0, 417, 4200000000)
		r.Classify(200, 0)
	}
	require.Zero(t, testing.AllocsPerRun(1_000, request))
}
