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
	var c checker
	if root.Kind != jsonstream.BeginObject {
		c.add("", "the document must be a JSON object")
		return nil, nil, c.err()
	}
	r := reader{c: &c}
	if schema := r.integer(root, "", "schema"); schema != Schema {
		c.add("schema", "this Perch reads schema 1; upgrade the worker or write the document with schema 1")
		return nil, nil, c.err()
	}
	d := r.document(root)
	if len(c.problems) > 0 {
		return nil, r.unknown, c.err()
	}
	if err := d.Validate(); err != nil {
		return nil, r.unknown, err
	}
	return d, r.unknown, nil
}

// reader takes typed fields out of a tree, notes mismatches and what is unknown.
type reader struct {
	c       *checker
	unknown []string
}

func (r *reader) document(root jsonstream.Value) *Document {
	d := &Document{
		Rollout:           r.text(root, "", "rollout"),
		Generation:        r.integer(root, "", "generation"),
		Mode:              r.text(root, "", "mode"),
		BasisPoints:       r.percentage(root),
		Salt:              r.text(root, "", "salt"),
		UnattendedAfterMS: r.integer(root, "", "unattended_after_ms"),
		Overrides:         r.boolean(root, "", "overrides"),
		TimeoutMS:         r.milliseconds(root, "", "timeout_ms"),
		IdleTimeoutMS:     r.milliseconds(root, "", "idle_timeout_ms"),
		Fallback:          r.fallback(root),
		Outcomes:          r.text(root, "", "outcomes"),
	}
	if _, found := root.Get("access"); found {
		d.Access = r.access(r.object(root, "", "access"), "access.")
	}
	service, err := ParseService(r.text(root, "", "service"))
	if err != nil {
		r.c.add("", err.Error())
	}
	d.Service = service
	d.Targets = r.targets(root)
	d.Rules = r.rules(root)
	d.User = r.user(root)
	r.known(root, "", "schema", "service", "rollout", "generation", "mode", "percentage", "salt", "targets", "rules",
		"user", "overrides", "timeout_ms", "idle_timeout_ms", "fallback", "outcomes", "access", "unattended_after_ms")
	return d
}

func (r *reader) targets(root jsonstream.Value) []Target {
	object := r.object(root, "", "targets")
	targets := make([]Target, 0, len(object.Members))
	for _, m := range object.Members {
		field := "targets." + m.Name
		if m.Value.Kind != jsonstream.BeginObject {
			r.c.add(field, "must be an object")
			continue
		}
		targets = append(targets, Target{
			Name:       m.Name,
			Version:    r.text(m.Value, field+".", "version"),
			Deployment: r.text(m.Value, field+".", "deployment"),
			Model:      r.text(m.Value, field+".", "model"),
			URL:        r.text(m.Value, field+".", "url"),

			Credentials:   r.boolean(m.Value, field+".", "credentials"),
			Headers:       r.headers(r.object(m.Value, field+".", "headers"), field+".headers."),
			Fallback:      r.text(m.Value, field+".", "fallback"),
			TimeoutMS:     r.milliseconds(m.Value, field+".", "timeout_ms"),
			IdleTimeoutMS: r.milliseconds(m.Value, field+".", "idle_timeout_ms"),
		})
		r.known(m.Value, field+".", "version", "deployment", "model", "url", "credentials", "headers", "fallback", "timeout_ms", "idle_timeout_ms")
	}
	return targets
}

func (r *reader) rules(root jsonstream.Value) []Rule {
	list, found := root.Get("rules")
	if !found {
		return nil
	}
	if list.Kind != jsonstream.BeginArray {
		r.c.add("rules", "must be a list")
		return nil
	}
	var rules []Rule
	for i, item := range list.Items {
		prefix := "rules[" + lean.Int(int64(i)) + "]."
		rules = append(rules, Rule{
			Header: r.text(item, prefix, "header"),
			Equals: r.text(item, prefix, "equals"),
			Use:    r.text(item, prefix, "use"),
		})
		r.known(item, prefix, "header", "equals", "use")
	}
	return rules
}

func (r *reader) user(root jsonstream.Value) User {
	object := r.object(root, "", "user")
	u := User{
		Header: r.text(object, "user.", "header"),
		Cookie: r.text(object, "user.", "cookie"),
		From:   r.text(object, "user.", "from"),
	}
	if u.Header == "" {
		u.Header = DefaultUserHeader
	}
	if u.Cookie == "" {
		u.Cookie = DefaultUserCookie
	}
	r.known(object, "user.", "header", "cookie", "from")
	return u
}

func (r *reader) percentage(root jsonstream.Value) int {
	v, found := root.Get("percentage")
	if !found || v.Kind != jsonstream.Number {
		r.c.add("percentage", percentageRange)
		return 0
	}
	basisPoints, err := ParsePercentage(v.Text)
	if err != nil {
		r.c.add("percentage", v.Text+" is not allowed: "+percentageRange)
	}
	return basisPoints
}

//go:noinline
func (r *reader) text(object jsonstream.Value, prefix, name string) string {
	v, found := object.Get(name)
	if !found {
		return ""
	}
	if v.Kind != jsonstream.String {
		r.c.add(prefix+name, "must be a string")
	}
	return v.Text
}

//go:noinline
func (r *reader) integer(object jsonstream.Value, prefix, name string) int64 {
	v, found := object.Get(name)
	if !found {
		return 0
	}
	n, ok := parseDigits(v.Text)
	if v.Kind != jsonstream.Number || !ok {
		r.c.add(prefix+name, "must be a whole number, 0 or more")
	}
	return n
}

// integerInto replaces a default by what is given.
//
//go:noinline
func (r *reader) integerInto(n *int64, object jsonstream.Value, prefix, name string) {
	if _, found := object.Get(name); found {
		*n = r.integer(object, prefix, name)
	}
}

// milliseconds reads a time limit; 0 is none given.
//
//go:noinline
func (r *reader) milliseconds(object jsonstream.Value, prefix, name string) int64 {
	n := r.integer(object, prefix, name)
	if _, found := object.Get(name); found && n == 0 {
		r.c.add(prefix+name, timeRange)
	}
	return n
}

// texts reads a list of strings.
//
//go:noinline
func (r *reader) texts(list jsonstream.Value, field, form string) []string {
	var texts []string
	for _, item := range list.Items {
		if item.Kind != jsonstream.String {
			r.c.add(field, "must be "+form)
		}
		texts = append(texts, item.Text)
	}
	if list.Kind != jsonstream.BeginArray {
		r.c.add(field, "must be "+form)
	}
	return texts
}

//go:noinline
func (r *reader) boolean(object jsonstream.Value, prefix, name string) bool {
	v, found := object.Get(name)
	if found && v.Kind != jsonstream.True && v.Kind != jsonstream.False {
		r.c.add(prefix+name, "must be true or false")
	}
	return v.Kind == jsonstream.True
}

//go:noinline
func (r *reader) object(parent jsonstream.Value, prefix, name string) jsonstream.Value {
	v, found := parent.Get(name)
	if found && v.Kind != jsonstream.BeginObject {
		r.c.add(prefix+name, "must be an object")
	}
	return v
}

// known notes every member that is not among names.
//
//go:noinline
func (r *reader) known(object jsonstream.Value, prefix string, names ...string) {
	for _, m := range object.Members {
		found := false
		for _, name := range names {
			found = found || m.Name == name
		}
		if !found {
			r.unknown = append(r.unknown, prefix+m.Name)
		}
	}
}
