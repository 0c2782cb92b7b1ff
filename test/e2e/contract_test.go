package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// forever keeps predictions from ending, so that twins tell the same of them.
var forever = upstream.Behavior{Latency: upstream.Fixed(time.Hour)}

// asReplicate makes an upstream behave as Replicate does, with short pages.
func asReplicate(o *upstream.Options) {
	o.Tokens, o.Compress, o.PageSize = []string{"test-token"}, true, 2
	for i := range o.Catalog.Versions {
		o.Catalog.Versions[i].Behavior = forever
	}
}

// unchanged are rollouts whose stable is just what clients apiCall for.
func (w *twins) unchanged(model string) {
	w.Helper()
	id := versionID(model, document.Stable)
	for name, stable := range map[string]document.Target{
		model:                             {Model: model},
		"deployment:" + model + "-stable": {Deployment: model + "-stable"},
		"deployment:" + model + "-canary": {Deployment: model + "-canary"},
		"acme/pinned":                     {Version: model + ":" + id},
	} {
		d := rollout(model, 0)
		service, err := document.ParseService(name)
		require.NoError(w, err)
		d.Service, stable.Name = service, document.Stable
		d.Targets[0] = stable
		w.write(d)
	}
	w.put(document.AliasKey("version", id), `{"service":"model:acme/pinned","variant":"stable"}`)
}

// TestContract: every operation of Replicate's API, through the worker and
// directly: the upstream gets the same request, the client the same answer.
func TestContract(t *testing.T) {
	const model = "acme/flux"
	w := newTwins(t, worldOptions{Models: []string{model}}, asReplicate)
	w.unchanged(model)
	operations := upstream.Operations()
	require.GreaterOrEqual(t, len(operations), 37)
	for _, encoding := range []string{"identity", "gzip"} {
		creates := 0
		for _, operation := range operations {
			t.Run(operation.ID+" "+encoding, func(t *testing.T) {
				w := w.within(t)
				example, err := w.behind.upstream.Example(operation)
				require.NoError(t, err)
				_, err = w.beside.upstream.Example(operation) // so that the twins have the same
				require.NoError(t, err)
				example.Header.Set("accept-encoding", encoding)
				example.Header.Set("user-agent", "contract")
				through, direct := w.requireSame(apiCall{example.Method, example.Target, example.Header, example.Body, nil, 0})
				require.Contains(t, operation.Statuses, direct.Status)
				require.Equal(t, operation.Empty(), len(through.Body) == 0)
				if operation.Creates || strings.HasPrefix(operation.ID, "predictions.") {
					require.NotContains(t, string(through.Body), w.behind.url+"/v1/", "a URL that leads past the worker")
				}
				if operation.Creates {
					require.Equal(t, document.Stable, through.Answer.Get("x-perch-variant"), "no rollout decided")
					creates++
				}
			})
		}
		require.Equal(t, 3, creates)
	}
	t.Run("pages", func(t *testing.T) { w.within(t).followPages("/v1/predictions") })
	t.Run("back", func(t *testing.T) { w.within(t).followPages("/v1/models/" + model + "/examples") })
}

// followPages goes from page to page as a client does, by next and then back by previous.
func (w *twins) followPages(path string) {
	w.Helper()
	a := apiCall{Method: "GET", Target: path, Header: withToken()}
	pages := 0
	for _, link := range []string{"next", "previous"} {
		for a.Target != "" {
			through, _ := w.requireSame(a)
			a.Target = strings.TrimPrefix(member(w.T, through.Body, link), w.stack.Places[0].URL)
			pages++
		}
		last := member(w.T, w.directly(apiCall{Method: "GET", Target: path, Header: withToken()}).Body, "next")
		a.Target = strings.TrimPrefix(last, w.beside.url)
	}
	require.Greater(w, pages, 2)
}

// TestContractRefusals: errors reach the client as Replicate words them.
func TestContractRefusals(t *testing.T) {
	const model = "acme/flux"
	w := newTwins(t, worldOptions{Models: []string{model}}, asReplicate)
	w.unchanged(model)
	create := "/v1/models/" + model + "/predictions"
	byVersion := `{"input":{},"version":"` + versionID(model, document.Stable) + `"}`
	both := func(t *testing.T, target string, fault upstream.Fault) {
		fault.Times = 1
		for _, side := range []*tap{w.behind, w.beside} {
			require.NoError(t, side.upstream.SetFault(target, fault))
		}
	}
	anonymous := jsonType()
	anonymous.Del("authorization")
	waits := []difference{{"Retry-After", "the wait that Replicate names elsewhere, where clients look for it"}}
	for _, tt := range []struct {
		name    string
		apiCall apiCall
		on      string // operation
		fault   upstream.Fault
		status  int
		adds    []difference
	}{
		{name: "no token", apiCall: apiCall{Method: "GET", Target: "/v1/account", Header: anonymous}, status: 401},
		{name: "no token, create", apiCall: apiCall{Method: "POST", Target: create, Header: anonymous, Body: `{"input":{}}`}, status: 401},
		{name: "no credit", apiCall: apiCall{Method: "POST", Target: create, Header: jsonType(), Body: `{"input":{}}`},
			on: "models.predictions.create", fault: upstream.Fault{Name: upstream.FaultStatus, Status: 402}, status: 402},
		{name: "no such prediction", apiCall: apiCall{Method: "GET", Target: "/v1/predictions/nobody", Header: withToken()}, status: 404},
		{name: "no such model", apiCall: apiCall{Method: "POST", Target: "/v1/models/acme/nobody/predictions", Header: jsonType(), Body: `{"input":{}}`}, status: 404},
		{name: "no input", apiCall: apiCall{Method: "POST", Target: create, Header: jsonType(), Body: `{}`}, status: 422},
		{name: "a member too many", apiCall: apiCall{Method: "POST", Target: create, Header: jsonType(), Body: `{"input":{},"seed":1}`}, status: 422},
		{name: "not JSON", apiCall: apiCall{Method: "POST", Target: "/v1/predictions", Header: jsonType(), Body: `{"version":`}, status: 400},
		{name: "no version", apiCall: apiCall{Method: "POST", Target: "/v1/predictions", Header: jsonType(), Body: `{"input":{}}`}, status: 422},
		{name: "method not of the API", apiCall: apiCall{Method: "PUT", Target: "/v1/account", Header: jsonType(), Body: `{}`}, status: 404},
		{name: "server error", apiCall: apiCall{Method: "GET", Target: "/v1/hardware", Header: withToken()},
			on: "hardware.list", fault: upstream.Fault{Name: upstream.FaultStatus, Status: 503}, status: 503},
		{name: "server error of a create", apiCall: apiCall{Method: "POST", Target: "/v1/predictions", Header: jsonType(), Body: byVersion},
			on: "predictions.create", fault: upstream.Fault{Name: upstream.FaultStatus, Status: 500}, status: 500},
		{name: "throttled", apiCall: apiCall{Method: "POST", Target: create, Header: jsonType(), Body: `{"input":{}}`},
			on: "models.predictions.create", fault: upstream.Fault{Name: upstream.FaultThrottled}, status: 429},
		{name: "throttled, wait in the text", apiCall: apiCall{Method: "POST", Target: create, Header: jsonType(), Body: `{"input":{}}`},
			on: "models.predictions.create", fault: upstream.Fault{Name: upstream.FaultThrottledText}, status: 429, adds: waits},
		{name: "throttled, wait in ratelimit-reset", apiCall: apiCall{Method: "GET", Target: "/v1/account", Header: withToken()},
			on: "account.get", fault: upstream.Fault{Name: upstream.FaultThrottledRate}, status: 429, adds: waits},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.within(t)
			if tt.on != "" {
				both(t, "operation:"+tt.on, tt.fault)
			}
			through := w.through(tt.apiCall)
			if tt.on != "" {
				require.Empty(t, w.behind.upstream.Faults(), "the fault did not strike")
			}
			direct := w.directly(tt.apiCall)
			w.requireSameRequest(through, direct)
			for _, c := range tt.adds {
				require.Equal(t, "30", through.Answer.Get(c.header))
				through.Answer.Del(c.header)
			}
			w.requireSameAnswer(through, direct)
			require.Equal(t, tt.status, through.Status, "%s", through.Body)
		})
	}
}

// TestContractPaths: methods, paths, queries and headers arrive as the client
// sent them, however odd.
func TestContractPaths(t *testing.T) {
	const model = "acme/flux"
	w := newTwins(t, worldOptions{Models: []string{model}}, asReplicate)
	w.unchanged(model)
	for _, target := range []string{
		"/v1/predictions?", "/v1/account?a=%2F&b=%20+&&c", "/v1/account?x=a;b", "/v1/account?",
		"/v1/models/acme%2Fflux", "/v1/models/acme/fl%75x", "/v1/models/%61cme/flux/versions", "/v1/models/acme/%C3%A9",
		"/v1/models/acme/flux%20", "/v1/models/acme/flux%3Fa", "/v1/models/acme/flux%23a", "/v1/models/acme/flux%25",
		"/v1//models", "/v1/models//", "/v1/models/", "/v1/models;v=1", "/v1/models/acme/flux;v=1/versions", "/v1/models/acme/flux,x/versions",
		"/v1/models/a+b/c", "/v1/models/a:b/c@d", "/v1/models/acme/flux'!*()", "/v1/models/acme/a|b",
		"/v1/predictions/a%2Fcancel", "/v1/predictions/abc?", "/v1/files/a%2F..%2Fb", "/v1/search?query=a%26b&query=%22", "/v1/predictions?cursor=%3D%3D",
		"/v1/nobody/knows/this?x", "/v1/collections/a~b",
	} {
		t.Run(target, func(t *testing.T) {
			w.within(t).requireSame(apiCall{Method: "GET", Target: target, Header: withToken("accept-encoding", "identity")})
		})
	}
	// A URL parser, which every worker has before it, makes these what they stand for.
	for _, tt := range []struct{ name, target, arrives string }{
		{"dot segments", "/v1/models/../account", "/v1/account"},
		{"escaped dot segments", "/v1/models/a/%2e%2E/%2e/flux", "/v1/models/flux"},
		{"a path that is not ASCII", "/v1/models/acme/é", "/v1/models/acme/%C3%A9"},
		{"a query that is not ASCII", "/v1/account?q=é", "/v1/account?q=%C3%A9"},
		{"braces", "/v1/models/acme/{name}?a={}", "/v1/models/acme/%7Bname%7D?a={}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.within(t)
			header := withToken("accept-encoding", "identity")
			through := w.through(apiCall{Method: "GET", Target: tt.target, Header: header})
			direct := w.directly(apiCall{Method: "GET", Target: tt.arrives, Header: header})
			w.requireSameRequest(through, direct)
			w.requireSameAnswer(through, direct)
		})
	}
	for _, tt := range []struct{ name, method, target, body string }{
		{"HEAD of a list", "HEAD", "/v1/predictions", ""},
		{"HEAD of nothing", "HEAD", "/v1/nobody", ""},
		{"QUERY with a body", "QUERY", "/v1/models", "flux é"},
		{"QUERY without", "QUERY", "/v1/models", ""},
		{"OPTIONS", "OPTIONS", "/v1/predictions", ""},
		{"DELETE with a body", "DELETE", "/v1/files/nobody", `{"why":1}`},
		{"GET with a body", "GET", "/v1/account", `{"a":1}`},
		{"PATCH of nothing", "PATCH", "/v1/models/acme/nobody", `{"description":"é"}`},
		{"a create with a query", "POST", "/v1/models/acme/flux/predictions?a=%2F&b", `{"input":{"prompt":"é\u00e9"}}`},
		{"a create whose name is escaped", "POST", "/v1/models/acme/fl%75x/predictions", `{"input":{}}`},
		{"PROPFIND", "PROPFIND", "/v1/account", "<x/>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.within(t).requireSame(apiCall{Method: tt.method, Target: tt.target, Header: jsonType("accept-encoding", "identity"), Body: tt.body})
		})
	}
	t.Run("headers", func(t *testing.T) {
		w := w.within(t)
		header := jsonType("accept-encoding", "br;q=0.5, gzip", "x-own", "a", "x-own", "b", "prefer", "respond-async", "cancel-after", "1h", "cookie", "a=b; c=d",
			"if-none-match", `"x"`, "x-forwarded-for", "192.0.2.1", "forwarded", "for=192.0.2.1", "via", "1.1 somebody", "accept-language", "de, en;q=0.5",
			"x-user-id", "me", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=b")
		header.Set("x-empty", "")
		for _, target := range []string{"/v1/account", "/v1/models/acme/flux/predictions"} {
			a := apiCall{Method: http.MethodGet, Target: target, Header: header}
			if strings.HasSuffix(target, "predictions") {
				a.Method, a.Body = http.MethodPost, `{"input":{}}`
			}
			through, _ := w.requireSame(a)
			require.Equal(t, header.Get("traceparent"), through.Header.Get("traceparent"))
		}
	})
	t.Run("headers of Perch's", func(t *testing.T) {
		w := w.within(t)
		a := apiCall{Method: "GET", Target: "/v1/account", Header: withToken("accept-encoding", "identity")}
		direct := w.directly(a)
		a.Header = withToken("accept-encoding", "identity", "x-perch-secret", "1", "x-perch-variant", "canary")
		w.requireSameRequest(w.through(a), direct)
	})
}

func member(t *testing.T, body []byte, name string) string {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal(body, &members), "%s", body)
	text, _ := members[name].(string) // null where there is none
	return text
}
