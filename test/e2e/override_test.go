package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/seal"
)

// tester is a token that lets its bearer choose a service's variant for an hour;
// variant "" is any.
func tester(service, variant string) string {
	return sealed(seal.Context{
		Purpose: seal.Tester, Service: service, Variant: variant, ExpiresAt: time.Now().Add(time.Hour).Unix(),
	})
}

func sealed(c seal.Context) string {
	text, err := sealKey.Seal(c)
	if err != nil {
		panic(err)
	}
	return text
}

// TestOverrides: a tester's token in header or cookie chooses the variant where
// the document allows it, and nowhere else.
func TestOverrides(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/open", "acme/closed"}})
	open := rollout("acme/open", 0)
	open.Overrides = true
	w.write(open)
	w.write(rollout("acme/closed", 0))
	for _, tt := range []struct {
		name, prefix, variant string // of the token
		headers               map[string]string
	}{
		{"header", "", "", map[string]string{"x-perch-variant": "canary"}},
		{"path", "/@canary", "", map[string]string{}},
		{"the token's own", "", "canary", map[string]string{}},
		{"cookie", "", "canary", map[string]string{"cookie": "a=b; perch-tester=TOKEN; c=d"}},
		{"cookie and header", "", "", map[string]string{"cookie": "perch-tester=TOKEN", "x-perch-variant": "canary"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for model, want := range map[string]string{"acme/open": document.Canary, "acme/closed": document.Stable} {
				token := tester("model:"+model, tt.variant)
				headers := map[string]string{"prefer": "wait"}
				for name, value := range tt.headers {
					headers[name] = strings.ReplaceAll(value, "TOKEN", token)
				}
				if headers["cookie"] == "" {
					headers["x-perch-tester"] = token
				}
				r := w.do(call{Path: tt.prefix + "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: headers})
				require.Equal(t, 201, r.Status, r.Body)
				require.Equal(t, want, r.variant(), model)
				entry := last(w.upstream.Log())
				require.Equal(t, versionID(model, want), entry.Version)
				for name := range entry.Header {
					require.NotContains(t, strings.ToLower(name), "x-perch-", "Perch's own headers go no further")
				}
				require.NotContains(t, entry.Header.Get("cookie"), "perch-tester")
				if tt.prefix != "" {
					headers["x-perch-variant"] = tt.prefix[2:]
				}
				asked := w.do(call{Method: "GET", Path: "/_perch/variant?service=" + model, Headers: headers})
				require.Contains(t, asked.Body, `"variant":"`+want+`"`)
			}
		})
	}
}

// TestOverridesRefused: who asks for a variant without the right to is told so,
// and nothing reaches an upstream.
func TestOverridesRefused(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/open"}})
	open := rollout("acme/open", 0)
	open.Overrides = true
	w.write(open)
	token := func(change func(*seal.Context)) string {
		c := seal.Context{Purpose: seal.Tester, Service: "model:acme/open", Variant: "canary", ExpiresAt: time.Now().Add(time.Hour).Unix()}
		change(&c)
		return sealed(c)
	}
	canary := token(func(*seal.Context) {})
	forged := strings.Replace(canary, "p1.", "p1.0", 1)
	past := time.Now().Add(-time.Second).Unix()
	w.upstream.ClearLog()
	for _, tt := range []struct {
		name, prefix string
		headers      map[string]string
		why          string
	}{
		{"no token, by header", "", map[string]string{"x-perch-variant": "canary"}, "choosing a variant needs a tester's token"},
		{"no token, by path", "/@canary", map[string]string{}, "choosing a variant needs a tester's token"},
		{"the former cookie beside it", "/@canary", map[string]string{"cookie": "perch-variant=canary"}, "needs a tester's token"},
		{"another variant", "/@stable", map[string]string{"x-perch-tester": canary}, "allows canary only"},
		{"expired", "", map[string]string{"x-perch-tester": token(func(c *seal.Context) { c.ExpiresAt = past })}, "has expired"},
		{"without an end", "", map[string]string{"x-perch-tester": token(func(c *seal.Context) { c.ExpiresAt = 0 })}, "never expire"},
		{"another service", "", map[string]string{"x-perch-tester": tester("model:acme/other", "canary")}, "for another service"},
		{"for something else", "", map[string]string{"x-perch-tester": token(func(c *seal.Context) { c.Purpose = seal.Prediction })}, "another purpose"},
		{"forged", "", map[string]string{"x-perch-tester": forged}, "a key that this worker does not hold"},
		{"altered", "", map[string]string{"x-perch-tester": canary[:len(canary)-9] + "AAAAAAAAA"}, "was altered"},
		{"no seal at all", "", map[string]string{"x-perch-tester": "canary"}, "not a seal"},
		{"a bad cookie, asked by header", "", map[string]string{"cookie": "perch-tester=" + forged, "x-perch-variant": "canary"}, "does not hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.headers["x-user-id"] = "me"
			r := w.do(call{Path: tt.prefix + "/v1/models/acme/open/predictions", Body: `{"input":{}}`, Headers: tt.headers})
			require.Equal(t, 403, r.Status, r.Body)
			require.Contains(t, r.Body, tt.why)
			require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
			if tt.prefix != "" {
				tt.headers["x-perch-variant"] = tt.prefix[2:]
			}
			r = w.do(call{Method: "GET", Path: "/_perch/variant?service=acme/open", Headers: tt.headers})
			require.Equal(t, 403, r.Status, r.Body)
		})
	}
	require.Empty(t, w.upstream.Log())
	forgedCookie := map[string]string{"cookie": "perch-tester=" + forged}
	r := w.do(call{Path: "/v1/models/acme/open/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: forgedCookie})
	require.Equal(t, 201, r.Status, "a cookie that is no use is nobody's wish: %s", r.Body)
	require.Equal(t, document.Stable, r.variant())
}
