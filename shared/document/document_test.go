package document

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/jsonstream"
)

var versionID = strings.Repeat("0123456789abcdef", 4)

// whole is a document with every field.
var whole = `{
  "schema": 1, "service": "model:acme/flux", "rollout": "2026-11-20-a", "generation": 7,
  "mode": "canary", "percentage": 12.5, "salt": "2026-11-20-a",
  "targets": {
    "stable": {"version": "acme/flux:` + versionID + `"},
    "canary": {"deployment": "acme/flux-next"},
    "person": {"url": "https://person.internal.example/base", "credentials": true, "headers": {"x-api-key": "secret:PERSON_KEY", "x-team": "a b"},
      "fallback": "stable", "timeout_ms": 5000, "idle_timeout_ms": 60000},
    "other": {"model": "acme/other"}
  },
  "rules": [{"header": "x-model-type", "equals": "person", "use": "person"}],
  "user": {"header": "x-user", "cookie": "who", "from": "token"},
  "overrides": true,
  "fallback": {"on": ["connect", "failed"], "max_body_bytes": 0, "resend_creates": true, "breaker_failures": 3, "breaker_retry_ms": 1000},
  "timeout_ms": 20000, "idle_timeout_ms": 600000,
  "outcomes": "webhook",
  "access": {"token": "secret:REPLICATE_API_TOKEN", "keys": [{"name": "mobile", "sha256": "` + versionID + `"}],
    "jwt": {"algorithms": ["RS256", "ES256"], "jwks": "https://issuer.example/jwks.json", "issuer": "https://issuer.example/", "audience": "perch", "user": "email"},
    "rate_limit": "LIMITER"},
  "unattended_after_ms": 1795190400000
}`

func TestParse(t *testing.T) {
	d, err := ParseStrict([]byte(whole))
	require.NoError(t, err)
	require.Equal(t, &Document{
		Service: Service{Kind: KindModel, Name: "acme/flux"}, Rollout: "2026-11-20-a", Generation: 7, Mode: ModeCanary,
		BasisPoints: 1250, Salt: "2026-11-20-a",
		Targets: []Target{
			{Name: "stable", Version: "acme/flux:" + versionID},
			{Name: "canary", Deployment: "acme/flux-next"},
			{Name: "person", URL: "https://person.internal.example/base", Credentials: true, Fallback: "stable", TimeoutMS: 5000, IdleTimeoutMS: 60000,
				Headers: []Header{{"x-api-key", "secret:PERSON_KEY"}, {"x-team", "a b"}}},
			{Name: "other", Model: "acme/other"},
		},
		Rules:     []Rule{{Header: "x-model-type", Equals: "person", Use: "person"}},
		User:      User{Header: "x-user", Cookie: "who", From: FromToken},
		Overrides: true, UnattendedAfterMS: 1795190400000,
		TimeoutMS: 20000, IdleTimeoutMS: 600000, Outcomes: OutcomesWebhook,
		Fallback: &Fallback{On: OnConnect | OnFailed, ResendCreates: true, BreakerFailures: 3, BreakerRetryMS: 1000},
		Access: &Access{
			Token: "secret:REPLICATE_API_TOKEN", Keys: []APIKey{{"mobile", versionID}}, RateLimit: "LIMITER",
			JWT: &JWT{Algorithms: []string{"RS256", "ES256"}, JWKS: "https://issuer.example/jwks.json", Issuer: "https://issuer.example/", Audience: "perch", User: "email"},
		},
	}, d)
}

// least is the smallest document.
const least = `{"schema":1,"service":"acme/flux","rollout":"r","mode":"canary","percentage":0,"salt":"s","targets":{"stable":{"model":"acme/flux"}}}`

// TestDefaults: what may be left out, and what it then is.
func TestDefaults(t *testing.T) {
	d, err := ParseStrict([]byte(least))
	require.NoError(t, err)
	require.Equal(t, &Document{
		Service: Service{Kind: KindModel, Name: "acme/flux"}, Rollout: "r", Mode: ModeCanary, Salt: "s",
		Targets: []Target{{Name: "stable", Model: "acme/flux"}},
		User:    User{Header: DefaultUserHeader, Cookie: DefaultUserCookie},
	}, d)
}

// TestDefaultsOfObjects: objects that are there but empty mean their defaults.
func TestDefaultsOfObjects(t *testing.T) {
	standard := DefaultFallback()
	for text, want := range map[string]func(*Document){
		`"fallback": {}`: func(d *Document) { d.Fallback = &standard },
		`"fallback": {"on": []}`: func(d *Document) {
			off := standard
			off.On = 0
			d.Fallback = &off
		},
		`"access": {}`: func(d *Document) { d.Access = &Access{} },
		`"access": {"keys": [], "jwt": {"algorithms": ["HS256"], "key": "secret:K"}}`: func(d *Document) {
			d.Access = &Access{JWT: &JWT{Algorithms: []string{"HS256"}, Key: "secret:K", User: "sub"}}
		},
		`"user": {}, "rules": []`: func(*Document) {},
	} {
		d, err := ParseStrict([]byte(strings.Replace(least, `"salt"`, text+`,"salt"`, 1)))
		require.NoError(t, err, text)
		expected, err := ParseStrict([]byte(least))
		require.NoError(t, err)
		want(expected)
		require.Equal(t, expected, d, text)
	}
}

// TestFallbackOf: who answers where a target fails, and how long each is waited for.
func TestFallbackOf(t *testing.T) {
	parse := func(more, person string) *Document {
		d, err := ParseStrict([]byte(`{"schema":1,"service":"acme/flux","rollout":"r","mode":"canary","percentage":0,"salt":"s"` + more + `,
			"targets":{"canary":{"model":"acme/next"},"stable":{"model":"acme/flux"},"person":{"url":"http://p"` + person + `}}}`))
		require.NoError(t, err)
		return d
	}
	tests := []struct {
		name, more, person string
		fallbacks          [3]int // of canary, stable and person
		timeouts, idle     [3]int64
	}{
		{"defaults", "", "", [3]int{1, -1, -1}, [3]int64{30000, 0, 0}, [3]int64{30000, 30000, 30000}},
		{"a rule's target has its own", "", `,"fallback":"stable"`, [3]int{1, -1, 1}, [3]int64{30000, 0, 30000}, [3]int64{30000, 30000, 30000}},
		{"switched off", `,"fallback":{"on":[]}`, `,"fallback":"stable"`, [3]int{-1, -1, -1}, [3]int64{}, [3]int64{30000, 30000, 30000}},
		{"limits of the service are for all", `,"timeout_ms":7,"idle_timeout_ms":8`, "", [3]int{1, -1, -1}, [3]int64{7, 7, 7}, [3]int64{8, 8, 8}},
		{"a target's own limits come first", `,"timeout_ms":7,"idle_timeout_ms":8`, `,"timeout_ms":9,"idle_timeout_ms":10`, [3]int{1, -1, -1}, [3]int64{7, 7, 9}, [3]int64{8, 8, 10}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := parse(test.more, test.person)
			for i := range d.Targets {
				require.Equal(t, test.fallbacks[i], d.FallbackOf(i), d.Targets[i].Name)
				require.Equal(t, test.timeouts[i], d.TimeoutOf(i), d.Targets[i].Name)
				require.Equal(t, test.idle[i], d.IdleTimeoutOf(i), d.Targets[i].Name)
			}
		})
	}
}

// TestBadDocuments: each says which field is wrong and what is allowed, and an
// unreadable one is never taken for a document.
func TestBadDocuments(t *testing.T) {
	change := func(from, to string) string {
		require.Contains(t, whole, from)
		return strings.Replace(whole, from, to, 1)
	}
	const percentage = "percentage: give 0 to 100 with at most two decimals"
	const rolloutID = "rollout: give the rollout an id of 1 to 100 letters, digits, '.', '_' and '-'"
	refusedPercentage := func(text string) string {
		return "percentage: " + text + " is not allowed: give 0 to 100 with at most two decimals"
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", "unexpected end of JSON"},
		{"truncated", whole[:200], "unexpected end of JSON"},
		{"no JSON", "percentage: 5", "invalid JSON"},
		{"two documents", whole + whole, "invalid JSON"},
		{"a list", "[]", "the document must be a JSON object"},
		{"null", "null", "the document must be a JSON object"},
		{"nested too deeply", strings.Repeat("[", 600), "JSON nested too deeply"},
		{"too large", strings.Repeat(" ", MaxBytes) + "1", "rollout document is larger than 64 KiB"},
		{"newer schema", change(`"schema": 1`, `"schema": 2`),
			"schema: this Perch reads schema 1; upgrade the worker or write the document with schema 1"},
		{"no schema", "{}", "schema: this Perch reads schema 1; upgrade the worker or write the document with schema 1"},
		{"percentage too high", change("12.5", "250"), refusedPercentage("250")},
		{"percentage negative", change("12.5", "-1"), refusedPercentage("-1")},
		{"percentage too fine", change("12.5", "5.123"), refusedPercentage("5.123")},
		{"percentage with exponent", change("12.5", "1e2"), refusedPercentage("1e2")},
		{"percentage as text", change("12.5", `"5"`), percentage},
		{"percentage null", change("12.5", "null"), percentage},
		{"no percentage", change(`"percentage": 12.5,`, ""), percentage},
		{"service of unknown kind", change("model:acme", "queue:acme"),
			`service "queue:acme/flux": the kind must be model, deployment or http`},
		{"service without owner", change("model:acme/flux", "flux"),
			`service "flux": write owner/name of letters, digits, '.', '_' and '-'`},
		{"service as number", change(`"model:acme/flux"`, "1"),
			`service: must be a string; service "1": write owner/name of letters, digits, '.', '_' and '-'`},
		{"no rollout", change(`"rollout": "2026-11-20-a",`, ""), rolloutID},
		{"long rollout", change(`"rollout": "`, `"rollout": "`+strings.Repeat("x", 100)), rolloutID},
		{"rollout that fits no header", change(`"rollout": "2026`, `"rollout": "é2026`), rolloutID},
		{"generation negative", change(`"generation": 7`, `"generation": -7`), "generation: must be a whole number, 0 or more"},
		{"generation of 20 digits", change(`"generation": 7`, `"generation": 99999999999999999999`), "generation: must be a whole number, 0 or more"},
		{"generation as text", change(`"generation": 7`, `"generation": "7"`), "generation: must be a whole number, 0 or more"},
		{"unknown mode", change(`"mode": "canary"`, `"mode": "blue-green"`), `mode: must be "canary"`},
		{"no salt", change(`"salt": "2026-11-20-a"`, `"salt": ""`), "salt: give 1 to 100 characters, fixed for the life of the rollout"},
		{"unattended as fraction", change("1795190400000", "1.5"), "unattended_after_ms: must be a whole number, 0 or more"},
		{"overrides as text", change(`"overrides": true`, `"overrides": "yes"`), "overrides: must be true or false"},
		{"targets as list", change(`"targets": {`, `"targets": [], "ignored": {`),
			"targets: must be an object"},
		{"target as text", change(`{"deployment": "acme/flux-next"}`, `"acme/flux-next"`), "targets.canary: must be an object"},
		{"no stable", change(`"stable"`, `"steady"`),
			`targets.stable: is missing: name what answers everyone who is not on the canary; targets.person.fallback: names no target: "stable"`},
		{"no canary", change(`"canary": {`, `"second": {`), "targets.canary: is missing, but the percentage is above 0"},
		{"target twice", change(`"other"`, `"canary"`), "targets.canary: is there twice"},
		{"target of bad name", change(`"other"`, `"the other"`), "targets.the other: target names are letters, digits, '.', '_' and '-'"},
		{"target without upstream", change(`{"model": "acme/other"}`, `{}`), "targets.other: give exactly one of version, deployment, model and url"},
		{"target with two upstreams", change(`{"model": "acme/other"}`, `{"model": "acme/other", "deployment": "acme/other"}`),
			"targets.other: give exactly one of version, deployment, model and url"},
		{"short version", change(versionID, "5c7d"), "targets.stable.version: write owner/name:id or the id alone, 64 hexadecimal digits"},
		{"version in capitals", change(versionID, strings.ToUpper(versionID)), "targets.stable.version: write owner/name:id or the id alone, 64 hexadecimal digits"},
		{"version of no model", change("acme/flux:0", "flux:0"), "targets.stable.version: write owner/name:id or the id alone, 64 hexadecimal digits"},
		{"deployment without owner", change("acme/flux-next", "flux-next"), "targets.canary.deployment: write owner/name"},
		{"model with three parts", change("acme/other", "acme/other/x"), "targets.other.model: write owner/name"},
		{"url of another scheme", change("https://person", "ftp://person"),
			"targets.person.url: write http:// or https://, a host and perhaps a path, without query or fragment"},
		{"url with query", change("/base", "/base?x=1"),
			"targets.person.url: write http:// or https://, a host and perhaps a path, without query or fragment"},
		{"url with password", change("https://person", "https://me:pw@person"),
			"targets.person.url: write http:// or https://, a host and perhaps a path, without query or fragment"},
		{"url without host", change("https://person.internal.example", "https://"),
			"targets.person.url: write http:// or https://, a host and perhaps a path, without query or fragment"},
		{"url with a bare port", change("https://person.internal.example", "https://:80"),
			"targets.person.url: write http:// or https://, a host and perhaps a path, without query or fragment"},
		{"credentials for replicate", change(`"acme/other"}`, `"acme/other", "credentials": true}`),
			"targets.other.credentials: is for url targets: Replicate always gets the client's credentials"},
		{"http service without url", strings.Replace(least, "acme/flux", "http:qwen", 1), "targets.stable: an http service needs a url"},
		{"rules as object", change(`"rules": [`, `"rules": {}, "ignored": [`), "rules: must be a list"},
		{"rule as text", change(`[{"header": "x-model-type", "equals": "person", "use": "person"}]`, `["x"]`),
			`rules[0].header: give a header's name in lower case; rules[0].use: names no target: ""`},
		{"rule for an unknown target", change(`"use": "person"`, `"use": "nobody"`), `rules[0].use: names no target: "nobody"`},
		{"rule's header in capitals", change("x-model-type", "X-Model-Type"), "rules[0].header: give a header's name in lower case"},
		{"user's header with a space", change(`"x-user"`, `"x user"`), "user.header: give a header's name in lower case"},
		{"user's cookie with a semicolon", change(`"who"`, `"who;"`), "user.cookie: give a cookie's name in lower case"},
		{"user from elsewhere", change(`"token"`, `"body"`), "user.from: must be token or address, or be left out"},
		{"user as text", change(`"user": {`, `"user": "me", "ignored": {`), "user: must be an object"},
		{"fallback as text", change(`"fallback": {"on"`, `"fallback": "stable", "ignored": {"on"`), "fallback: must be an object"},
		{"unknown cause", change(`["connect", "failed"]`, `["connect", "429"]`),
			`fallback.on: give a list of connect, reset, timeout, 5xx and failed`},
		{"causes as text", change(`["connect", "failed"]`, `"connect"`), "fallback.on: must be a list of connect, reset, timeout, 5xx and failed"},
		{"body of 8 MiB and a byte", change(`"max_body_bytes": 0`, `"max_body_bytes": 8388609`), "fallback.max_body_bytes: give 0 to 8388608"},
		{"breaker after a thousand and one", change(`"breaker_failures": 3`, `"breaker_failures": 1001`), "fallback.breaker_failures: give 1 to 1000, or 0 for no breaker"},
		{"breaker without a wait", change(`"breaker_retry_ms": 1000`, `"breaker_retry_ms": 0`), "fallback.breaker_retry_ms: give 1 to 600000 milliseconds"},
		{"no time at all", change(`"timeout_ms": 20000`, `"timeout_ms": 0`), "timeout_ms: give 1 to 600000 milliseconds"},
		{"ten minutes and more", change(`"idle_timeout_ms": 600000`, `"idle_timeout_ms": 600001`), "idle_timeout_ms: give 1 to 600000 milliseconds"},
		{"a target's time as text", change(`"timeout_ms": 5000`, `"timeout_ms": "5s"`),
			"targets.person.timeout_ms: give 1 to 600000 milliseconds"},
		{"a target's idle time too long", change(`"idle_timeout_ms": 60000}`, `"idle_timeout_ms": 600001}`), "targets.person.idle_timeout_ms: give 1 to 600000 milliseconds"},
		{"outcomes from elsewhere", change(`"outcomes": "webhook"`, `"outcomes": "polls"`), `outcomes: must be "webhook", or be left out`},
		{"fallback to the canary", change(`"fallback": "stable"`, `"fallback": "canary"`), "targets.person.fallback: must not be the canary"},
		{"fallback to itself", change(`"fallback": "stable"`, `"fallback": "person"`), "targets.person.fallback: names its own target"},
		{"fallback to nobody", change(`"fallback": "stable"`, `"fallback": "nobody"`), `targets.person.fallback: names no target: "nobody"`},
		{"fallback of the canary", change(`"acme/flux-next"`, `"acme/flux-next", "fallback": "person"`),
			"targets.canary.fallback: is for targets of rules: the canary falls back to stable, and stable to none"},
		{"fallback of stable", strings.Replace(least, `"model":"acme/flux"`, `"model":"acme/flux","fallback":"stable"`, 1),
			"targets.stable.fallback: names its own target; targets.stable.fallback: is for targets of rules: the canary falls back to stable, and stable to none"},
		{"headers as list", change(`"headers": {"x-api`, `"headers": [], "ignored": {"x-api`), "targets.person.headers: must be an object"},
		{"header in capitals", change("x-api-key", "X-Api-Key"), "targets.person.headers.X-Api-Key: give a header's name in lower case"},
		{"header as number", change(`"a b"`, "5"), "targets.person.headers.x-team: must be a string"},
		{"header twice", change("x-team", "x-api-key"), "targets.person.headers.x-api-key: is there twice"},
		{"header of two lines", change(`"a b"`, `"a\r\nhost: b"`), "targets.person.headers.x-team: give at most 1000 printable ASCII characters, without blanks around them"},
		{"header of nothing", change(`"a b"`, `""`), "targets.person.headers.x-team: give at most 1000 printable ASCII characters, without blanks around them"},
		{"header that frames the request", change("x-team", "transfer-encoding"), "targets.person.headers.transfer-encoding: is set by the worker itself"},
		{"header of the worker's", change("x-team", "x-perch-variant"), "targets.person.headers.x-perch-variant: is set by the worker itself"},
		{"header of a secret of the worker's", change("secret:PERSON_KEY", "secret:PERCH_SEAL_KEY"),
			"targets.person.headers.x-api-key: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"},
		{"header of what webhooks are signed with", change("secret:PERSON_KEY", "secret:REPLICATE_WEBHOOK_SECRET"),
			"targets.person.headers.x-api-key: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"},
		{"header that lends a token of Replicate's", strings.Replace(least, `"model":"acme/flux"`, `"model":"acme/flux","headers":{"authorization":"secret:T"}`, 1),
			"targets.stable.headers.authorization: would lend its token to everybody: hold it in access.token"},
		{"header of a secret in small letters", change("secret:PERSON_KEY", "secret:person"),
			"targets.person.headers.x-api-key: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"},
		{"access as text", change(`"access": {`, `"access": "all", "ignored": {`), "access: must be an object"},
		{"token in the clear", change("secret:REPLICATE_API_TOKEN", "r8_abc"), "access.token: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"},
		{"token and nobody to use it", strings.Replace(least, `"salt"`, `"access":{"token":"secret:T"},"salt"`, 1),
			"access.token: needs keys or jwt beside it: nobody could come in"},
		{"key in the clear", change(`"sha256": "0`, `"sha256": "g`), "access.keys[0].sha256: give the SHA-256 of the key, 64 hexadecimal digits in lower case"},
		{"key without a name", change(`"name": "mobile", `, ""), "access.keys[0].name: give a name of 1 to 100 letters, digits, '.', '_' and '-'"},
		{"keys as object", change(`"keys": [`, `"keys": {}, "ignored": [`), "access.keys: must be a list"},
		{"key twice", change(`"keys": [`, `"keys": [{"name": "mobile", "sha256": "`+versionID+`"}, `), "access.keys[1].name: is there twice"},
		{"jwt as text", change(`"jwt": {`, `"jwt": "yes", "ignored": {`),
			"access.jwt: must be an object"},
		{"jwt without algorithms", change(`"algorithms": ["RS256", "ES256"], `, ""), "access.jwt.algorithms: give a list of HS256, RS256 and ES256"},
		{"jwt that anybody can write", change(`"RS256", "ES256"`, `"none"`), `access.jwt.algorithms: give a list of HS256, RS256 and ES256`},
		{"jwt whose public key could be its secret", change(`"RS256", "ES256"`, `"RS256", "HS256"`),
			"access.jwt.algorithms: HS256 must stand alone, lest a public key be taken for its secret; access.jwt.algorithms: HS256 needs key, not jwks"},
		{"jwt with two keys", change(`"issuer":`, `"key": "secret:K", "issuer":`), "access.jwt: give exactly one of jwks and key"},
		{"jwt without a key", change(`"jwks": "https://issuer.example/jwks.json", `, ""), "access.jwt: give exactly one of jwks and key"},
		{"jwt's key in the clear", change(`"jwks": "https://issuer.example/jwks.json"`, `"key": "-----BEGIN"`),
			"access.jwt.key: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET"},
		{"jwt's keys over an open line", change("https://issuer.example/jwks", "http://issuer.example/jwks"),
			"access.jwt.jwks: write https://, a host and a path, without query or fragment"},
		{"jwt's keys as if they were here", change("https://issuer.example/jwks", "http://localhost:80@issuer.example/jwks"),
			"access.jwt.jwks: write https://, a host and a path, without query or fragment"},
		{"jwt's audience of two lines", change(`"audience": "perch"`, `"audience": "a\nb"`),
			"access.jwt.audience: give at most 1000 printable ASCII characters, without blanks around them"},
		{"limiter in small letters", change("LIMITER", "limiter"), "access.rate_limit: give a binding's name in capitals"},
		{"too many rules", change(`"rules": [`, `"rules": [`+strings.Repeat(`{"header":"h","equals":"","use":"other"},`, MaxRules)), "rules: give at most 32"},
		{"too many targets", change(`"other"`, manyTargets()+`"other"`), "targets: give at most 32"},
		{"several problems at once", strings.NewReplacer(`"salt": "2026-11-20-a"`, `"salt": ""`, "acme/other", "other").Replace(whole),
			"salt: give 1 to 100 characters, fixed for the life of the rollout; targets.other.model: write owner/name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := Parse([]byte(test.text))
			require.EqualError(t, err, test.want)
			require.Nil(t, d)
		})
	}
}

func manyTargets() string {
	var text strings.Builder
	for i := range MaxTargets {
		fmt.Fprintf(&text, `"t%d": {"model": "a/b"}, `, i)
	}
	return text.String()
}

// TestUnknownFields: the edge ignores what a newer Perch wrote, a person is told.
func TestUnknownFields(t *testing.T) {
	text := strings.NewReplacer(`"schema": 1,`, `"schema": 1, "persentage": 5,`, `"url":`, `"weight": 1, "url":`,
		`"equals":`, `"prefix": "x", "equals":`, `"from":`, `"form": "x", "from":`,
		`"on":`, `"off": 1, "on":`, `"sha256":`, `"sha1": 1, "sha256":`, `"issuer":`, `"leeway": 1, "issuer":`, `"rate_limit":`, `"rate": 1, "rate_limit":`).Replace(whole)
	d, err := Parse([]byte(text))
	require.NoError(t, err)
	want, err := Parse([]byte(whole))
	require.NoError(t, err)
	require.Equal(t, want, d)

	d, err = ParseStrict([]byte(text))
	require.Nil(t, d)
	const is = ": is not a field of a rollout document; "
	require.EqualError(t, err, "persentage"+is+"targets.person.weight"+is+"rules[0].prefix"+is+"user.form"+is+
		"fallback.off"+is+"access.rate"+is+"access.keys[0].sha1"+is+"access.jwt.leeway: is not a field of a rollout document")

	_, err = ParseStrict([]byte(strings.Replace(text, "12.5", "250", 1)))
	require.ErrorContains(t, err, "percentage: 250 is not allowed")
	require.ErrorContains(t, err, "persentage: is not a field")
}

// TestRoundTrip: a document is read back as it was written.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		d := randomDocument(r)
		require.NoError(t, d.Validate(), "%s", d.Encode())
		read, err := ParseStrict(d.Encode())
		require.NoError(t, err, "%s", d.Encode())
		require.Equal(t, d, read)
		require.Equal(t, string(d.Encode()), string(read.Encode()))
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomDocument(r *rand.Rand) *Document {
	texts := []string{"2026-11-20-a", "é😀", `quote " and \`, "line\nbreak\t\x01", "</script>", strings.Repeat("x", 100)}
	d := &Document{
		Service: pick(r, Service{KindModel, "acme/flux"}, Service{KindDeployment, "a.b/c_d"}, Service{KindHTTP, "qwen"}),
		Rollout: pick(r, "2026-11-20-a", "r", strings.Repeat("x", 100)), Salt: pick(r, texts...), Mode: ModeCanary,
		Generation: pick(r, 0, 1, r.Int64N(1e18)), BasisPoints: pick(r, 0, 1, 5, 10, 100, 9999, 10000, r.IntN(10001)),
		User: User{
			Header: pick(r, DefaultUserHeader, "x-u_1"), Cookie: pick(r, DefaultUserCookie, "c"), From: pick(r, "", FromToken, FromAddress),
		},
		Overrides: r.IntN(2) == 0, UnattendedAfterMS: pick(r, 0, 1795190400000, r.Int64N(1e18)),
		TimeoutMS: pick[int64](r, 0, 1, MaxTimeMS), IdleTimeoutMS: pick[int64](r, 0, 30_000), Outcomes: pick(r, "", OutcomesWebhook),
		Fallback: pick(r, nil, &Fallback{
			On: Causes(r.IntN(1 << len(causeNames))), MaxBodyBytes: r.Int64N(MaxBodyBytes + 1), ResendCreates: r.IntN(2) == 0,
			BreakerFailures: r.Int64N(MaxBreakerFailures + 1), BreakerRetryMS: 1 + r.Int64N(MaxTimeMS),
		}),
		Access: pick(r, nil, randomAccess(r)),
	}
	for _, name := range []string{Stable, Canary, "person", "0.t-_"}[:2+r.IntN(3)] {
		d.Targets = append(d.Targets, randomTarget(r, name, d.Service.Kind))
	}
	for i := 2; i < len(d.Targets); i++ {
		d.Targets[i].Fallback = pick(r, "", Stable)
	}
	for range r.IntN(4) {
		d.Rules = append(d.Rules, Rule{Header: "x-h", Equals: pick(r, append(texts, "")...), Use: pick(r, d.Targets...).Name})
	}
	return d
}

func randomAccess(r *rand.Rand) *Access {
	a := &Access{RateLimit: pick(r, "", "LIMITER_2")}
	for i := range r.IntN(3) {
		a.Keys = append(a.Keys, APIKey{Name: fmt.Sprint("key-", i), SHA256: versionID})
	}
	a.JWT = pick(r, nil,
		&JWT{Algorithms: []string{"HS256"}, Key: "secret:K", User: "sub", Issuer: pick(r, "", `"a"`)},
		&JWT{Algorithms: []string{"ES256", "RS256"}, JWKS: pick(r, "https://h/k", "http://127.0.0.1:80/k"), User: "email", Audience: pick(r, "", "x")})
	if len(a.Keys) > 0 || a.JWT != nil {
		a.Token = pick(r, "", "secret:REPLICATE_API_TOKEN")
	}
	return a
}

func randomTarget(r *rand.Rand, name string, kind Kind) Target {
	t := Target{Name: name, TimeoutMS: pick[int64](r, 0, 5), IdleTimeoutMS: pick[int64](r, 0, 6)}
	for i := range r.IntN(3) {
		t.Headers = append(t.Headers, Header{fmt.Sprint("x-", i), pick(r, "secret:A_1", `a "b" \`, "x")})
	}
	n := 3
	if kind != KindHTTP {
		n = r.IntN(4)
	}
	switch n {
	case 0:
		t.Version = pick(r, "", "acme/flux:") + versionID
	case 1:
		t.Deployment = "acme/next"
	case 2:
		t.Model = "acme/flux"
	case 3:
		t.URL = pick(r, "https://h.example", "http://127.0.0.1:8080/a/b%20c/")
		t.Credentials = r.IntN(2) == 0
	}
	return t
}

// FuzzParse: no text harms the reader, and what it accepts is valid, within its
// bounds and survives being written.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(least))
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomDocument(r).Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		strict, strictErr := ParseStrict(data)
		if err != nil {
			require.Nil(t, d)
			require.Error(t, strictErr)
			require.NotEmpty(t, err.Error())
			return
		}
		if strictErr == nil {
			require.Equal(t, d, strict)
		}
		require.NoError(t, d.Validate())
		require.LessOrEqual(t, d.BasisPoints, 10_000)
		read, err := ParseStrict(d.Encode())
		require.NoError(t, err)
		require.Equal(t, d, read)
		_, err = jsonstream.Parse(d.Encode())
		require.NoError(t, err)
	})
}

// TestPercentage: 0 to 100 with at most two decimals, exactly, and back.
func TestPercentage(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "5": 500, "12.5": 1250, "12.50": 1250, "0.25": 25, "0.01": 1, "0.10": 10, "0.1": 10, "99.99": 9999, "100": 10000,
		"100.0": 10000, "100.00": 10000, "05": 500, "000": 0, "0.00": 0, "33.33": 3333,
	} {
		got, err := ParsePercentage(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", " ", "100.01", "101", "250", "1000", "0100", "-1", "-0", "+5", "1e2", "5.123", "0.001", "5.", ".5", ".", "5,5", "5%", " 5",
		"5 ", "0x5", "NaN", "Inf", "٥", "5_0", "1_0.5", "5.+1", "5.-1", "18446744073709551621", "5.5.5",
	} {
		_, err := ParsePercentage(text)
		require.EqualError(t, err, `percentage "`+text+`" is not allowed: give 0 to 100 with at most two decimals`)
	}
	for points := range 10_001 {
		text := FormatPercentage(points)
		got, err := ParsePercentage(text)
		require.NoError(t, err, text)
		require.Equal(t, points, got, text)
		require.False(t, strings.Contains(text, ".") && strings.HasSuffix(text, "0"), text)
		require.InDelta(t, float64(points)/100, mustFloat(t, text), 1e-9)
	}
}

func mustFloat(t *testing.T, text string) float64 {
	var f float64
	_, err := fmt.Sscan(text, &f)
	require.NoError(t, err)
	require.False(t, math.IsNaN(f))
	return f
}
