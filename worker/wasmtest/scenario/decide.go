package scenario

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// DecideFields are the fields of a case that decides. Those of the document:
// percentage, target ("name kind value"), rule ("header=value target"), user
// ("header", "cookie" or "from", and a name), overrides ("yes"), unattended
// (epoch milliseconds). Of the state: halted (a rollout's id). Of the request:
// now (epoch milliseconds), identity, header, cookie, client, random, override, value (of
// a rule's header, in the order of the rules), version and endpoint.
var DecideFields = []string{
	"percentage", "target", "rule", "user", "overrides", "unattended", "halted",
	"now", "identity", "header", "cookie", "client", "random", "override", "value", "version", "endpoint",
}

// Rollout is the id and salt of every case's rollout.
const Rollout = "2026-11-20-a"

// Decide is a case that decides, ready to be asked.
type Decide struct {
	Document                                                    string // JSON
	Halted                                                      string
	Override, Identity, Client, Random, Cookie, Version, Header string
	Rules                                                       []string
	NowMS                                                       int64
	Endpoint                                                    uint8
}

// Input is the request as the WASM module reads it.
func (d Decide) Input() string {
	fields := append([]string{d.Override, d.Identity, d.Client, d.Random, d.Cookie, d.Version, d.Header}, d.Rules...)
	return strings.Join(fields, "\n")
}

// Decide reads the case. Unless it says otherwise, stable is the model
// acme/flux, the canary the model acme/flux-next, and the percentage 50.
func (c Case) Decide(t testing.TB) Decide {
	t.Helper()
	document := map[string]any{
		"schema": 1, "service": "model:acme/flux", "rollout": Rollout, "generation": 7, "mode": "canary",
		"percentage": json.RawMessage("50"), "salt": Rollout,
	}
	if c.Has("percentage") {
		document["percentage"] = json.RawMessage(c.Get("percentage"))
	}
	targets := [][2]string{{"stable", `{"model":"acme/flux"}`}, {"canary", `{"model":"acme/flux-next"}`}}
	for i, target := range c.All("target") {
		if i == 0 {
			targets = nil
		}
		parts := strings.SplitN(target, " ", 3)
		require.Len(t, parts, 3, "%s: target: write name kind value", c.Where)
		targets = append(targets, [2]string{parts[0], "{" + quote(parts[1]) + ":" + quote(parts[2]) + "}"})
	}
	var rules []map[string]string
	for _, rule := range c.All("rule") {
		match, use, found := strings.Cut(rule, " ")
		require.True(t, found, "%s: rule: write header=value target", c.Where)
		header, value, _ := strings.Cut(match, "=")
		rules = append(rules, map[string]string{"header": header, "equals": value, "use": use})
	}
	if rules != nil {
		document["rules"] = rules
	}
	user := map[string]string{}
	for _, setting := range c.All("user") {
		name, value, _ := strings.Cut(setting, " ")
		user[name] = value
	}
	document["user"] = user
	if c.Get("overrides") == "yes" {
		document["overrides"] = true
	}
	if c.Has("unattended") {
		document["unattended_after_ms"] = json.RawMessage(c.Get("unattended"))
	}
	return Decide{
		Document: marshal(t, document, targets), Halted: c.Get("halted"),
		Override: c.Get("override"), Identity: c.Get("identity"), Client: c.Get("client"), Random: c.Get("random"), Cookie: c.Get("cookie"),
		Version: c.Get("version"), Header: c.Get("header"), Rules: c.All("value"),
		NowMS: c.integer(t, "now"), Endpoint: uint8(c.integer(t, "endpoint")),
	}
}

// marshal writes the document with its targets in their order, which
// encoding/json would sort.
func marshal(t testing.TB, document map[string]any, targets [][2]string) string {
	text, err := json.Marshal(document)
	require.NoError(t, err)
	members := make([]string, len(targets))
	for i, target := range targets {
		members[i] = quote(target[0]) + ":" + target[1]
	}
	return strings.TrimSuffix(string(text), "}") + `,"targets":{` + strings.Join(members, ",") + "}}"
}

func quote(text string) string { return strconv.Quote(text) }

func (c Case) integer(t testing.TB, name string) int64 {
	if !c.Has(name) {
		return 0
	}
	n, err := strconv.ParseInt(c.Get(name), 10, 64)
	require.NoError(t, err, c.Where)
	return n
}
