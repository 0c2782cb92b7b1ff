package document

import "perch/shared/lean"

const timeRange = "give 1 to 600000 milliseconds"

// Invalid lists everything that is wrong with a document, each as a sentence
// that begins with the field and says what is allowed.
type Invalid struct{ Problems []string }

func (e *Invalid) Error() string {
	text := ""
	for i, problem := range e.Problems {
		if i > 0 {
			text += "; "
		}
		text += problem
	}
	return text
}

// Validate reports an *Invalid, or nil.
func (d *Document) Validate() error {
	var c checker
	if _, err := ParseService(d.Service.String()); err != nil {
		c.add("", err.Error())
	}
	c.require("", "rollout", IsSegment(d.Rollout), "give the rollout an id of 1 to 100 letters, digits, '.', '_' and '-'")
	c.require("", "generation", d.Generation >= 0, "must be 0 or more")
	c.require("", "mode", d.Mode == ModeCanary, `must be "canary"`)
	c.require("", "percentage", d.BasisPoints >= 0 && d.BasisPoints <= 10_000, percentageRange)
	c.require("", "salt", d.Salt != "" && len(d.Salt) <= 100, "give 1 to 100 characters, fixed for the life of the rollout")
	c.require("", "unattended_after_ms", d.UnattendedAfterMS >= 0, "give epoch milliseconds, or leave it out")
	c.milliseconds("", "timeout_ms", d.TimeoutMS)
	c.milliseconds("", "idle_timeout_ms", d.IdleTimeoutMS)
	c.require("", "outcomes", d.Outcomes == "" || d.Outcomes == OutcomesWebhook, `must be "webhook", or be left out`)
	d.Fallback.check(&c)
	d.checkTargets(&c)
	d.checkRules(&c)
	d.checkUser(&c)
	if d.Access != nil {
		d.Access.check("access.", &c)
	}
	return c.err()
}

func (d *Document) checkTargets(c *checker) {
	c.require("", "targets.stable", d.Target(Stable) >= 0, "is missing: name what answers everyone who is not on the canary")
	if d.BasisPoints > 0 {
		c.require("", "targets.canary", d.Target(Canary) >= 0, "is missing, but the percentage is above 0")
	}
	c.require("", "targets", len(d.Targets) <= MaxTargets, "give at most 32")
	for i := range d.Targets {
		t := &d.Targets[i]
		field := "targets." + t.Name
		c.require(field, "", IsSegment(t.Name), "target names are letters, digits, '.', '_' and '-'")
		c.require(field, "", d.Target(t.Name) == i, "is there twice")
		t.check(field, d.Service.Kind, c)
		d.checkFallback(t, field+".fallback", c)
	}
}

func (t *Target) check(field string, kind Kind, c *checker) {
	set := len(t.Version) + len(t.Deployment) + len(t.Model) + len(t.URL)
	alone := set > 0 && (set == len(t.Version) || set == len(t.Deployment) || set == len(t.Model) || set == len(t.URL))
	c.require(field, "", alone, "give exactly one of version, deployment, model and url")
	c.require(field, "", kind != KindHTTP || t.URL != "", "an http service needs a url")
	c.require(field, ".credentials", !t.Credentials || t.URL != "", "is for url targets: Replicate always gets the client's credentials")
	if t.Version != "" {
		name, id, named := lean.Cut(t.Version, ':')
		if !named {
			id = t.Version
		}
		c.require(field, ".version", IsVersionID(id) && (!named || IsOwnerName(name)), "write owner/name:id or the id alone, 64 hexadecimal digits")
	}
	c.require(field, ".deployment", t.Deployment == "" || IsOwnerName(t.Deployment), "write owner/name")
	c.require(field, ".model", t.Model == "" || IsOwnerName(t.Model), "write owner/name")
	c.require(field, ".url", t.URL == "" || isBaseURL(t.URL), "write http:// or https://, a host and perhaps a path, without query or fragment")
	c.milliseconds(field, ".timeout_ms", t.TimeoutMS)
	c.milliseconds(field, ".idle_timeout_ms", t.IdleTimeoutMS)
	c.require(field, ".headers", len(t.Headers) <= MaxHeaders, "give at most 32")
	checkHeaders(t.Headers, field+".headers.", t.URL == "", c)
}

// checkFallback: stable answers where others fail; what falls back to the canary
// would reach it after a rollback too.
func (d *Document) checkFallback(t *Target, field string, c *checker) {
	switch t.Fallback {
	case "":
		return
	case Canary:
		c.add(field, "must not be the canary")
	case t.Name:
		c.add(field, "names its own target")
	}
	c.require(field, "", t.Name != Stable && t.Name != Canary, "is for targets of rules: the canary falls back to stable, and stable to none")
	c.require(field, "", d.Target(t.Fallback) >= 0, "names no target: "+quote(t.Fallback))
}

func isBaseURL(text string) bool {
	rest, found := lean.CutPrefix(text, "https://")
	if !found {
		rest, found = lean.CutPrefix(text, "http://")
	}
	host, _, _ := lean.Cut(rest, '/')
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return false
		}
	}
	return found && host != "" && host[0] != ':' && lean.IndexByte(host, '@') < 0 && lean.IndexByte(host, '\\') < 0
}

func (d *Document) checkRules(c *checker) {
	c.require("", "rules", len(d.Rules) <= MaxRules, "give at most 32")
	for i := range d.Rules {
		r := &d.Rules[i]
		field := "rules[" + lean.Int(int64(i)) + "]"
		c.require(field, ".header", isHeaderName(r.Header), headerNameForm)
		c.require(field, ".use", d.Target(r.Use) >= 0, "names no target: "+quote(r.Use))
	}
}

func (d *Document) checkUser(c *checker) {
	c.require("", "user.header", isHeaderName(d.User.Header), headerNameForm)
	c.require("", "user.cookie", isHeaderName(d.User.Cookie), "give a cookie's name in lower case")
	from := d.User.From
	c.require("", "user.from", from == "" || from == FromToken || from == FromAddress, "must be token or address, or be left out")
}

func isHeaderName(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return text != "" && len(text) <= 100
}

type checker struct{ problems []string }

//go:noinline
func (c *checker) add(field, problem string) {
	if field != "" {
		problem = field + ": " + problem
	}
	c.problems = append(c.problems, problem)
}

//go:noinline
func (c *checker) require(prefix, name string, holds bool, problem string) {
	if !holds {
		c.add(prefix+name, problem)
	}
}

//go:noinline
func (c *checker) milliseconds(prefix, name string, n int64) {
	c.require(prefix, name, n >= 0 && n <= MaxTimeMS, timeRange)
}

//go:noinline
func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &Invalid{Problems: c.problems}
}

//go:noinline
func quote(text string) string {
	if len(text) > 80 {
		text = text[:80] + "…"
	}
	return `"` + text + `"`
}
