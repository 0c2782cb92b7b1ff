package document

import (
	"perch/shared/jsonstream"
	"perch/shared/lean"
)

// Parse reads and validates a document. Fields that it does not know are
// ignored, as a newer Perch may have written them. Errors are ErrTooLarge, a
// syntax error of jsonstream, or *Invalid.
func Parse(data []byte) (*Document, error) {
	d, _, err := parse(data)
	return d, err
}

// ParseStrict is Parse, but fields that it does not know are problems too: for
// what a person wrote.
func ParseStrict(data []byte) (*Document, error) {
	d, unknown, err := parse(data)
	if len(unknown) == 0 {
		return d, err
	}
	c := checker{}
	if invalid, ok := err.(*Invalid); ok {
		c.problems = invalid.Problems
	} else if err != nil {
		return nil, err
	}
	for _, field := range unknown {
		c.add(field, "is not a field of a rollout document")
	}
	return nil, c.err()
}

// ErrTooLarge reports a document of more than MaxBytes.
const ErrTooLarge = lean.Error("rollout document is larger than 64 KiB")

func parse(data []byte) (*Document, []string, error) {
	if len(data) > MaxBytes {
		return nil, nil, ErrTooLarge
	}
	root, err := jsonstream.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	r := reader{c: new(checker)}
	if root.Kind != jsonstream.BeginObject {
		r.c.add("", "the document must be a JSON object")
		return nil, nil, r.c.err()
	}
	if schema := root.Get("schema"); schema == nil || schema.Kind != jsonstream.Number || schema.Text != "1" {
		r.c.add("schema", "this Perch reads schema 1; upgrade the worker or write the document with schema 1")
		return nil, nil, r.c.err()
	}
	d := r.document(&root)
	if len(r.c.problems) == 0 {
		err = d.Validate()
	} else {
		err = r.c.err()
	}
	if err != nil {
		return nil, r.unknown, err
	}
	return d, r.unknown, nil
}

// reader takes typed fields out of a tree, notes mismatches and what is unknown.
type reader struct {
	c       *checker
	unknown []string
}

// binding says where the value of a member goes: a *string, *int64, *bool or
// *milliseconds, or nil where it is read apart.
type binding struct {
	name string
	to   any
}

// milliseconds is a time limit, for which 0 is none given.
type milliseconds int64

// read takes an object's members. One that is repeated counts where it stands last.
func (r *reader) read(object *jsonstream.Value, prefix string, bindings ...binding) {
	for i := range object.Members {
		m := &object.Members[i]
		known := false
		for _, b := range bindings {
			if b.name == m.Name {
				known = true
				r.take(&m.Value, prefix+m.Name, b.to)
			}
		}
		if !known {
			r.unknown = append(r.unknown, prefix+m.Name)
		}
	}
}

func (r *reader) take(v *jsonstream.Value, field string, to any) {
	switch to := to.(type) {
	case *string:
		r.c.require(field, "", v.Kind == jsonstream.String, "must be a string")
		*to = v.Text
	case *int64:
		n, ok := integer(v)
		r.c.require(field, "", ok, "must be a whole number, 0 or more")
		*to = n
	case *milliseconds:
		n, ok := integer(v)
		r.c.require(field, "", ok && n > 0, timeRange)
		*to = milliseconds(n)
	case *bool:
		r.c.require(field, "", v.Kind == jsonstream.True || v.Kind == jsonstream.False, "must be true or false")
		*to = v.Kind == jsonstream.True
	}
}

func integer(v *jsonstream.Value) (int64, bool) {
	n, ok := parseDigits(v.Text)
	return n, ok && v.Kind == jsonstream.Number
}

func (r *reader) document(root *jsonstream.Value) *Document {
	d := new(Document)
	var service string
	r.read(root, "",
		binding{"schema", nil}, binding{"service", &service}, binding{"rollout", &d.Rollout}, binding{"generation", &d.Generation},
		binding{"mode", &d.Mode}, binding{"percentage", nil}, binding{"salt", &d.Salt}, binding{"targets", nil}, binding{"rules", nil},
		binding{"user", nil}, binding{"overrides", &d.Overrides}, binding{"fallback", nil}, binding{"access", nil},
		binding{"timeout_ms", (*milliseconds)(&d.TimeoutMS)}, binding{"idle_timeout_ms", (*milliseconds)(&d.IdleTimeoutMS)},
		binding{"outcomes", &d.Outcomes}, binding{"unattended_after_ms", &d.UnattendedAfterMS})
	d.BasisPoints = r.percentage(root)
	var err error
	if d.Service, err = ParseService(service); err != nil {
		r.c.add("", err.Error())
	}
	d.Targets = r.targets(root)
	d.Rules = r.rules(root)
	d.User = r.user(root)
	d.Fallback = r.fallback(root)
	if access := r.object(root, "", "access"); access != nil {
		d.Access = r.access(access, "access.")
	}
	return d
}

func (r *reader) targets(root *jsonstream.Value) []Target {
	object := r.object(root, "", "targets")
	if object == nil {
		return []Target{}
	}
	targets := make([]Target, len(object.Members))
	for i := range object.Members {
		m := &object.Members[i]
		prefix := "targets." + m.Name
		r.c.require(prefix, "", m.Value.Kind == jsonstream.BeginObject, "must be an object")
		prefix += "."
		t := &targets[i]
		t.Name = m.Name
		r.read(&m.Value, prefix,
			binding{"version", &t.Version}, binding{"deployment", &t.Deployment}, binding{"model", &t.Model}, binding{"url", &t.URL},
			binding{"credentials", &t.Credentials}, binding{"headers", nil}, binding{"fallback", &t.Fallback},
			binding{"timeout_ms", (*milliseconds)(&t.TimeoutMS)}, binding{"idle_timeout_ms", (*milliseconds)(&t.IdleTimeoutMS)})
		if headers := r.object(&m.Value, prefix, "headers"); headers != nil {
			t.Headers = r.headers(headers, prefix+"headers.")
		}
	}
	return targets
}

func (r *reader) rules(root *jsonstream.Value) []Rule {
	list := r.list(root, "", "rules")
	if len(list) == 0 {
		return nil
	}
	rules := make([]Rule, len(list))
	for i := range list {
		rule := &rules[i]
		r.read(&list[i], "rules["+lean.Int(int64(i))+"].",
			binding{"header", &rule.Header}, binding{"equals", &rule.Equals}, binding{"use", &rule.Use})
	}
	return rules
}

func (r *reader) user(root *jsonstream.Value) User {
	var u User
	if object := r.object(root, "", "user"); object != nil {
		r.read(object, "user.", binding{"header", &u.Header}, binding{"cookie", &u.Cookie}, binding{"from", &u.From})
	}
	if u.Header == "" {
		u.Header = DefaultUserHeader
	}
	if u.Cookie == "" {
		u.Cookie = DefaultUserCookie
	}
	return u
}

func (r *reader) percentage(root *jsonstream.Value) int {
	v := root.Get("percentage")
	if v == nil || v.Kind != jsonstream.Number {
		r.c.add("percentage", percentageRange)
		return 0
	}
	basisPoints, err := ParsePercentage(v.Text)
	if err != nil {
		r.c.add("percentage", v.Text+" is not allowed: "+percentageRange)
	}
	return basisPoints
}

// object returns a member that must be an object, or nil where it is none.
func (r *reader) object(parent *jsonstream.Value, prefix, name string) *jsonstream.Value {
	v := parent.Get(name)
	if v != nil && v.Kind != jsonstream.BeginObject {
		r.c.add(prefix+name, "must be an object")
		return nil
	}
	return v
}

// list returns the items of a member that must be a list.
func (r *reader) list(parent *jsonstream.Value, prefix, name string) []jsonstream.Value {
	v := parent.Get(name)
	if v == nil {
		return nil
	}
	r.c.require(prefix, name, v.Kind == jsonstream.BeginArray, "must be a list")
	return v.Items
}

// texts returns the items of a list of strings, and whether it is there at all.
func (r *reader) texts(parent *jsonstream.Value, prefix, name, form string) ([]string, bool) {
	v := parent.Get(name)
	if v == nil {
		return nil, false
	}
	var texts []string
	proper := v.Kind == jsonstream.BeginArray
	for i := range v.Items {
		proper = proper && v.Items[i].Kind == jsonstream.String
		texts = append(texts, v.Items[i].Text)
	}
	r.c.require(prefix, name, proper, "must be "+form)
	return texts, true
}
