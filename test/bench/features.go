package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// feature is something that costs: a request with it, and the same without.
type feature struct {
	name, title string
	plain, with scenario
	share       int // one in so many of the usual requests a turn is sent; 0 is all
	// proof tells whether a request shows what the feature does; the plain one must not. With echo it gets what the
	// upstream saw.
	proof func(a *answered) bool
	echo  bool
	// refused is a request that must not be let in.
	refused *scenario
}

// features are measured in one worker, each against the plain pass of the same request.
func features(url string, c *credentials) []feature {
	small, kB4, mB1 := padded(0), padded(4<<10), padded(1_000_000)
	all := []feature{
		{
			name: "edit-4k", title: "setting the version in a body of 4 KB",
			plain: create("plain", kB4, nil), with: create("edited", kB4, toVersion), proof: sawVersion, echo: true,
		},
		{
			name: "edit-1m", title: "setting the version in a body of 1 MB", share: 8,
			plain: create("plain", mB1, nil), with: create("edited", mB1, toVersion), proof: sawVersion, echo: true,
		},
		{
			name: "answer", title: "a create's answer read, its URLs sealed and rewritten",
			plain: asking(atHost(url, small), askStarting), with: asking(create("plain", small, nil), askStarting), proof: isSealed,
		},
		{
			name: "poll", title: "a poll by a sealed URL: opened, read, rewritten",
			plain: asking(unread(), askRunning), with: asking(poll(c, "r"), askRunning), proof: isSealed,
		},
		{
			name: "outcome", title: "a prediction's end recorded at its poll",
			plain: asking(poll(c, "r"), askRunning), with: asking(poll(c, "e"), askSucceeded), proof: hasEnded,
		},
		{
			name: "webhook", title: "Perch's webhook added to a create",
			plain: asking(create("plain", small, nil), askStarting), with: asking(create("webhook", small, byWebhook), askStarting),
			proof: sawWebhook, echo: true,
		},
		{
			name: "jwt", title: "let in by a JWT, RS256, seen before",
			plain: showing(create("plain", small, nil), c.first), with: showing(create("jwt", small, byJWT), c.first),
		},
		{
			name: "jwt-first", title: "let in by a JWT, RS256, not seen before",
			plain: showing(create("plain", small, nil), c.next), with: showing(create("jwt", small, byJWT), c.next),
		},
		{
			name: "key", title: "let in by an API key, Perch's own token sent on",
			plain: create("plain", small, nil), with: bearing(create("key", small, byKey), apiKey), proof: sawHeldToken, echo: true,
		},
		{
			name: "hold-4k", title: "a canary: its time limit, and 4 KB held for the fallback",
			plain: create("plain", kB4, nil), with: create("canary", kB4, allCanary), proof: byCanary,
		},
		{
			name: "hold-1m", title: "the same with a body of 1 MB", share: 8,
			plain: create("plain", mB1, nil), with: create("canary", mB1, allCanary), proof: byCanary,
		},
		{
			name: "rescue", title: "the canary answers 503, stable is asked then",
			plain: create("plain", small, nil), with: rescued(create("broken", small, brokenCanary)), proof: isRescued,
		},
		{
			name: "stream", title: "an event stream of 200 events, 1 ms apart", share: 6,
			plain: asking(atHost(url, ""), askBytes), with: asking(atHost(url, ""), askEvents), proof: isStream,
		},
		{
			name: "log", title: "a line in the log, as workerd writes it",
			plain: create("plain", small, nil), with: asking(create("plain", small, nil), askLog),
		},
	}
	for i := range all {
		f := &all[i]
		switch f.name {
		case "jwt", "jwt-first":
			refused := showing(f.with, func(n int64) string { return c.first(n) + "x" })
			f.refused = &refused
		case "key":
			refused := bearing(f.with, "wrong")
			f.refused = &refused
		}
	}
	return all
}

func sawVersion(a *answered) bool   { return strings.HasSuffix(a.saw().Version, stableID) }
func sawWebhook(a *answered) bool   { return strings.Contains(a.saw().Webhook, "/_perch/webhook/p1.") }
func sawHeldToken(a *answered) bool { return a.saw().Authorization == "Bearer "+heldToken }
func isSealed(a *answered) bool     { return strings.Contains(string(a.body), "perch=p1.") }
func hasEnded(a *answered) bool     { return strings.Contains(string(a.body), `"succeeded"`) }
func byCanary(a *answered) bool {
	return a.variant == "canary" && a.header.Get("x-perch-fallback") == ""
}
func isRescued(a *answered) bool { return a.header.Get("x-perch-fallback") == "5xx" }
func isStream(a *answered) bool {
	whole := strings.Count(string(a.body), "data: token\n") == events
	return whole && strings.HasPrefix(a.header.Get("content-type"), "text/event-stream")
}

// saw is what the upstream says that it saw.
func (a *answered) saw() (s seen) {
	_ = json.Unmarshal(a.body, &s) // it saw nothing
	return s
}

// document is what a rollout's document has beside the usual.
type document map[string]any

var (
	toVersion = document{"targets": map[string]target{
		"stable": {Version: "acme/flux:" + stableID}, "canary": {Version: "acme/flux:" + canaryID},
	}}
	allCanary    = document{"percentage": 100}
	brokenCanary = document{
		"percentage": 100, "fallback": map[string]any{"breaker_failures": 0},
		"targets": map[string]target{"stable": {Model: "acme/flux"}, "canary": {Deployment: "acme/broken"}},
	}
	byWebhook = document{"outcomes": "webhook"}
	byJWT     = document{"access": map[string]any{"jwt": map[string]any{"algorithms": []string{"RS256"}, "key": "secret:JWT_KEY"}}}
	byKey     = document{"access": map[string]any{
		"token": "secret:REPLICATE_API_TOKEN", "keys": []map[string]string{{"name": "bench", "sha256": apiKeySHA256()}},
	}}
)

// padded is a create's body of about n bytes; none of it is the version.
func padded(n int) string {
	begin, end := `{"input":{"prompt":"`+prompt+`","num_outputs":1,"seed":12345,"image":"data:image/png;base64,`, `"}}`
	return begin + strings.Repeat("iVBORw0KGgo/", max(0, n-len(begin)-len(end))/12) + end
}

// create makes a prediction of a service of its own that its path names. Nobody is in the canary, unless more says so.
func create(name, body string, more document) scenario {
	return scenario{
		name: name, method: http.MethodPost, path: "/v1/models/bench/" + name + "/predictions", body: body, ends: true,
		kv: settled("model:bench/"+name, target{Model: "acme/flux"}, target{Model: "acme/flux-next"}, more),
	}
}

func settled(service string, stable, canary target, more document) map[string]any {
	kv := rollout(service, stable, canary)
	for _, value := range kv {
		d := value.(map[string]any)
		d["percentage"] = 0
		maps.Copy(d, more)
	}
	return kv
}

// atHost asks a model server, whose answers nobody reads.
func atHost(url, body string) scenario {
	sc := scenario{
		name: "host", method: http.MethodGet, path: "/bench/predictions", body: body,
		kv: settled("http:bench", target{URL: url + "/stable"}, target{URL: url + "/canary"}, nil),
	}
	if body != "" {
		sc.method = http.MethodPost
	}
	return sc
}

// unread asks Replicate for something whose answer has no URLs to rewrite.
func unread() scenario {
	return scenario{name: "unread", method: http.MethodGet, path: "/v1/models/acme/flux", unrouted: true}
}

// poll asks for a prediction, another one each time, by the URL that the answer to its create had.
func poll(c *credentials, prefix string) scenario {
	return scenario{
		name: "poll", method: http.MethodGet, unrouted: true, kv: create("plain", "", nil).kv,
		vary: func(r *http.Request, n int64) {
			id := fmt.Sprintf("%s%025d", prefix, n)
			r.URL.Path, r.URL.RawQuery = "/v1/predictions/"+id, "perch="+c.seal(id)
		},
	}
}

// asking has the upstream give another answer.
func asking(sc scenario, answer string) scenario {
	sc.header = map[string]string{askHeader: answer}
	if answer == askEvents || answer == askBytes {
		sc.header["accept"] = "text/event-stream"
	}
	sc.ends = answer == askSucceeded || answer == askLog
	return sc
}

// showing brings a token for Perch.
func showing(sc scenario, token func(n int64) string) scenario {
	sc.vary = func(r *http.Request, n int64) { r.Header.Set("x-perch-authorization", "Bearer "+token(n)) }
	return sc
}

// bearing brings another token than Replicate's.
func bearing(sc scenario, token string) scenario {
	sc.header = map[string]string{"authorization": "Bearer " + token}
	return sc
}

// rescued marks that stable's answer counts for nobody.
func rescued(sc scenario) scenario {
	sc.ends = false
	return sc
}
