package document

import (
	"perch/shared/jsonstream"
	"perch/shared/lean"
)

// Access says who may come in. Absent texts are "".
type Access struct {
	// Token is secret:NAME of the Replicate token that is held, or "": clients
	// bring their own.
	Token string
	Keys  []APIKey
	JWT   *JWT
	// RateLimit is the name of a rate-limit binding.
	RateLimit string
}

// APIKey admits whoever brings the text with that digest.
type APIKey struct {
	Name   string
	SHA256 string // 64 hexadecimal digits
}

// JWT says which tokens identify a user: exactly one of JWKS and Key is set.
type JWT struct {
	Algorithms []string // HS256 alone, or RS256 and ES256
	JWKS       string   // URL of the issuer's public keys
	Key        string   // secret:NAME of an HS256 secret or a PEM public key
	Issuer     string   // required of a token unless ""
	Audience   string   // required of a token unless ""
	User       string   // the claim that names the user; DefaultUserClaim unless given
}

// DefaultUserClaim is a JWT's subject.
const DefaultUserClaim = "sub"

// MaxKeys is the most API keys that a service may have.
const MaxKeys = 256

const secretPrefix = "secret:"

const (
	secretForm     = "write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"
	algorithmList  = "a list of HS256, RS256 and ES256"
	plainText      = "give at most 1000 printable ASCII characters, without blanks around them"
	bindingForm    = "give a binding's name in capitals"
	headerNameForm = "give a header's name in lower case"
)

// ParseAccess reads the worker's own access, a JSON object of the same shape as
// a document's. Errors are as Parse's; fields that it does not know are errors
// too, as one of them may have been meant to keep somebody out.
func ParseAccess(data []byte) (*Access, error) {
	var access *Access
	err := parseObject(data, func(r *reader, root *jsonstream.Value) {
		access = r.access(root, "")
		access.check("", r.c)
	})
	return access, err
}

// ParseHeaders reads headers to add to requests for Replicate, a JSON object of
// names and values. Errors are as Parse's.
func ParseHeaders(data []byte) ([]Header, error) {
	var headers []Header
	err := parseObject(data, func(r *reader, root *jsonstream.Value) {
		headers = r.headers(root, "")
		checkHeaders(headers, "", true, r.c)
	})
	return headers, err
}

func parseObject(data []byte, read func(*reader, *jsonstream.Value)) error {
	if len(data) > MaxBytes {
		return lean.Error("it is larger than 64 KiB")
	}
	root, err := jsonstream.Parse(data)
	if err != nil {
		return err
	}
	r := reader{c: new(checker)}
	if root.Kind != jsonstream.BeginObject {
		r.c.add("", "it must be a JSON object")
		return r.c.err()
	}
	read(&r, &root)
	for _, field := range r.unknown {
		r.c.add(field, "is not a field of it")
	}
	return r.c.err()
}

func (r *reader) access(object *jsonstream.Value, prefix string) *Access {
	a := new(Access)
	r.read(object, prefix, binding{"token", &a.Token}, binding{"keys", nil}, binding{"jwt", nil}, binding{"rate_limit", &a.RateLimit})
	keys := r.list(object, prefix, "keys")
	if len(keys) > 0 {
		a.Keys = make([]APIKey, len(keys))
	}
	for i := range keys {
		key := &a.Keys[i]
		r.read(&keys[i], keyField(prefix, i)+".", binding{"name", &key.Name}, binding{"sha256", &key.SHA256})
	}
	if jwt := r.object(object, prefix, "jwt"); jwt != nil {
		a.JWT = r.jwt(jwt, prefix+"jwt.")
	}
	return a
}

func keyField(prefix string, i int) string { return prefix + "keys[" + lean.Int(int64(i)) + "]" }

func (r *reader) jwt(object *jsonstream.Value, prefix string) *JWT {
	j := &JWT{User: DefaultUserClaim}
	r.read(object, prefix, binding{"algorithms", nil}, binding{"jwks", &j.JWKS}, binding{"key", &j.Key},
		binding{"issuer", &j.Issuer}, binding{"audience", &j.Audience}, binding{"user", &j.User})
	j.Algorithms, _ = r.texts(object, prefix, "algorithms", algorithmList)
	return j
}

func (r *reader) headers(object *jsonstream.Value, prefix string) []Header {
	var headers []Header
	for i := range object.Members {
		m := &object.Members[i]
		h := Header{Name: m.Name}
		r.take(&m.Value, prefix+m.Name, &h.Value)
		headers = append(headers, h)
	}
	return headers
}

func (a *Access) check(prefix string, c *checker) {
	c.require(prefix, "token", a.Token == "" || isSecret(a.Token), secretForm)
	c.require(prefix, "token", a.Token == "" || len(a.Keys) > 0 || a.JWT != nil, "needs keys or jwt beside it: nobody could come in")
	c.require(prefix, "keys", len(a.Keys) <= MaxKeys, "give at most 256")
	for i := range a.Keys {
		key := &a.Keys[i]
		field := keyField(prefix, i)
		c.require(field, ".name", IsSegment(key.Name), "give a name of 1 to 100 letters, digits, '.', '_' and '-'")
		c.require(field, ".sha256", IsVersionID(key.SHA256), "give the SHA-256 of the key, 64 hexadecimal digits in lower case")
		for j := range min(i, MaxKeys) {
			c.require(field, ".name", key.Name != a.Keys[j].Name, "is there twice")
		}
	}
	c.require(prefix, "rate_limit", a.RateLimit == "" || isConstant(a.RateLimit), bindingForm)
	if a.JWT != nil {
		a.JWT.check(prefix+"jwt.", c)
	}
}

func (j *JWT) check(prefix string, c *checker) {
	c.require(prefix, "user", j.User != "", "name a claim, such as sub")
	c.require(prefix, "algorithms", len(j.Algorithms) > 0, "give "+algorithmList)
	shared := false
	for _, name := range j.Algorithms {
		c.require(prefix, "algorithms", name == "HS256" || name == "RS256" || name == "ES256", "give "+algorithmList)
		shared = shared || name == "HS256"
	}
	c.require(prefix, "algorithms", !shared || len(j.Algorithms) == 1, "HS256 must stand alone, lest a public key be taken for its secret")
	c.require(prefix, "algorithms", !shared || j.JWKS == "", "HS256 needs key, not jwks")
	c.require(prefix[:len(prefix)-1], "", (j.JWKS == "") != (j.Key == ""), "give exactly one of jwks and key")
	c.require(prefix, "jwks", j.JWKS == "" || isKeysURL(j.JWKS), "write https://, a host and a path, without query or fragment")
	c.require(prefix, "key", j.Key == "" || isSecret(j.Key), secretForm)
	c.require(prefix, "issuer", isPlain(j.Issuer), plainText)
	c.require(prefix, "audience", isPlain(j.Audience), plainText)
	c.require(prefix, "user", isPlain(j.User), plainText)
}

// isKeysURL allows plain http to this machine alone: whoever can change the keys
// on their way can admit anybody.
func isKeysURL(text string) bool {
	local := lean.HasPrefix(text, "http://127.0.0.1:") || lean.HasPrefix(text, "http://localhost:")
	return isBaseURL(text) && (local || lean.HasPrefix(text, "https://"))
}

// checkHeaders refuses what would change how a request is framed or routed, and
// a token for Replicate: only access says who may use one.
func checkHeaders(headers []Header, prefix string, toReplicate bool, c *checker) {
	for i := range headers {
		h := &headers[i]
		field := prefix + h.Name
		c.require(field, "", isHeaderName(h.Name), headerNameForm)
		c.require(field, "", !isReserved(h.Name), "is set by the worker itself")
		c.require(field, "", !toReplicate || h.Name != "authorization", "would lend its token to everybody: hold it in access.token")
		if lean.HasPrefix(h.Value, secretPrefix) {
			c.require(field, "", isSecret(h.Value), secretForm)
		} else {
			c.require(field, "", h.Value != "" && isPlain(h.Value), plainText)
		}
		for j := range i {
			c.require(field, "", h.Name != headers[j].Name, "is there twice")
		}
	}
}

func isReserved(name string) bool {
	switch name {
	case "host", "content-length", "connection", "transfer-encoding", "upgrade", "keep-alive", "te", "trailer":
		return true
	}
	return lean.HasPrefix(name, "x-perch-")
}

// isSecret reports whether text is secret:NAME. The worker's own secrets are not
// to be had: a document is written by more people than hold them, and who knows
// what webhooks are signed with can make up outcomes.
//
//go:noinline
func isSecret(text string) bool {
	name, found := lean.CutPrefix(text, secretPrefix)
	return found && isConstant(name) && name != "REPLICATE_WEBHOOK_SECRET"
}

// isConstant reports whether text is a binding's name, [A-Z][A-Z0-9_]*, and not
// one of the worker's own.
//
//go:noinline
func isConstant(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		letter := 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return text != "" && len(text) <= 100 && !lean.HasPrefix(text, "PERCH_")
}

// isPlain reports whether text fits a header as it is.
//
//go:noinline
func isPlain(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return len(text) <= 1000 && (text == "" || text[0] != ' ' && text[len(text)-1] != ' ')
}

func (w *writer) access(a *Access) {
	if a == nil {
		return
	}
	w.name("access")
	w.open('{')
	w.optional("token", a.Token)
	if len(a.Keys) > 0 {
		w.name("keys")
		w.open('[')
		for _, key := range a.Keys {
			w.separate()
			w.open('{')
			w.text("name", key.Name)
			w.text("sha256", key.SHA256)
			w.close('}')
		}
		w.close(']')
	}
	if a.JWT != nil {
		w.jwt(a.JWT)
	}
	w.optional("rate_limit", a.RateLimit)
	w.close('}')
}

func (w *writer) jwt(j *JWT) {
	w.name("jwt")
	w.open('{')
	w.name("algorithms")
	w.open('[')
	for _, name := range j.Algorithms {
		w.item(name)
	}
	w.close(']')
	w.optional("jwks", j.JWKS)
	w.optional("key", j.Key)
	w.optional("issuer", j.Issuer)
	w.optional("audience", j.Audience)
	w.optional("user", j.User)
	w.close('}')
}
