package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// createBody is a body as a client writes it, VERSION where its version stands,
// and what is left of it without that version.
type createBody struct{ name, client, withoutVersion string }

// versioned are bodies of POST /v1/predictions.
var versioned = []createBody{
	{"version behind input", `{"input":{"prompt":"a b"},"version":"VERSION"}`, `{"input":{"prompt":"a b"}}`},
	{"version before input", `{"version":"VERSION","input":{"prompt":"a b"}}`, `{"input":{"prompt":"a b"}}`},
	{"version inside input too", `{"input":{"version":"theirs","a":{"version":1}},"version":"VERSION"}`, `{"input":{"version":"theirs","a":{"version":1}}}`},
	{"escaped key", `{"\u0076ersio\u006e":"VERSION","input":{"\u0076ersion":"theirs"}}`, `{"input":{"\u0076ersion":"theirs"}}`},
	{"escaped version", `{"input":{},"version":"\u0061cme\/NAME"}`, `{"input":{}}`},
	{"webhook", `{"webhook":"http://127.0.0.1:9/é?a=b","version":"VERSION","webhook_events_filter":["completed"],"input":{"prompt":"é \ud83d\ude00 😀"}}`,
		`{"webhook":"http://127.0.0.1:9/é?a=b","webhook_events_filter":["completed"],"input":{"prompt":"é \ud83d\ude00 😀"}}`},
	{"large, version behind", `{"input":{"prompt":"LARGE"},"version":"VERSION"}`, `{"input":{"prompt":"LARGE"}}`},
	{"large, version before", `{"version":"VERSION","input":{"prompt":"LARGE"}}`, `{"input":{"prompt":"LARGE"}}`},
}

// unversioned are bodies of the two other creates.
var unversioned = []createBody{
	{"input alone", `{"input":{"prompt":"a b"}}`, `{"input":{"prompt":"a b"}}`},
	{"version inside input", `{"input":{"version":"theirs"}}`, `{"input":{"version":"theirs"}}`},
	{"webhook and stream", `{"stream":true,"webhook_events_filter":["completed"],"input":{},"webhook":"http://127.0.0.1:9/"}`,
		`{"stream":true,"webhook_events_filter":["completed"],"input":{},"webhook":"http://127.0.0.1:9/"}`},
	{"blanks", " {\n  \"input\" : { } ,\t\"webhook_events_filter\" : [ ] }\r\n", " {\n  \"input\" : { } ,\t\"webhook_events_filter\" : [ ] }\r\n"},
	{"large", `{"input":{"prompt":"LARGE"}}`, `{"input":{"prompt":"LARGE"}}`},
}

func (b createBody) fill(name, version string) createBody {
	fill := strings.NewReplacer("VERSION", version, "NAME", name, "LARGE", pad(100_000))
	return createBody{b.name, fill.Replace(b.client), fill.Replace(b.withoutVersion)}
}

// withVersion is the body as it is sent to a target that is a version: that stands first.
func (b createBody) withVersion(version string) string {
	return strings.Replace(b.withoutVersion, "{", `{"version":"`+version+`",`, 1)
}

// targetForm is one kind of target, and the call that a client would make of it directly.
type targetForm struct {
	name   string
	target document.Target
	path   string // of the direct call, behind the tap's URL
}

// withModelServers are upstreams that behave as Replicate does, and have a model server for each version.
func withModelServers(o *upstream.Options) {
	asReplicate(o)
	o.AllowHTTPWebhooks = true
	for _, v := range o.Catalog.Versions {
		o.Catalog.HTTP = append(o.Catalog.HTTP, upstream.HTTPModel{Name: v.ID, Version: v.ID})
	}
}

// forms are all kinds of targets that run a model's version.
func (w *twins) forms(model, arm string) []targetForm {
	id := versionID(model, arm)
	server := "/http/" + id + "/predictions"
	return []targetForm{
		{"version", document.Target{Version: model + ":" + id}, "/v1/predictions"},
		{"bare-version", document.Target{Version: id}, "/v1/predictions"},
		{"deployment", document.Target{Deployment: model + "-" + arm}, "/v1/deployments/" + model + "-" + arm + "/predictions"},
		{"model", document.Target{Model: model}, "/v1/models/" + model + "/predictions"},
		{"url", document.Target{URL: w.behind.url + server, Credentials: true}, server},
		{"url-without-credentials", document.Target{URL: w.behind.url + server}, server},
	}
}

// direct is the call that a client would make of the target itself.
func (f targetForm) direct(header http.Header, body createBody) apiCall {
	a := apiCall{Method: http.MethodPost, Target: f.path + "?a=%2F", Header: header, Body: body.withoutVersion}
	if f.target.Version != "" {
		a.Body = body.withVersion(f.target.Version)
	}
	if f.target.URL != "" && !f.target.Credentials {
		a.Header = header.Clone()
		a.Header.Del("authorization")
		a.Header.Del("cookie")
	}
	return a
}

// TestContractTargets: whichever create a client calls, in whatever form its body
// is, the target is asked as if the client had called it.
func TestContractTargets(t *testing.T) {
	const model = "acme/flux"
	w := newTwins(t, worldOptions{Models: []string{model}}, withModelServers)
	forms := w.forms(model, document.Stable)
	for _, form := range forms {
		for _, name := range []string{"model:acme/" + form.name, "deployment:acme/" + form.name} {
			d := rollout(model, 0)
			service, err := document.ParseService(name)
			require.NoError(t, err)
			d.Service = service
			d.Targets[0] = form.target
			d.Targets[0].Name = document.Stable
			w.write(d)
		}
		w.put(document.AliasKey("version", versionID(form.name, "old")), `{"service":"model:acme/`+form.name+`","variant":"stable"}`)
	}
	for _, form := range forms {
		service := "acme/" + form.name
		t.Run(form.name, func(t *testing.T) {
			old := versionID(form.name, "old")
			for how, version := range map[string]string{"id": old, "name and id": service + ":" + old, "name": service} {
				t.Run(how, func(t *testing.T) {
					for _, body := range versioned {
						w.within(t).requireRouted(form, "/v1/predictions", body.fill(form.name, version))
					}
				})
			}
			for _, kind := range []string{"models", "deployments"} {
				t.Run(kind, func(t *testing.T) {
					for _, body := range unversioned {
						w.within(t).requireRouted(form, "/v1/"+kind+"/"+service+"/predictions", body.fill(form.name, ""))
					}
				})
			}
		})
	}
}

// requireRouted: a create through the worker arrives at the target as the direct call does.
func (w *twins) requireRouted(form targetForm, path string, body createBody) {
	w.Run(body.name, func(t *testing.T) {
		w := w.within(t)
		header := jsonType("accept-encoding", "gzip", "cookie", "a=b", "x-own", "kept")
		through := w.through(apiCall{Method: http.MethodPost, Target: path + "?a=%2F", Header: header, Body: body.client})
		require.Equal(t, document.Stable, through.Answer.Get("x-perch-variant"), "no rollout decided: %s", through.Body)
		reference := w.directly(form.direct(header, body))
		require.Equal(t, 201, reference.Status, "%s", reference.Body)
		through.wire = lengthTold(t, through.wire, reference)
		w.requireSameRequest(through, reference)
		w.requireSameAnswer(through, reference)
	})
}
