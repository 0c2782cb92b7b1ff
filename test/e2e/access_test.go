package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/bucket"
	"perch/shared/document"
	"perch/test/upstream"
)

var placeholder = regexp.MustCompile(`{\w+}`)

// heldToken is what only Perch knows; the upstream takes no other.
const heldToken = "r8_held_by_perch_alone"

// heldWorld is a world whose upstream takes the held token only.
func heldWorld(t *testing.T, o worldOptions) *world {
	secrets := map[string]string{"REPLICATE_TOKEN": heldToken}
	for name, value := range o.Secrets {
		secrets[name] = value
	}
	o.Secrets = secrets
	o.Upstream = func(u *upstream.Options) { u.Tokens = []string{heldToken} }
	return newWorld(t, o)
}

// enter asks for a prediction of a model.
func (w *world) enter(model string, headers map[string]string) reply {
	w.Helper()
	return w.do(call{Path: "/v1/models/" + model + "/predictions", Body: `{"input":{"prompt":"x"}}`, Headers: headers})
}

// awaitLog waits until a worker has said the text; its output comes a little later than its answers.
func (w *world) awaitLog(text string) {
	w.Helper()
	require.Eventually(w, func() bool { return strings.Contains(w.stack.Log(), text) }, 5*time.Second, 10*time.Millisecond,
		"nothing in the log says %s", text)
}

// TestHeldToken: an API key opens the creates of its service; upstream goes the
// held token, and nothing of the client's.
func TestHeldToken(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/held"}})
	d := rollout("acme/held", 5000)
	d.Access = heldAccess("mobile", "web")
	w.write(d)
	for _, tt := range []struct {
		name    string
		headers map[string]string
		status  int
		why     string
	}{
		{"bearer", map[string]string{"authorization": "Bearer mobile-key"}, 201, ""},
		{"token, as older clients say", map[string]string{"authorization": "Token web-key"}, 201, ""},
		{"x-api-key", map[string]string{"authorization": "", "x-api-key": "web-key"}, 201, ""},
		{"none", map[string]string{"authorization": ""}, 401, "send an API key as Authorization: Bearer"},
		{"one that is not known", map[string]string{"authorization": "Bearer guess"}, 401, "not an API key that Perch knows"},
		{"the key's digest", map[string]string{"authorization": "Bearer " + d.Access.Keys[0].SHA256}, 401, "not an API key that Perch knows"},
		{"the held token itself", map[string]string{"authorization": "Bearer " + heldToken}, 401, "not an API key that Perch knows"},
		{"one that is too long", map[string]string{"authorization": "Bearer " + pad(9_000)}, 401, "at most 8192 characters"},
		{"another scheme", map[string]string{"authorization": "Basic mobile-key"}, 401, "as Bearer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.upstream.ClearLog()
			tt.headers["cookie"], tt.headers["prefer"], tt.headers["x-perch-authorization"] = "session=of-theirs", "wait", "Bearer of-theirs"
			r := w.enter("acme/held", tt.headers)
			require.Equal(t, tt.status, r.Status, r.Body)
			if tt.status != 201 {
				require.Empty(t, w.upstream.Log())
				require.Contains(t, r.Body, tt.why)
				require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
				require.Equal(t, "Bearer", r.Header.Get("www-authenticate"))
				return
			}
			sent := last(w.upstream.Log()).Header
			require.Equal(t, []string{"Bearer " + heldToken}, sent.Values("authorization"))
			for name, values := range sent {
				require.NotRegexp(t, "(?i)^(cookie|x-api-key|x-perch-.*)$", name)
				require.NotContains(t, strings.Join(values, " "), "of-theirs")
				require.NotContains(t, strings.Join(values, " "), "-key")
			}
		})
	}
}

// TestHeldTokenOpensNothingElse: of all that Replicate's API does, a client under
// the worker's held token gets the creates of configured services.
func TestHeldTokenOpensNothingElse(t *testing.T) {
	digest := heldAccess("mobile").Keys[0].SHA256
	w := heldWorld(t, worldOptions{Models: []string{"acme/held", "acme/other"}, Vars: map[string]string{
		"PERCH_ACCESS": `{"token":"secret:REPLICATE_TOKEN","keys":[{"name":"mobile","sha256":"` + digest + `"}]}`,
	}})
	w.write(rollout("acme/held", 5000))
	w.alias("acme/held")
	w.upstream.ClearLog()
	key := bearer("mobile-key")
	fill := strings.NewReplacer("{owner}", "acme", "{name}", "other", "{id}", "abc", "{version}", versionID("acme/other", "stable"))
	for _, o := range upstream.Operations() {
		path := "/v1" + placeholder.ReplaceAllString(fill.Replace(o.Path), "x")
		for _, p := range []string{path, path + "?a=b", "/@canary" + path} {
			r := w.do(call{Method: o.Method, Path: p, Body: `{"version":"` + versionID("acme/other", "stable") + `","input":{}}`, Headers: key})
			require.Equal(t, 403, r.Status, "%s %s: %s", o.Method, p, r.Body)
			require.Contains(t, r.Body, "only creates of configured services")
		}
		r := w.do(call{Method: o.Method, Path: path, Body: "{}", Headers: map[string]string{"authorization": ""}})
		require.Equal(t, 401, r.Status, "%s %s: %s", o.Method, path, r.Body)
	}
	require.Empty(t, w.upstream.Log())
	require.Equal(t, 201, w.enter("acme/held", key).Status)
	for _, body := range []string{`{"input":{"prompt":"x"},"version":"` + versionID("acme/held", "stable") + `"}`, `{"version":"acme/held","input":{"prompt":"x"}}`} {
		r := w.do(call{Path: "/v1/predictions", Body: body, Headers: key})
		require.Equal(t, 201, r.Status, r.Body)
	}
	packed := map[string]string{"authorization": "Bearer mobile-key", "content-encoding": "gzip"}
	r := w.do(call{Path: "/v1/models/acme/held/predictions", Body: zipped(t, "{}"), Headers: packed})
	require.Equal(t, 415, r.Status, "the body cannot be routed: %s", r.Body)
	r = w.do(call{Method: "OPTIONS", Path: "/v1/account", Headers: map[string]string{"authorization": ""}})
	require.Empty(t, last(w.upstream.Log()).Header.Get("authorization"), "a preflight needs no key, and gets no token: %d", r.Status)
	require.Equal(t, 200, w.do(call{Method: "GET", Path: "/_perch/health"}).Status)
}

// TestRepeatedVersionUnderAHeldToken: a second version, behind as much as nobody
// holds, does not get a client to another model than its service's.
func TestRepeatedVersionUnderAHeldToken(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/held", "acme/other"}})
	d := rollout("acme/held", 5000)
	d.Access = heldAccess("mobile")
	w.write(d)
	w.alias("acme/held")
	other := versionID("acme/other", document.Stable)
	seen := map[string]bool{}
	for i := range 12 {
		w.upstream.ClearLog()
		named := versionID("acme/held", document.Stable)
		body := `{"version":"` + named + `","input":{"prompt":"x","pad":"` + pad(300_000) + `"},"version":"` + other + `"}`
		r := w.do(call{Path: "/v1/predictions", Body: body, Headers: map[string]string{"authorization": "Bearer mobile-key", "x-user-id": strconv.Itoa(i)}})
		require.Equal(t, 201, r.Status, r.Body)
		require.Equal(t, versionID("acme/held", r.variant()), last(w.upstream.Log()).Version)
		seen[r.variant()] = true
	}
	require.Len(t, seen, 2)
}

// TestRefusedBodiesAreLetGo: whoever is refused after a large body was searched, or
// leaves while it is, leaves no less room for the bodies of others.
func TestRefusedBodiesAreLetGo(t *testing.T) {
	digest := heldAccess("mobile").Keys[0].SHA256
	w := heldWorld(t, worldOptions{Models: []string{"acme/held"}, Vars: map[string]string{
		"PERCH_ACCESS": `{"token":"secret:REPLICATE_TOKEN","keys":[{"name":"mobile","sha256":"` + digest + `"}]}`,
	}})
	w.write(rollout("acme/held", 5000))
	for range 6 { // more than an isolate holds
		r := w.do(call{Path: "/v1/predictions", Body: `{"input":"` + pad(7<<20) + `"}`, Headers: map[string]string{"authorization": ""}})
		require.Equal(t, 401, r.Status, r.Body)
		w.leave("POST", "/v1/predictions", `{"input":"`+pad(7<<20), func(io.Reader) {})
	}
	body := `{"input":{"prompt":"x","pad":"` + pad(200_000) + `"},"version":"acme/held"}`
	r := w.do(call{Path: "/v1/predictions", Body: body, Headers: bearer("mobile-key")})
	require.Equal(t, 201, r.Status, r.Body)
}

// TestBrokenAccess: what cannot be read keeps everybody out.
func TestBrokenAccess(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":           `{"token":`,
		"nobody can enter":  `{"token":"secret:REPLICATE_TOKEN"}`,
		"a secret of ours":  `{"token":"secret:PERCH_SEAL_KEY","keys":[]}`,
		"an unknown member": `{"tokens":"secret:REPLICATE_TOKEN"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := heldWorld(t, worldOptions{Models: []string{"acme/held"}, Vars: map[string]string{"PERCH_ACCESS": text}})
			w.write(rollout("acme/held", 5000))
			for _, path := range []string{"/v1/models/acme/held/predictions", "/v1/account"} {
				r := w.do(call{Path: path, Body: "{}", Headers: bearer(heldToken)})
				require.Equal(t, 503, r.Status, r.Body)
				require.Contains(t, r.Body, "PERCH_ACCESS of this worker cannot be used")
			}
			require.Empty(t, w.upstream.Log())
			w.awaitLog(`"what":"PERCH_ACCESS"`)
			require.Equal(t, 200, w.do(call{Method: "GET", Path: "/_perch/health"}).Status)
		})
	}
}

// TestLostToken: a held token that the worker does not have is not made up for by
// the client's, and is asked for by name in the log alone.
func TestLostToken(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/held"}})
	d := rollout("acme/held", 5000)
	d.Access = heldAccess("mobile")
	d.Access.Token = "secret:LOST_TOKEN"
	w.write(d)
	w.upstream.ClearLog()
	for _, user := range []string{"a", "b", "c", "d", "e"} {
		r := w.enter("acme/held", map[string]string{"authorization": "Bearer mobile-key", "x-user-id": user})
		require.Equal(t, 503, r.Status, r.Body)
		require.Contains(t, r.Body, "calling Replicate needs a secret that this worker does not have")
	}
	require.Empty(t, w.upstream.Log())
	w.awaitLog("secret:LOST_TOKEN")
}

// TestJWT: tokens of the issuer identify users; any other is refused, with the
// reason and without the token.
func TestJWT(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/jwt"}})
	i := w.newIssuer()
	d := rollout("acme/jwt", 5000)
	d.Access = i.jwtAccess()
	w.write(d)
	good := i.token("RS256", "one", nil)
	parts := strings.Split(good, ".")
	now := time.Now().Unix()
	for _, tt := range []struct {
		name, token string
		why         string // "" if it is accepted
	}{
		{"accepted", good, ""},
		{"accepted, for several", i.token("RS256", "one", claims{"aud": []string{"other", "perch"}}), ""},
		{"accepted, of a clock that is late", i.token("RS256", "one", claims{"nbf": now + 20}), ""},
		{"without a signature", i.token("none", "one", nil), "its algorithm is not allowed here"},
		{"without a signature, as None", i.token("NONE", "one", nil), "its algorithm is not allowed here"},
		{"signed with the public key", i.token("HS256", "one", nil), "its algorithm is not allowed here"},
		{"of another algorithm", i.token("ES256", "one", nil), "its algorithm is not allowed here"},
		{"of another key", parts[0] + "." + parts[1] + "." + strings.Split(i.token("RS256", "two", nil), ".")[2], "its signature is wrong"},
		{"altered", parts[0] + "." + i.part(claims{"sub": "root", "iss": i.name, "aud": "perch", "exp": now + 60}) + "." + parts[2], "its signature is wrong"},
		{"of a key that is not in the set", i.token("RS256", "two", nil), "the issuer has no such key"},
		{"expired", i.token("RS256", "one", claims{"exp": now - 60}), "it has expired"},
		{"without an end", i.token("RS256", "one", claims{"exp": nil}), "its claim exp is missing"},
		{"not valid yet", i.token("RS256", "one", claims{"nbf": now + 120}), "it is not valid yet"},
		{"for another audience", i.token("RS256", "one", claims{"aud": "other"}), "its claim aud"},
		{"for nobody", i.token("RS256", "one", claims{"aud": nil}), "its claim aud"},
		{"of another issuer", i.token("RS256", "one", claims{"iss": "https://evil.example"}), "its claim iss"},
		{"without a user", i.token("RS256", "one", claims{"sub": nil}), "its claim sub is no user ID"},
		{"of a user with a line break", i.token("RS256", "one", claims{"sub": "alice\n"}), "its claim sub is no user ID"},
		{"too long", i.token("RS256", "one", claims{"more": pad(9_000)}), "at most 8192 characters"},
		{"no JSON", "e30x.e30x.e30x", "it cannot be read"},
		{"no token", "alice", "this is not a JWT that Perch knows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.upstream.ClearLog()
			for range 2 {
				r := w.enter("acme/jwt", map[string]string{"authorization": "Bearer " + tt.token, "prefer": "wait"})
				if tt.why == "" {
					require.Equal(t, 201, r.Status, r.Body)
					continue
				}
				require.Equal(t, 401, r.Status, r.Body)
				require.Contains(t, r.Body, tt.why)
				require.NotContains(t, r.Body, tt.token[:5])
				require.Empty(t, w.upstream.Log())
			}
		})
	}
	require.EqualValues(t, 1, i.set.arrivals(), "the set is fetched once, whatever is shown")
}

// TestManyAtOnce: tokens that come together while the issuer's keys are not yet
// known wait for nobody else's request.
func TestManyAtOnce(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/jwt"}})
	i := w.newIssuer()
	d := rollout("acme/jwt", 5000)
	d.Access = i.jwtAccess()
	w.write(d)
	statuses := make(chan int)
	for n := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		t.Cleanup(cancel)
		url := w.stack.Places[0].URL + "/v1/models/acme/jwt/predictions"
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"input":{"prompt":"x"}}`))
		require.NoError(t, err)
		r.Header.Set("authorization", "Bearer "+i.token("RS256", "one", claims{"sub": "user-" + strconv.Itoa(n)}))
		go func() {
			response, err := client.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			response.Body.Close()
			statuses <- response.StatusCode
		}()
	}
	for range 50 {
		require.Equal(t, 201, <-statuses)
	}
}

// TestPEMIsNoSecret: a public key that a document names is never taken for the
// secret of an HMAC.
func TestPEMIsNoSecret(t *testing.T) {
	outside := &world{T: t}
	i := outside.newIssuer()
	w := heldWorld(t, worldOptions{Models: []string{"acme/pem", "acme/hmac"}, Secrets: map[string]string{"JWT_KEY": i.publicPEM()}})
	for model, algorithm := range map[string]string{"acme/pem": "RS256", "acme/hmac": "HS256"} {
		d := rollout(model, 5000)
		d.Access = i.jwtAccess()
		d.Access.JWT.JWKS, d.Access.JWT.Key, d.Access.JWT.Algorithms = "", "secret:JWT_KEY", []string{algorithm}
		w.write(d)
	}
	require.Equal(t, 201, w.enter("acme/pem", bearer(i.token("RS256", "", nil))).Status)
	r := w.enter("acme/pem", bearer(i.token("HS256", "", nil)))
	require.Equal(t, 401, r.Status, r.Body)
	r = w.enter("acme/hmac", bearer(i.token("HS256", "", nil)))
	require.Equal(t, 503, r.Status, r.Body)
	require.Contains(t, r.Body, "a key that fits its algorithms")
}

// TestIssuerKeyRotation: a new key of the issuer's is found, and while the issuer is
// away those that are known go on working.
func TestIssuerKeyRotation(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/jwt"}, Vars: map[string]string{"PERCH_JWKS_COOLDOWN_MS": "50"}})
	i := w.newIssuer()
	d := rollout("acme/jwt", 5000)
	d.Access = i.jwtAccess()
	w.write(d)
	enter := func(kid, user string) reply {
		return w.enter("acme/jwt", bearer(i.token("RS256", kid, claims{"sub": user})))
	}
	require.Equal(t, 201, enter("one", "a").Status)
	require.Equal(t, 401, enter("two", "a").Status)
	i.kids.Store([]string{"one", "two"})
	require.Eventually(t, func() bool { return enter("two", "b").Status == 201 }, 5*time.Second, 20*time.Millisecond)
	require.Equal(t, 201, enter("one", "b").Status)
	i.down.Store(true)
	require.Eventually(t, func() bool { return enter("three", "c").Status == 503 }, 5*time.Second, 20*time.Millisecond)
	require.Contains(t, enter("three", "c").Body, "the issuer's keys cannot be fetched")
	require.Equal(t, 201, enter("two", "d").Status)
	require.Equal(t, 201, enter("one", "d").Status)
	i.down.Store(false)
	i.kids.Store([]string{"two"})
	require.Eventually(t, func() bool { return enter("three", "e").Status == 401 }, 5*time.Second, 20*time.Millisecond)
	require.Equal(t, 401, enter("one", "e").Status, "the set holds it no more")
	require.Equal(t, 201, enter("two", "e").Status)
}

// TestVerifiedIdentity: who a JWT names is the user, whatever header and cookie
// say; with a token of the client's own as well.
func TestVerifiedIdentity(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/own"}})
	i := w.newIssuer()
	d := rollout("acme/own", 5000)
	d.Access = i.jwtAccess()
	d.Access.Token = ""
	w.write(d)
	variantFor := func(user string) string {
		if bucket.Of("r1", user) < 5000 {
			return document.Canary
		}
		return document.Stable
	}
	for n := range 30 {
		user := "user-" + strconv.Itoa(n)
		headers := map[string]string{
			"x-perch-authorization": "Bearer " + i.token("RS256", "one", claims{"sub": user}),
			"x-user-id":             "other-" + strconv.Itoa(n), "cookie": "perch-user=third",
		}
		r := w.enter("acme/own", headers)
		require.Equal(t, 201, r.Status, r.Body)
		require.Equal(t, variantFor(user), r.variant(), user)
		require.Equal(t, "Bearer test-token", last(w.upstream.Log()).Header.Get("authorization"), "the client's own token goes on")
		shown := w.do(call{Method: "GET", Path: "/_perch/variant?service=acme/own", Headers: headers})
		require.Contains(t, shown.Body, `"variant":"`+variantFor(user)+`"`)
	}
	r := w.enter("acme/own", map[string]string{"x-user-id": "user-1"})
	require.Equal(t, 201, r.Status, "a JWT is not needed: %s", r.Body)
	require.Equal(t, variantFor("user-1"), r.variant())
	r = w.enter("acme/own", map[string]string{"x-perch-authorization": "Bearer " + i.token("RS256", "one", claims{"exp": 1})})
	require.Equal(t, 401, r.Status, "but one that is shown must be valid")
}

// TestOthersPredictions: under a held token a prediction is its maker's alone.
func TestOthersPredictions(t *testing.T) {
	w := heldWorld(t, worldOptions{Models: []string{"acme/held"}})
	i := w.newIssuer()
	d := rollout("acme/held", 10_000)
	d.Access = heldAccess("mobile", "web")
	d.Access.JWT = i.jwtAccess().JWT
	w.write(d)
	clients := []string{"mobile-key", "web-key", i.token("RS256", "one", nil), i.token("RS256", "one", claims{"sub": "bob"})}
	for n, maker := range clients {
		made := w.enter("acme/held", bearer(maker))
		require.Equal(t, 201, made.Status, made.Body)
		var p struct {
			ID   string
			URLs struct{ Get, Cancel, Stream string }
		}
		require.NoError(t, json.Unmarshal([]byte(made.Body), &p))
		id, seal, found := strings.Cut(p.ID, "~")
		require.True(t, found, "the id carries its seal: %s", p.ID)
		place := w.stack.Places[0].URL
		get, cancel := strings.TrimPrefix(p.URLs.Get, place), strings.TrimPrefix(p.URLs.Cancel, place)
		polls := []call{
			{Method: "GET", Path: "/v1/predictions/" + p.ID},
			{Method: "GET", Path: "/v1/predictions/" + id + "%7E" + seal},
			{Method: "GET", Path: get},
			{Path: cancel},
			{Path: "/v1/predictions/" + p.ID + "/cancel"},
		}
		for _, poll := range polls {
			for m, other := range clients {
				if m == n {
					continue
				}
				poll.Headers = bearer(other)
				r := w.do(poll)
				require.Equal(t, 403, r.Status, "%s %s: %s", poll.Method, poll.Path, r.Body)
				require.Contains(t, r.Body, "not made through Perch by this client")
			}
			poll.Headers = map[string]string{"authorization": ""}
			require.Equal(t, 401, w.do(poll).Status, poll.Path)
		}
		for _, poll := range polls {
			poll.Headers = bearer(maker)
			r := w.do(poll)
			require.Equal(t, 200, r.Status, "%s %s: %s", poll.Method, poll.Path, r.Body)
			require.Equal(t, []string{"Bearer " + heldToken}, last(w.upstream.Log()).Header.Values("authorization"))
			require.Contains(t, r.Body, `"id":"`+id+`~`, "so that it can be asked for again")
		}
		stream := strings.TrimPrefix(p.URLs.Stream, place)
		require.True(t, strings.HasPrefix(stream, "/_perch/at/"), p.URLs.Stream)
		events := map[string]string{"accept": "text/event-stream", "authorization": ""}
		require.Equal(t, 200, w.do(call{Method: "GET", Path: stream, Headers: events}).Status, "clients follow a stream without a token")
		events["authorization"] = "Bearer " + clients[(n+1)%len(clients)]
		require.Equal(t, 403, w.do(call{Method: "GET", Path: stream, Headers: events}).Status)
		forged := "/v1/predictions/" + id + "~" + seal[:len(seal)-8] + "AAAAAAAA"
		require.Equal(t, 403, w.do(call{Method: "GET", Path: forged, Headers: bearer(maker)}).Status)
		moved := "/v1/predictions/another~" + seal
		require.Equal(t, 403, w.do(call{Method: "GET", Path: moved, Headers: bearer(maker)}).Status)
	}
}

// TestRateLimit: a user who asks too often is told so by Perch; nothing goes
// upstream and nothing counts against a variant.
func TestRateLimit(t *testing.T) {
	w := newWorld(t, worldOptions{Models: []string{"acme/limited", "acme/open"}, Limits: []string{"LIMITER:3:60"}})
	limited, open := rollout("acme/limited", 10_000), rollout("acme/open", 10_000)
	limited.Access = &document.Access{RateLimit: "LIMITER"}
	open.Access = &document.Access{RateLimit: "NOBODY"}
	w.write(limited)
	w.write(open)
	w.upstream.ClearLog()
	ask := func(user string) reply { return w.predict(0, "acme/limited", user) }
	for range 3 {
		require.Equal(t, 201, ask("ann").Status)
	}
	for range 5 {
		r := ask("ann")
		require.Equal(t, 429, r.Status, r.Body)
		require.Equal(t, "10", r.Header.Get("retry-after"))
		require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
		require.Empty(t, r.variant())
		require.Contains(t, r.Body, "too many requests of this user for model:acme/limited")
	}
	require.Equal(t, 201, ask("bob").Status)
	require.Len(t, w.upstream.Log(), 4)
	points, err := w.stack.Flush(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, points, 2*4, "a request and a prediction each")
	for range 10 {
		require.Equal(t, 201, w.predict(0, "acme/open", "ann").Status, "without its binding a limit is open")
	}
	w.awaitLog("no such rate-limit binding")
	require.Eventually(t, func() bool { return ask("ann").Status == 201 }, 10*time.Second, 50*time.Millisecond)
}

// TestSecretHeaders: secrets go where the configuration says; one that is missing
// closes that way, and names the header and the service but no value.
func TestSecretHeaders(t *testing.T) {
	w := newWorld(t, worldOptions{
		Models: []string{"acme/gateway"},
		Vars:   map[string]string{"REPLICATE_HEADERS": `{"cf-aig-authorization":"secret:GATEWAY_KEY","x-plain":"as it is"}`},
		Secrets: map[string]string{
			"GATEWAY_KEY": "Bearer gateway-secret", "MODEL_KEY": "model-secret",
		},
	})
	o := w.origin(func(http.ResponseWriter, *http.Request) {})
	w.write(rollout("acme/gateway", 10_000))
	for _, path := range []string{"/v1/models/acme/gateway/predictions", "/v1/account"} {
		w.do(call{Path: path, Body: `{"input":{}}`, Headers: map[string]string{"cf-aig-authorization": "mine", "x-user-id": "me"}})
		sent := last(w.upstream.Log()).Header
		require.Equal(t, []string{"Bearer gateway-secret"}, sent.Values("cf-aig-authorization"))
		require.Equal(t, "as it is", sent.Get("x-plain"))
	}
	d := w.httpRollout("own", 10_000)
	d.Targets[1] = document.Target{Name: document.Canary, URL: o.url, Headers: []document.Header{{Name: "x-model-key", Value: "secret:MODEL_KEY"}}}
	d.Targets[0] = document.Target{Name: document.Stable, URL: o.url, Headers: []document.Header{{Name: "x-model-key", Value: "secret:LOST_KEY"}}}
	d.Overrides = true
	w.write(d)
	r := w.do(call{Path: "/own/x", Headers: map[string]string{"x-user-id": "me"}})
	require.Equal(t, 200, r.Status, r.Body)
	require.Equal(t, "model-secret", o.last(t).Header.Get("x-model-key"))
	require.Empty(t, o.last(t).Header.Values("cf-aig-authorization"))
	r = w.do(call{Path: "/@stable/own/x", Headers: map[string]string{"x-perch-tester": tester("http:own", "")}})
	require.Equal(t, 503, r.Status, r.Body)
	require.Contains(t, r.Body, "the header x-model-key of stable of http:own needs a secret")
	require.NotContains(t, r.Body, "LOST_KEY")
	w.awaitLog("LOST_KEY")
	require.Equal(t, 1, o.arrivals())
}
