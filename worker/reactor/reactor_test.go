package reactor

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

func (r *Reactor) write(text string) uint32 { return uint32(copy(r.Input[:], text)) }

func load(t *testing.T, r *Reactor, text, halt string) uint32 {
	t.Helper()
	r.write(text + halt)
	handle := r.Load(uint32(len(text)), uint32(len(halt)))
	require.NotZero(t, handle, string(r.Output))
	return handle
}

// TestResolveOutput: the fields, in the order in which the shell reads them.
func TestResolveOutput(t *testing.T) {
	tests := []struct {
		name, input, want string
		code              uint32
	}{
		{"model", "POST\n/@canary/v1/models/acme/flux/predictions\n\n",
			"canary\n/models/acme/flux/predictions\n\n\nmodel:acme/flux\nrollout:model:acme:flux\nhalt:model:acme:flux\nalias:model:acme:flux", 4 | 1<<8 | 1<<18 | 1<<24},
		{"deployment", "POST\n/v1/deployments/acme/flux/predictions\n\n",
			"\n/deployments/acme/flux/predictions\n\n\ndeployment:acme/flux\nrollout:deployment:acme:flux\nhalt:deployment:acme:flux\nalias:deployment:acme:flux", 4 | 1<<8 | 1<<18 | 1<<24},
		{"http service, which has no alias", "GET\n/qwen/live\n\n1", "\n/live\n\n\nhttp:qwen\nrollout:http:qwen\nhalt:http:qwen\n", 4 | 2<<8 | 1<<16 | 1<<19},
		{"poll", "GET\n/v1/predictions/a~p1.k\n\n", "\n/predictions/a~p1.k\na~p1.k\n", 6 | 1<<19 | 1<<24},
		{"cancellation", "POST\n/v1/predictions/a/cancel\n\n", "\n/predictions/a/cancel\na\n", 6 | 1<<17 | 1<<24},
		{"what is sealed", "GET\n/_perch/at/p1.k\n\n", "\n/_perch/at/p1.k\n\np1.k", 7 | 1<<19},
		{"a delivery", "POST\n/_perch/webhook/p1.k\n\n", "\n/_perch/webhook/p1.k\n\np1.k", 8},
		{"no service", "GET\n/v1/models\n\n", "\n/models\n\n", 1 | 1<<19 | 3<<24},
		{"fields missing", "GET\n/v1", "\n/\n\n", 1 | 1<<19},
		{"nothing", "", "\n\n\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := new(Reactor)
			require.Equal(t, tt.code, r.Resolve(r.write(tt.input)))
			require.Equal(t, tt.want, string(r.Output))
		})
	}
}

// TestPlan: the plan is JSON, and says of a document what the shell needs.
func TestPlan(t *testing.T) {
	id := strings.Repeat("a", 64)
	r := new(Reactor)
	load(t, r, `{"schema":1,"service":"acme/flux","rollout":"r.1","generation":7,"mode":"canary","percentage":12.5,"salt":"\"\u0001é",
		"targets":{"stable":{"version":"acme/flux:`+id+`"},"canary":{"deployment":"acme/next"},
			"person":{"url":"https://p.example/b","credentials":true,"headers":{"x-k":"secret:K","x-l":"\"a\""},"fallback":"stable","timeout_ms":5,"idle_timeout_ms":6}},
		"rules":[{"header":"x-a","equals":"1","use":"person"},{"header":"x-b","equals":"2","use":"canary"}],
		"user":{"header":"x-me","cookie":"who","from":"address"},"overrides":true,"outcomes":"webhook","fallback":{"max_body_bytes":7},
		"access":{"token":"secret:T","keys":[{"name":"a","sha256":"`+id+`"},{"name":"b","sha256":"`+id+`"}],
			"jwt":{"algorithms":["RS256","ES256"],"jwks":"https://i.example/keys","issuer":"i"},"rate_limit":"L"}}`, "")
	var got any
	require.NoError(t, json.Unmarshal(r.Output, &got), string(r.Output))
	target := func(at int, name, path, url, version string, more map[string]any) any {
		target := map[string]any{
			"name": name, "at": float64(at), "index": "model:acme/flux|" + name, "path": path, "url": url, "version": version, "credentials": false,
			"fallback": -1.0, "timeoutMS": 0.0, "idleMS": 30000.0, "headers": []any{},
		}
		maps.Copy(target, more)
		return target
	}
	require.Equal(t, map[string]any{
		"service": "model:acme/flux", "rollout": "r.1", "generation": 7.0, "percentage": 12.5,
		"from": "address", "cookie": "who", "overrides": true, "headers": []any{"x-me", "x-a", "x-b"},
		"outcomes": "webhook", "fallback": map[string]any{"maxBodyBytes": 7.0},
		"access": map[string]any{
			"token": "secret:T", "rateLimit": "L",
			"keys": []any{map[string]any{"name": "a", "sha256": id}, map[string]any{"name": "b", "sha256": id}},
			"jwt": map[string]any{
				"algorithms": []any{"RS256", "ES256"}, "jwks": "https://i.example/keys", "key": "", "issuer": "i", "audience": "", "user": "sub",
			},
		},
		"targets": []any{
			target(0, "stable", "/predictions", "", "acme/flux:"+id, nil),
			target(1, "canary", "/deployments/acme/next/predictions", "", "", map[string]any{"fallback": 0.0, "timeoutMS": 30000.0}),
			target(2, "person", "", "https://p.example/b", "", map[string]any{"credentials": true, "fallback": 0.0, "timeoutMS": 5.0, "idleMS": 6.0,
				"headers": []any{[]any{"x-k", "secret:K"}, []any{"x-l", `"a"`}}}),
		},
	}, got)

	load(t, r, benchDocument, "")
	require.NoError(t, json.Unmarshal(r.Output, &got), string(r.Output))
	require.Nil(t, got.(map[string]any)["access"])
	require.Contains(t, got, "access")
}

// TestWorkersOwn: what the worker's variables hold is read like a document's parts.
func TestWorkersOwn(t *testing.T) {
	r := new(Reactor)
	require.Equal(t, uint32(1), r.Access(r.write(`{"rate_limit":"L"}`)))
	require.Equal(t, `{"token":"","keys":[],"jwt":null,"rateLimit":"L"}`, string(r.Output))
	require.Zero(t, r.Access(r.write(`{"token":"r8_x"}`)))
	require.Contains(t, string(r.Output), "token: write secret:NAME")
	require.Equal(t, uint32(1), r.Headers(r.write(`{"a":"1","b":"secret:B"}`)))
	require.Equal(t, `[["a","1"],["b","secret:B"]]`, string(r.Output))
	require.Zero(t, r.Headers(r.write(`{"host":"a"}`)))
	require.Equal(t, "host: is set by the worker itself", string(r.Output))
}

// TestLoadRefuses: a document that cannot be used has no handle, and a reason.
func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name, text, want string
		halt             uint32
	}{
		{"nothing", "", "unexpected end of JSON", 0},
		{"cut off", benchDocument[:100], "unexpected end of JSON", 0},
		{"no JSON", "rollout", "invalid JSON", 0},
		{"of another schema", `{"schema":2}`, "schema: this Perch reads schema 1; upgrade the worker or write the document with schema 1", 0},
		{"too large", strings.Repeat(" ", document.MaxBytes+1), "rollout document is larger than 64 KiB", 0},
		{"too large together", benchDocument, "rollout document is larger than 64 KiB", InputBytes},
		{"larger than can be", benchDocument, "rollout document is larger than 64 KiB", 1<<32 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := new(Reactor)
			require.Zero(t, r.Load(r.write(tt.text), tt.halt))
			require.Equal(t, tt.want, string(r.Output))
			require.Equal(t, uint32(1), load(t, r, benchDocument, ""), "a refused document took a handle")
		})
	}
}

// TestHalted: the halt is what stands behind the document.
func TestHalted(t *testing.T) {
	r := new(Reactor)
	whole := strings.Replace(benchDocument, `"percentage": 5`, `"percentage": 100`, 1)
	free, halted := load(t, r, whole, ""), load(t, r, whole, "2026-11-20-a")
	call := "\n\n\n\n\n\nme\n"
	require.Equal(t, uint32(1), r.Decide(free, r.write(call), 0, 1, 1))
	require.True(t, strings.HasPrefix(string(r.Output), "percentage\n"), string(r.Output))
	require.Equal(t, uint32(0), r.Decide(halted, r.write(call), 0, 1, 1))
	require.True(t, strings.HasPrefix(string(r.Output), "halted\n"), string(r.Output))
}

// TestTime: the time comes in two halves.
func TestTime(t *testing.T) {
	const switchMS = 1795190400000 // of benchDocument
	r := new(Reactor)
	handle := load(t, r, benchDocument, "")
	for now, want := range map[uint64]string{switchMS - 1: "percentage\n", switchMS: "unattended\n", switchMS - 1<<32: "percentage\n"} {
		r.Decide(handle, r.write("\n\n\n\n\n\nme\n"), uint32(now>>32), uint32(now&(1<<32-1)), 1)
		require.True(t, strings.HasPrefix(string(r.Output), want), "%d: %s", now, r.Output)
	}
}

// TestOutlivesInput: what was loaded or opened does not change when the host
// writes into the input again.
func TestOutlivesInput(t *testing.T) {
	r := new(Reactor)
	handle := load(t, r, benchDocument, "2026-11-20-a")
	editor := r.OpenEditor(r.write("acme/flux-next"), EditVersion)
	finder := r.OpenFinder()
	r.PushFinder(finder, r.write(`{"version":"acme/fl`))
	for i := range r.Input {
		r.Input[i] = 'x'
	}
	r.PushEditor(editor, r.write(`{"input":1}`))
	require.Contains(t, string(r.Output), `"version":"acme/flux-next"`)
	require.Equal(t, uint32(1), r.PushFinder(finder, r.write(`ux"`)))
	require.Equal(t, "acme/flux", string(r.Output))
	r.Decide(handle, r.write("canary\n\n\n\n\n\nme\n"), 0, 1, 1)
	require.True(t, strings.HasPrefix(string(r.Output), "halted\n"), string(r.Output))
}

// TestSlots: handles of what was removed are given out again, and others stay.
func TestSlots(t *testing.T) {
	var s slots[string]
	a, b, c := s.add("a"), s.add("b"), s.add("c")
	require.Equal(t, []uint32{1, 2, 3}, []uint32{a, b, c})
	s.remove(b)
	s.remove(a)
	require.Equal(t, "c", s.get(c))
	require.Zero(t, s.entries[b-1].value, "what was removed is still held")
	require.Panics(t, func() { s.get(b) })
	require.Panics(t, func() { s.remove(b) }, "a handle given out twice would mix two bodies")
	require.ElementsMatch(t, []uint32{a, b}, []uint32{s.add("d"), s.add("e")})
	require.Equal(t, uint32(4), s.add("f"))
	require.Panics(t, func() { s.get(0) })
	require.Panics(t, func() { s.get(5) })
}
