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
    "person": {"url": "https://person.internal.example/base", "credentials": true},
    "other": {"model": "acme/other"}
  },
  "rules": [{"header": "x-model-type", "equals": "person", "use": "person"}],
  "user": {"header": "x-user", "cookie": "who", "from": "token"},
  "overrides": true,
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
			{Name: "person", URL: "https://person.internal.example/base", Credentials: true},
			{Name: "other", Model: "acme/other"},
		},
		Rules:     []Rule{{Header: "x-model-type", Equals: "person", Use: "person"}},
		User:      User{Header: "x-user", Cookie: "who", From: FromToken},
		Overrides: true, UnattendedAfterMS: 1795190400000,
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
		{"no stable", change(`"stable"`, `"steady"`), "targets.stable: is missing: name what answers everyone who is not on the canary"},
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
		`"equals":`, `"prefix": "x", "equals":`, `"from":`, `"form": "x", "from":`).Replace(whole)
	d, err := Parse([]byte(text))
	require.NoError(t, err)
	want, err := Parse([]byte(whole))
	require.NoError(t, err)
	require.Equal(t, want, d)

	d, err = ParseStrict([]byte(text))
	require.Nil(t, d)
	require.EqualError(t, err, "targets.person.weight: is not a field of a rollout document; "+
		"rules[0].prefix: is not a field of a rollout document; user.form: is not a field of a rollout document; "+
		"persentage: is not a field of a rollout document")

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
	}
	for _, name := range []string{Stable, Canary, "person", "0.t-_"}[:2+r.IntN(3)] {
		d.Targets = append(d.Targets, randomTarget(r, name, d.Service.Kind))
	}
	for range r.IntN(4) {
		d.Rules = append(d.Rules, Rule{Header: "x-h", Equals: pick(r, append(texts, "")...), Use: pick(r, d.Targets...).Name})
	}
	return d
}

func randomTarget(r *rand.Rand, name string, kind Kind) Target {
	t := Target{Name: name}
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
