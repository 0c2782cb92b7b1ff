// Package reactor is what the WASM module does: bytes in, decisions out. The
// host writes into Input, calls a method with the number of bytes, and reads
// what the method left in Output. It compiles under TinyGo, and natively for
// tests.
package reactor

import (
	"unsafe"

	"perch/shared/document"
	"perch/shared/lean"
	"perch/shared/telemetry"
	"perch/worker/router"
)

// InputBytes is the size of Input: a document and a halt, or a body's chunk.
const InputBytes = document.MaxBytes + 4<<10

// separator parts the fields of a call; no header, path or method contains it.
const separator = '\n'

// Reactor holds what outlives a call. Handles start at 1; 0 is none.
type Reactor struct {
	Input  [InputBytes]byte
	Output []byte // valid until the next call

	states slots[*router.State]
	bodies
	text  []byte // backs Output where it is text
	rules [document.MaxRules]string

	breakers []*guarded
}

// Resolve reads "method, path, service, upgrade" (upgrade is "1" or ""), and
// returns action | endpoint<<8 | undecided<<16 | cancel<<17 | creates<<18 |
// safe<<19 | shape<<24. Output: "variant, rest, prediction, seal, service,
// rollout key, halt key, alias key".
func (r *Reactor) Resolve(n uint32) uint32 {
	f := r.fields(n)
	route := router.Resolve(router.Head{Method: f.next(), Path: f.next(), Service: f.next(), Upgrade: f.next() == "1"})
	r.begin(route.Variant)
	r.add(route.Rest)
	r.add(route.Prediction)
	r.add(route.Seal)
	r.addService(route.Service)
	return uint32(route.Action) | uint32(route.Endpoint)<<8 | uint32(route.Shape)<<24 |
		bit(route.Undecided, 16) | bit(route.Cancel, 17) | bit(route.Creates, 18) | bit(route.Safe, 19)
}

func bit(set bool, position uint32) uint32 {
	if set {
		return 1 << position
	}
	return 0
}

func (r *Reactor) addService(s document.Service) {
	if s.Kind == "" {
		return
	}
	r.add(s.String())
	r.add(s.RolloutKey())
	r.add(s.HaltKey())
	if s.Kind != document.KindHTTP {
		r.add(document.AliasKey(string(s.Kind), s.Name))
	} else {
		r.add("")
	}
}

// What ResolveVersion and ResolveService return.
const (
	LookupNone    = 0
	LookupService = 1 // Output: "service, rollout key, halt key, alias key"
	LookupAlias   = 2 // Output: the alias key
)

// ResolveVersion reads the version of a body and tells where its service is found.
func (r *Reactor) ResolveVersion(n uint32) uint32 {
	lookup, found := router.ResolveVersion(r.input(n))
	switch {
	case found && lookup.Alias != "":
		r.begin(lookup.Alias)
		return LookupAlias
	case found:
		return r.serviceAlone(lookup.Service)
	}
	r.begin("")
	return LookupNone
}

func (r *Reactor) serviceAlone(s document.Service) uint32 {
	r.begin("")
	r.addService(s)
	r.Output = r.text[1:]
	return LookupService
}

// ResolveService reads a service's name, as an alias gives it.
func (r *Reactor) ResolveService(n uint32) uint32 {
	service, err := document.ParseService(r.input(n))
	if err != nil {
		r.begin("")
		return LookupNone
	}
	return r.serviceAlone(service)
}

// Load reads a document and, behind it, the id of the halted rollout; it
// returns a handle and leaves the plan (JSON) in Output, or 0 and the reason
// why the document cannot be used.
func (r *Reactor) Load(documentBytes, haltBytes uint32) uint32 {
	if uint64(documentBytes)+uint64(haltBytes) > InputBytes {
		return r.refused(document.ErrTooLarge)
	}
	d, err := document.Parse(r.Input[:documentBytes])
	if err != nil {
		return r.refused(err)
	}
	halted := string(r.Input[documentBytes : documentBytes+haltBytes])
	w := planWriter{r.text[:0]}
	w.plan(d)
	r.written(&w)
	return r.states.add(&router.State{Document: d, Halted: halted})
}

// Access reads n bytes of access rules and leaves them in Output as a plan has
// them; it returns 0 and leaves the reason there, if they cannot be used.
func (r *Reactor) Access(n uint32) uint32 {
	access, err := document.ParseAccess(r.Input[:min(n, InputBytes)])
	if err != nil {
		return r.refused(err)
	}
	w := planWriter{r.text[:0]}
	w.access(access)
	return r.written(&w)
}

// Headers is Access for headers to add to requests.
func (r *Reactor) Headers(n uint32) uint32 {
	headers, err := document.ParseHeaders(r.Input[:min(n, InputBytes)])
	if err != nil {
		return r.refused(err)
	}
	w := planWriter{r.text[:0]}
	w.headers(headers)
	return r.written(&w)
}

func (r *Reactor) written(w *planWriter) uint32 {
	r.text = w.out
	r.Output = r.text
	return 1
}

// refused leaves the reason in Output.
func (r *Reactor) refused(err error) uint32 {
	r.begin(err.Error())
	return 0
}

// Release forgets a document.
func (r *Reactor) Release(handle uint32) { r.states.remove(handle) }

// Preview, added to Decide's endpoint, asks for a decision by which nobody is sent.
const Preview = 1 << 8

// Decide reads "override, identity, client, random, cookie, version, user
// header, rule headers…" and returns target | edit<<8 | new<<16 | skipped<<17.
// Output: "reason, user's fingerprint (16 hexadecimal digits), bucket".
func (r *Reactor) Decide(handle, n, nowHigh, nowLow, endpoint uint32) uint32 {
	state := r.states.get(handle)
	f := r.fields(n)
	q := router.Request{Override: f.next(), Identity: f.next(), Client: f.next(), Random: f.next(), Cookie: f.next()}
	version := f.next()
	q.Header = f.next()
	trapOn(q.Header)
	for i := range state.Rules {
		r.rules[i] = f.next()
	}
	q.Rules = r.rules[:len(state.Rules)]
	now := milliseconds(nowHigh, nowLow)
	d := router.Decide(*state, &q, now)
	r.begin(d.Reason)
	r.add("")
	r.text = lean.AppendHex(r.text, d.Fingerprint)
	r.add("")
	r.text = lean.AppendInt(r.text, int64(d.Bucket))
	r.Output = r.text
	edit := router.EditFor(&state.Targets[d.Target], router.Endpoint(endpoint), version)
	// Who asks for a variant wants to see it, whatever its state.
	skipped := d.Reason != telemetry.ReasonOverride && !r.asks(state.Document, d.Target, now, endpoint&Preview != 0)
	return uint32(d.Target) | uint32(edit)<<8 | bit(d.New, 16) | bit(skipped, 17)
}

func milliseconds(high, low uint32) int64 { return int64(uint64(high)<<32 | uint64(low)) }

// Use returns the edit for a target. The input is the version that the body names.
func (r *Reactor) Use(handle, target, n, endpoint uint32) uint32 {
	state := r.states.get(handle)
	return uint32(router.EditFor(&state.Targets[target], router.Endpoint(endpoint), r.input(n)))
}

// What Rescue is told of a request.
const (
	TroubleCreates    = 1 << iota // a prediction, by Replicate's API
	TroubleSafe                   // by its method
	TroubleResendable             // the whole body is at hand
)

// Rescue returns 1 if a request that its target did not answer well goes to the
// target's fallback.
func (r *Reactor) Rescue(handle, target, failure, status, trouble uint32) uint32 {
	return bit(router.Rescue(r.states.get(handle).Document, int(target), router.Trouble{
		Cause: telemetry.Failure(failure), Status: int(status),
		Creates: trouble&TroubleCreates != 0, Safe: trouble&TroubleSafe != 0, Resendable: trouble&TroubleResendable != 0,
	}), 0)
}

// Report tells a target's breaker how a request ended, and returns how many
// breakers are not as they were at the beginning: while there are none, reports
// of success may be spared.
func (r *Reactor) Report(handle, target, failed, nowHigh, nowLow uint32) uint32 {
	r.report(r.states.get(handle).Document, int(target), failed != 0, milliseconds(nowHigh, nowLow))
	return uint32(len(r.breakers))
}

// Classify puts "outcome, error class" of an answer into Output.
func (r *Reactor) Classify(status, failure uint32) {
	outcome, class := telemetry.Classify(int(status), telemetry.Failure(failure))
	r.begin(outcome)
	r.add(class)
}

// input is the text that the host wrote. It lives until the next call.
func (r *Reactor) input(n uint32) string {
	return unsafe.String(&r.Input[0], min(n, InputBytes))
}

func (r *Reactor) fields(n uint32) fields { return fields{r.input(n)} }

// begin makes a text the whole Output.
//
//go:noinline
func (r *Reactor) begin(text string) {
	r.text = append(r.text[:0], text...)
	r.Output = r.text
}

// add puts another field behind it.
//
//go:noinline
func (r *Reactor) add(text string) {
	r.text = append(append(r.text, separator), text...)
	r.Output = r.text
}

type fields struct{ rest string }

//go:noinline
func (f *fields) next() string {
	i := lean.IndexByte(f.rest, separator)
	if i < 0 {
		field := f.rest
		f.rest = ""
		return field
	}
	field := f.rest[:i]
	f.rest = f.rest[i+1:]
	return field
}
