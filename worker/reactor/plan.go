package reactor

import (
	"perch/shared/document"
	"perch/shared/jsonstream"
	"perch/shared/lean"
	"perch/shared/telemetry"
	"perch/worker/router"
)

// planWriter writes what the host needs of a document, as JSON, once per
// document. Its small methods are not inlined, as that would double its size.
type planWriter struct{ out []byte }

func (w *planWriter) plan(d *document.Document) {
	service := d.Service.String()
	w.raw(`{"service":`)
	w.value(service)
	w.text("rollout", d.Rollout)
	w.integer("generation", d.Generation)
	w.raw(`,"percentage":`)
	w.raw(document.FormatPercentage(d.BasisPoints))
	w.text("from", d.User.From)
	w.text("cookie", d.User.Cookie)
	w.flag("overrides", d.Overrides)
	w.text("outcomes", d.Outcomes)
	w.raw(`,"access":`)
	w.access(d.Access)
	w.raw(`,"fallback":{"maxBodyBytes":`)
	w.raw(lean.Int(int64(d.Failover().MaxBodyBytes)))
	w.raw(`},"headers":[`)
	w.value(d.User.Header)
	for i := range d.Rules {
		w.raw(",")
		w.value(d.Rules[i].Header)
	}
	w.raw(`],"targets":[`)
	for i := range d.Targets {
		w.separate(i)
		w.target(d, i, service)
	}
	w.raw(`]}`)
}

func (w *planWriter) target(d *document.Document, i int, service string) {
	t := &d.Targets[i]
	w.raw(`{"name":`)
	w.value(t.Name)
	w.integer("at", int64(i))
	w.text("index", telemetry.IndexOf(service, t.Name))
	w.text("path", router.ReplicatePath(t))
	w.text("url", t.URL)
	w.text("version", t.Version)
	w.flag("credentials", t.Credentials)
	w.integer("fallback", int64(d.FallbackOf(i)))
	w.integer("timeoutMS", d.TimeoutOf(i))
	w.integer("idleMS", d.IdleTimeoutOf(i))
	w.raw(`,"headers":`)
	w.headers(t.Headers)
	w.raw("}")
}

func (w *planWriter) headers(headers []document.Header) {
	w.raw("[")
	for i := range headers {
		w.separate(i)
		w.raw("[")
		w.value(headers[i].Name)
		w.raw(",")
		w.value(headers[i].Value)
		w.raw("]")
	}
	w.raw("]")
}

func (w *planWriter) access(a *document.Access) {
	if a == nil {
		w.raw("null")
		return
	}
	w.raw(`{"token":`)
	w.value(a.Token)
	w.raw(`,"keys":[`)
	for i := range a.Keys {
		w.separate(i)
		w.raw(`{"name":`)
		w.value(a.Keys[i].Name)
		w.text("sha256", a.Keys[i].SHA256)
		w.raw("}")
	}
	w.raw(`],"jwt":`)
	w.jwt(a.JWT)
	w.text("rateLimit", a.RateLimit)
	w.raw("}")
}

func (w *planWriter) jwt(j *document.JWT) {
	if j == nil {
		w.raw("null")
		return
	}
	w.raw(`{"algorithms":[`)
	for i, name := range j.Algorithms {
		w.separate(i)
		w.value(name)
	}
	w.raw("]")
	w.text("jwks", j.JWKS)
	w.text("key", j.Key)
	w.text("issuer", j.Issuer)
	w.text("audience", j.Audience)
	w.text("user", j.User)
	w.raw("}")
}

//go:noinline
func (w *planWriter) raw(text string) { w.out = append(w.out, text...) }

//go:noinline
func (w *planWriter) value(text string) { w.out = jsonstream.AppendString(w.out, text) }

// separate writes the comma before all elements but the first.
func (w *planWriter) separate(i int) {
	if i > 0 {
		w.raw(",")
	}
}

func (w *planWriter) name(name string) {
	w.raw(`,"`)
	w.raw(name)
	w.raw(`":`)
}

//go:noinline
func (w *planWriter) text(name, value string) {
	w.name(name)
	w.value(value)
}

//go:noinline
func (w *planWriter) integer(name string, n int64) {
	w.name(name)
	w.raw(lean.Int(n))
}

//go:noinline
func (w *planWriter) flag(name string, set bool) {
	w.name(name)
	if set {
		w.raw("true")
	} else {
		w.raw("false")
	}
}
