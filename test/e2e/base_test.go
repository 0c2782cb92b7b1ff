package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// TestBaseURLWithPrefix: a gateway before Replicate has a path of its own, which
// stands for /v1 wherever Perch sends something.
func TestBaseURLWithPrefix(t *testing.T) {
	const prefix = "/v1/account/gateway/replicate"
	var o *origin
	gateway := &world{T: t}
	o = gateway.origin(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "{}") })
	w := newWorld(t, worldOptions{Models: []string{"acme/a", "acme/b"}, Vars: map[string]string{"REPLICATE_BASE_URL": o.url + prefix + "/"}})
	w.write(rollout("acme/a", 10_000))
	byName := rollout("acme/b", 10_000)
	byName.Targets[1] = document.Target{Name: document.Canary, Deployment: "acme/next"}
	w.write(byName)
	version := `"version":"acme/a:` + versionID("acme/a", document.Canary) + `"`
	for _, tt := range []struct{ name, method, path, body, wantURI, wantBody string }{
		{"model by version", "POST", "/v1/models/acme/a/predictions?x=1", `{"input":{}}`, "/predictions?x=1", "{" + version + `,"input":{}}`},
		{"model by deployment", "POST", "/v1/models/acme/b/predictions", `{"input":{}}`, "/deployments/acme/next/predictions", `{"input":{}}`},
		{"version of the body removed", "POST", "/v1/predictions", `{"input":{},"version":"acme/b"}`, "/deployments/acme/next/predictions", `{"input":{}}`},
		{"the rest of the API", "GET", "/v1/predictions/a%20b?cursor=%2F", "", "/predictions/a%20b?cursor=%2F", ""},
		{"no rollout", "POST", "/v1/models/acme/none/predictions", "{}", "/models/acme/none/predictions", "{}"},
		{"trailing data, for the upstream to refuse", "POST", "/v1/models/acme/a/predictions", `{"input":{}} {"more":1}`, "/models/acme/a/predictions", `{"input":{}} {"more":1}`},
		{"a body that breaks off", "POST", "/v1/models/acme/a/predictions", `{"input":{"a`, "/models/acme/a/predictions", `{"input":{"a`},
		{"a member twice", "POST", "/v1/models/acme/a/predictions", `{"webhook":"a","webhook":"b"}`, "/models/acme/a/predictions", `{"webhook":"a","webhook":"b"}`},
		{"a body that is no JSON", "POST", "/v1/models/acme/b/predictions", "prompt=hello", "/deployments/acme/next/predictions", "prompt=hello"},
		{"no body at all", "POST", "/v1/models/acme/b/predictions", "", "/deployments/acme/next/predictions", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(call{Method: tt.method, Path: tt.path, Body: tt.body, Headers: map[string]string{"x-user-id": "me"}})
			require.Equal(t, 200, r.Status, r.Body)
			got := o.last(t)
			require.Equal(t, prefix+tt.wantURI, got.RequestURI)
			require.Equal(t, tt.wantBody, got.body)
			require.EqualValues(t, len(tt.wantBody), got.ContentLength)
		})
	}
}

// TestUnrouted: what cannot be routed goes on as the client meant it, and says why.
func TestUnrouted(t *testing.T) {
	var o *origin
	replicate := &world{T: t}
	o = replicate.origin(func(http.ResponseWriter, *http.Request) {})
	w := newWorld(t, worldOptions{Models: []string{"acme/un"}, Vars: map[string]string{"REPLICATE_BASE_URL": o.url + "/v1"}})
	w.write(rollout("acme/un", 10_000))
	w.alias("acme/un")
	stable := versionID("acme/un", document.Stable)
	packed := map[string]string{"content-encoding": "gzip"}
	for _, tt := range []struct {
		name, path, body, reason string
		headers                  map[string]string
	}{
		{"no version", "/v1/predictions", `{"input":{}}`, "no-version", nil},
		{"a version that is no text", "/v1/predictions", `{"version":7}`, "no-version", nil},
		{"a version with a line break", "/v1/predictions", `{"version":"acme/un\n1"}`, "no-rollout", nil},
		{"no JSON", "/v1/predictions", "hello", "malformed", nil},
		{"two versions", "/v1/predictions", `{"version":"` + stable + `","input":{},"version":"` + stable + `"}`, "duplicate-key", nil},
		{"no body", "/v1/predictions", "", "no-version", nil},
		{"nobody's version", "/v1/predictions", `{"version":"` + strings.Repeat("0", 64) + `"}`, "no-rollout", nil},
		{"nobody's model", "/v1/models/acme/other/predictions", `{}`, "no-rollout", nil},
		{"compressed, version unknown", "/v1/predictions", zipped(t, `{"version":"`+stable+`"}`), "body-encoded", packed},
		{"compressed, version to set", "/v1/models/acme/un/predictions", zipped(t, `{}`), "body-encoded", packed},
		{"nobody's version before a large input", "/v1/predictions", `{"version":"` + strings.Repeat("0", 64) + `","input":"` + pad(300_000) + `"}`, "no-rollout", nil},
		{"routed", "/v1/predictions", `{"version":"` + stable + `"}`, "", nil},
		{"routed, not compressed", "/v1/predictions", `{"version":"` + stable + `"}`, "", map[string]string{"content-encoding": "identity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = strings.NewReader(tt.body)
				if chunked {
					body = struct{ io.Reader }{body}
				}
				response := w.open(call{Path: tt.path, Headers: tt.headers}, body)
				response.Body.Close()
				require.Equal(t, 200, response.StatusCode)
				require.Equal(t, tt.reason, response.Header.Get("x-perch-unrouted"))
				got := o.last(t)
				if tt.reason == "" {
					require.Equal(t, document.Canary, response.Header.Get("x-perch-variant"))
					require.Equal(t, `{"version":"acme/un:`+versionID("acme/un", document.Canary)+`"}`, got.body)
					continue
				}
				require.Empty(t, response.Header.Get("x-perch-variant"))
				require.Equal(t, tt.path, got.RequestURI)
				require.Equal(t, tt.body, got.body)
				require.True(t, chunked || got.ContentLength == int64(len(tt.body)), "the body's length was lost: %d", got.ContentLength)
			}
		})
	}
}

// TestVariantEndpoint: /_perch/variant says who would serve, and nothing it is
// asked reaches an upstream.
func TestVariantEndpoint(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/who"}})
	w.write(rollout("acme/who", 10_000))
	w.upstream.ClearLog()
	for _, tt := range []struct {
		name, query string
		status      int
		want        string
	}{
		{"a service", "?service=model:acme/who", 200, `"variant":"canary","reason":"percentage","bucket":`},
		{"the default kind", "?service=acme%2Fwho", 200, `"service":"model:acme/who"`},
		{"a line break behind the service", "?service=acme/who%0A1", 400, "name a service"},
		{"a line break before the service", "?service=%0Aacme/who", 400, "name a service"},
		{"none", "", 400, "name a service"},
		{"nobody's", "?service=acme/nobody", 404, "there is no rollout document for model:acme/nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(call{Method: "GET", Path: "/_perch/variant" + tt.query, Headers: map[string]string{"x-user-id": "me"}})
			require.Equal(t, tt.status, r.Status, r.Body)
			require.Contains(t, r.Body, tt.want)
		})
	}
	r := w.do(call{Method: "GET", Path: "/_perch/elsewhere"})
	require.Equal(t, 404, r.Status)
	require.Empty(t, w.upstream.Log())
}

// TestVariantWithBypass: with PERCH_BYPASS=1 the answer is that of stable too.
func TestVariantWithBypass(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/who"}, Vars: map[string]string{"PERCH_BYPASS": "1"}})
	w.write(rollout("acme/who", 10_000))
	r := w.do(call{Method: "GET", Path: "/_perch/variant?service=acme/who"})
	require.Contains(t, r.Body, `"variant":"stable","reason":"bypass","percentage":100`)
}
