package document

import (
	"perch/shared/jsonstream"
	"perch/shared/lean"
)

// Encode writes the document as JSON that Parse reads back to an equal one.
func (d *Document) Encode() []byte {
	w := writer{}
	w.open('{')
	w.integer("schema", Schema)
	w.text("service", d.Service.String())
	w.text("rollout", d.Rollout)
	w.integer("generation", d.Generation)
	w.text("mode", d.Mode)
	w.raw("percentage", FormatPercentage(d.BasisPoints))
	w.text("salt", d.Salt)
	w.name("targets")
	w.open('{')
	for _, t := range d.Targets {
		w.target(t)
	}
	w.close('}')
	w.rules(d.Rules)
	w.name("user")
	w.open('{')
	w.text("header", d.User.Header)
	w.text("cookie", d.User.Cookie)
	w.optional("from", d.User.From)
	w.close('}')
	w.flag("overrides", d.Overrides)
	w.number("timeout_ms", d.TimeoutMS)
	w.number("idle_timeout_ms", d.IdleTimeoutMS)
	w.fallback(d.Fallback)
	w.optional("outcomes", d.Outcomes)
	w.access(d.Access)
	w.number("unattended_after_ms", d.UnattendedAfterMS)
	w.close('}')
	return w.out
}

type writer struct {
	out   []byte
	comma bool // a comma is due before the next element
}

func (w *writer) target(t Target) {
	w.name(t.Name)
	w.open('{')
	w.optional("version", t.Version)
	w.optional("deployment", t.Deployment)
	w.optional("model", t.Model)
	w.optional("url", t.URL)
	w.flag("credentials", t.Credentials)
	if len(t.Headers) > 0 {
		w.name("headers")
		w.open('{')
		for _, h := range t.Headers {
			w.text(h.Name, h.Value)
		}
		w.close('}')
	}
	w.optional("fallback", t.Fallback)
	w.number("timeout_ms", t.TimeoutMS)
	w.number("idle_timeout_ms", t.IdleTimeoutMS)
	w.close('}')
}

func (w *writer) rules(rules []Rule) {
	if len(rules) == 0 {
		return
	}
	w.name("rules")
	w.open('[')
	for _, r := range rules {
		w.separate()
		w.open('{')
		w.text("header", r.Header)
		w.text("equals", r.Equals)
		w.text("use", r.Use)
		w.close('}')
	}
	w.close(']')
}

func (w *writer) separate() {
	if w.comma {
		w.out = append(w.out, ',')
	}
	w.comma = true
}

func (w *writer) open(bracket byte) {
	w.out = append(w.out, bracket)
	w.comma = false
}

func (w *writer) close(bracket byte) {
	w.out = append(w.out, bracket)
	w.comma = true
}

func (w *writer) name(name string) {
	w.separate()
	w.out = append(jsonstream.AppendString(w.out, name), ':')
}

func (w *writer) raw(name, literal string) {
	w.name(name)
	w.out = append(w.out, literal...)
}

func (w *writer) text(name, value string) {
	w.name(name)
	w.out = jsonstream.AppendString(w.out, value)
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) integer(name string, n int64) { w.raw(name, lean.Int(n)) }

// number writes what is not 0.
func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.integer(name, n)
	}
}

// flag writes what is true.
func (w *writer) flag(name string, set bool) {
	if set {
		w.raw(name, "true")
	}
}

// item writes a text in a list.
func (w *writer) item(value string) {
	w.separate()
	w.out = jsonstream.AppendString(w.out, value)
}
