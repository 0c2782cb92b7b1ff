package command

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/seal"
)

// edgeDocument is a document that names secrets, a rate limit and webhooks.
const edgeDocument = `{"schema":1,"service":"acme/flux","rollout":"a","generation":1,"mode":"canary","percentage":0,"salt":"a","outcomes":"webhook",
	"access":{"token":"secret:REPLICATE_API_TOKEN","jwt":{"algorithms":["HS256"],"key":"secret:JWT_KEY"},"rate_limit":"LIMITER"},
	"targets":{"stable":{"url":"https://a.example","headers":{"x-api-key":"secret:PERSON_KEY","x-plain":"text"}}}}`

const edgeBindings = `,{"name":"REPLICATE_API_TOKEN","type":"secret_text"},{"name":"JWT_KEY","type":"secret_text"},{"name":"PERSON_KEY","type":"secret_text"}` +
	`,{"name":"REPLICATE_WEBHOOK_SECRET","type":"secret_text"},{"name":"LIMITER","type":"ratelimit","namespace_id":"1001"}]`

// TestDoctorEdge: what documents and the worker's variables name must be there;
// the keys here and in the worker must be the same.
func TestDoctorEdge(t *testing.T) {
	other := seal.NewKey([seal.KeyBytes]byte{9})
	without := func(name string) func(*fakeAccount) {
		return func(f *fakeAccount) {
			i := strings.Index(f.bindings, `,{"name":"`+name+`"`)
			f.bindings = f.bindings[:i] + f.bindings[i+strings.Index(f.bindings[i:], "}")+1:]
		}
	}
	withVariable := func(name, text string) func(*fakeAccount) {
		return func(f *fakeAccount) {
			f.bindings = strings.TrimSuffix(f.bindings, "]") + `,{"name":"` + name + `","type":"plain_text","text":"` + text + `"}]`
		}
	}
	keyHere := func(health string) func(*fakeAccount) {
		return func(f *fakeAccount) { f.health = `{"status":"ok","seal":[` + health + `]}` }
	}
	const put = "npm run wrangler -- secret put "
	for _, test := range []struct {
		name, env string
		make      func(*fakeAccount)
		want      string // "check: detail|mend", "" where all is well
	}{
		{"all is there", "", func(*fakeAccount) {}, ""},
		{"a target's secret is missing", "", without("PERSON_KEY"),
			"secrets: the worker has no secret PERSON_KEY, which model:acme/flux names|" + put + "PERSON_KEY --env production"},
		{"the held token is missing", "", without("REPLICATE_API_TOKEN"),
			"secrets: the worker has no secret REPLICATE_API_TOKEN, which model:acme/flux names|" + put + "REPLICATE_API_TOKEN --env production"},
		{"the webhook secret is missing", "", without("REPLICATE_WEBHOOK_SECRET"),
			"webhook secret: the worker has no secret REPLICATE_WEBHOOK_SECRET, so that model:acme/flux learns no outcome by webhook|" +
				"set it to the key that GET /v1/webhooks/default/secret gives: " + put + "REPLICATE_WEBHOOK_SECRET --env production"},
		{"the rate limit is missing", "", without("LIMITER"),
			"rate limits: the worker has no rate limit LIMITER, which model:acme/flux names: nobody is limited|" +
				`in wrangler.toml add [[env.production.ratelimits]] with name = "LIMITER", and deploy`},
		{"the worker's access names one that is missing", "", withVariable("PERCH_ACCESS", `{\"token\":\"secret:OWN\",\"keys\":[{\"name\":\"a\",\"sha256\":\"`+strings.Repeat("0", 64)+`\"}]}`),
			"secrets: the worker has no secret OWN, which PERCH_ACCESS names|" + put + "OWN --env production"},
		{"the worker's headers name one that is missing", "", withVariable("REPLICATE_HEADERS", `{\"cf-aig-authorization\":\"secret:GATEWAY\"}`),
			"secrets: the worker has no secret GATEWAY, which REPLICATE_HEADERS names|" + put + "GATEWAY --env production"},
		{"no key here", "PERCH_SEAL_KEY=", func(*fakeAccount) {},
			"seal key: PERCH_SEAL_KEY is not set here|set it to what orchestrator init has printed; if that is lost, orchestrator init --rotate-seal-key --force makes another"},
		{"no key at all here", "PERCH_SEAL_KEY=abc", func(*fakeAccount) {},
			"seal key: read PERCH_SEAL_KEY: read seal key: use base64url of 32 bytes|set PERCH_SEAL_KEY to what orchestrator init has printed"},
		{"another key", "", keyHere(`"` + other.ID() + `"`),
			"seal key: the key here, " + testKey.ID() + ", is not the worker's, " + other.ID() + "|set PERCH_SEAL_KEY to the worker's, or give that this one: " + put + "PERCH_SEAL_KEY --env production"},
		{"the former key", "", keyHere(`"` + other.ID() + `","` + testKey.ID() + `"`),
			"seal key: the key here, " + testKey.ID() + ", is the worker's former one|set PERCH_SEAL_KEY to the one that replaced it, " + other.ID()},
		{"a secret that is no key", "", keyHere(""),
			"seal key: the worker does not use its secret PERCH_SEAL_KEY|it is no key, or the worker is older than this command: set it again, or deploy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAccount(t)
			f.values[fluxKey] = edgeDocument
			f.bindings = strings.TrimSuffix(f.bindings, "]") + edgeBindings
			test.make(f)
			stdout, _, code := runCommand(t, f.env(test.env), "doctor", "--json")
			var failed []string
			for _, item := range decodeJSON(t, stdout)["checks"].([]any) {
				if k := item.(map[string]any); k["ok"] == false {
					failed = append(failed, k["name"].(string)+": "+k["detail"].(string)+"|"+k["mend"].(string))
				}
			}
			if test.want == "" {
				require.Empty(t, failed)
				require.Equal(t, exitDone, code)
				return
			}
			require.Equal(t, []string{test.want}, failed)
			require.NotContains(t, stdout, testKey.Text())
		})
	}
}

// TestDoctorBrokenAccess: a variable that the worker cannot use closes it.
func TestDoctorBrokenAccess(t *testing.T) {
	f := newFakeAccount(t)
	f.bindings = strings.TrimSuffix(f.bindings, "]") + `,{"name":"PERCH_ACCESS","type":"plain_text","text":"{\"tokn\":\"x\"}"}]`
	stdout, _, code := runCommand(t, f.env(), "doctor")
	require.Equal(t, exitError, code)
	require.Contains(t, stdout, "read PERCH_ACCESS: tokn: is not a field of it\n      mend: mend it in wrangler.toml, and deploy: until then nobody is let in\n")
}

// TestDoctorHeldToken: a token that only documents hold is a warning; the worker's
// own access may be a text, a table or a secret.
func TestDoctorHeldToken(t *testing.T) {
	keys := `"keys":[{"name":"a","sha256":"` + oldID + `"}]`
	const warned = "warn  held token          model:acme/flux holds one, PERCH_ACCESS does not: calls that lead to no service pass a client's key on to Replicate\n" +
		"      mend: set PERCH_ACCESS in wrangler.toml to the same access, and deploy\n"
	const held = "ok    held token          PERCH_ACCESS holds one for every path\n"
	for _, test := range []struct{ name, binding, want string }{
		{"none", "", warned},
		{"empty", `,{"name":"PERCH_ACCESS","type":"plain_text","text":""}`, warned},
		{"a table that holds none", `,{"name":"PERCH_ACCESS","type":"json","json":{` + keys + `}}`, warned},
		{"a table", `,{"name":"PERCH_ACCESS","type":"json","json":{"token":"secret:REPLICATE_API_TOKEN",` + keys + `}}`, held},
		{"a secret", `,{"name":"PERCH_ACCESS","type":"secret_text"}`, held},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAccount(t)
			f.values[fluxKey] = edgeDocument
			f.bindings = strings.TrimSuffix(f.bindings, "]") + test.binding + edgeBindings
			stdout, stderr, code := runCommand(t, f.env(), "doctor")
			require.Equal(t, exitDone, code, stdout+stderr)
			require.Contains(t, stdout, test.want)
			stdout, _, _ = runCommand(t, f.env(), "doctor", "--json")
			require.Equal(t, test.want == warned, strings.Contains(stdout, `"warning": true`), stdout)
		})
	}
}
