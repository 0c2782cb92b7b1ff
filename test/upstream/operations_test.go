package upstream

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// example is one valid call of an operation.
type example struct {
	parameters map[string]string // of the path; {made} is the id of what prepare makes
	query      string
	body       string
	form       bool   // the body is a form, of multipartType
	answer     string // its content type; by default JSON
	empty      bool   // the answer has no body
	prepare    func(*testing.T, *Server) string
}

var (
	privateModel   = Version{Model: "acme/private", ID: VersionID("acme/private"), Required: []string{"prompt"}}
	flux           = map[string]string{"owner": "acme", "name": "flux"}
	fluxDeployment = map[string]string{"owner": "acme", "name": "flux-canary"}
	newDeployment  = `{"name":"app","model":"acme/flux","version":"` + fluxCanary + `","hardware":"gpu-t4","min_instances":0,"max_instances":2}`
	newModel       = `{"owner":"acme","name":"new","visibility":"private","hardware":"cpu","description":"A new one"}`
	newTraining    = `{"destination":"acme/flux","input":{"train_data":"https://example.test/data.zip"}}`
)

// examples has one for each operation.
var examples = map[string]example{
	"account.get":                    {},
	"collections.list":               {},
	"collections.get":                {parameters: map[string]string{"collection": "official"}},
	"hardware.list":                  {},
	"search":                         {query: "query=flux"},
	"webhooks.default.secret.get":    {},
	"deployments.list":               {},
	"deployments.create":             {body: newDeployment},
	"deployments.get":                {parameters: fluxDeployment},
	"deployments.update":             {parameters: fluxDeployment, body: `{"max_instances":3}`},
	"deployments.delete":             {parameters: fluxDeployment, empty: true},
	"deployments.predictions.create": {parameters: fluxDeployment, body: `{"input":{"prompt":"hi"}}`},
	"files.list":                     {prepare: uploadOne},
	"files.create":                   {body: multipartBody("hello"), form: true},
	"files.get":                      {parameters: map[string]string{"file": "{made}"}, prepare: uploadOne},
	"files.delete":                   {parameters: map[string]string{"file": "{made}"}, prepare: uploadOne, empty: true},
	"files.download":                 {parameters: map[string]string{"file": "{made}"}, prepare: uploadOne, answer: "text/plain"},
	"models.list":                    {},
	"models.create":                  {body: newModel},
	"models.search":                  {body: "flux"},
	"models.get":                     {parameters: flux},
	"models.update":                  {parameters: flux, body: `{"description":"Better"}`},
	"models.delete":                  {parameters: map[string]string{"owner": "acme", "name": "new"}, prepare: createOne, empty: true},
	"models.examples.list":           {parameters: flux},
	"models.predictions.create":      {parameters: flux, body: `{"input":{"prompt":"hi"}}`},
	"models.readme.get":              {parameters: flux, answer: "text/plain; charset=utf-8"},
	"models.versions.list":           {parameters: flux},
	"models.versions.get":            {parameters: map[string]string{"owner": "acme", "name": "flux", "version": fluxCanary}},
	"models.versions.delete": {
		parameters: map[string]string{"owner": "acme", "name": "private", "version": privateModel.ID}, empty: true,
	},
	"predictions.create": {body: createBodyOf(fluxCanary)},
	"predictions.list":   {prepare: predictOne},
	"predictions.get":    {parameters: map[string]string{"id": "{made}"}, prepare: predictOne},
	"predictions.cancel": {parameters: map[string]string{"id": "{made}"}, prepare: predictOne},
	"trainings.create": {
		parameters: map[string]string{"owner": "acme", "name": "flux", "version": fluxCanary}, body: newTraining,
	},
	"trainings.list":   {prepare: trainOne},
	"trainings.get":    {parameters: map[string]string{"training": "{made}"}, prepare: trainOne},
	"trainings.cancel": {parameters: map[string]string{"training": "{made}"}, prepare: trainOne},
}

func idOf(t *testing.T, r reply) string {
	require.Equal(t, 201, r.status, "%s", r.body)
	id, _ := r.object(t)["id"].(string)
	return id
}

func predictOne(t *testing.T, s *Server) string {
	return idOf(t, ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)))
}

func createOne(t *testing.T, s *Server) string {
	return idOf(t, ask(s, "POST", "/v1/models", newModel))
}

func trainOne(t *testing.T, s *Server) string {
	return idOf(t, ask(s, "POST", "/v1/models/acme/flux/versions/"+fluxCanary+"/trainings", newTraining))
}

func uploadOne(t *testing.T, s *Server) string {
	return idOf(t, ask(s, "POST", "/v1/files", multipartBody("hello"), "Content-Type: "+multipartType))
}

const multipartType = "multipart/form-data; boundary=XX"

func multipartBody(content string) string {
	return "--XX\r\nContent-Disposition: form-data; name=\"content\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n" + content +
		"\r\n--XX\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"customer\":7}\r\n--XX--\r\n"
}

// exampleServer is the demo with a private model, which may be deleted.
func exampleServer(t *testing.T) *Server {
	return demo(t, func(o *Options) { o.Catalog.Versions = append(o.Catalog.Versions, privateModel) })
}

// call makes what the example needs and returns its method, path, body and headers.
func (e example) call(t *testing.T, s *Server, o Operation) (path, body string, headers []string) {
	made := ""
	if e.prepare != nil {
		made = e.prepare(t, s)
	}
	path = "/v1" + o.Path
	for name, value := range e.parameters {
		path = strings.ReplaceAll(path, "{"+name+"}", strings.ReplaceAll(value, "{made}", made))
	}
	if e.query != "" {
		path += "?" + e.query
	}
	if o.ID == "files.download" {
		var err error
		path, err = s.DownloadPath(made)
		require.NoError(t, err)
	}
	if e.form {
		headers = append(headers, "Content-Type: "+multipartType)
	}
	return path, e.body, headers
}

func count(s *Server) int { return len(s.predictions.between(time.Time{}, time.Time{})) }

func TestStandInFollowsTheTable(t *testing.T) {
	require.Len(t, Operations(), 37)
	require.Len(t, examples, 37)
	for _, o := range Operations() {
		t.Run(o.ID, func(t *testing.T) {
			s := exampleServer(t)
			e, known := examples[o.ID]
			require.True(t, known)
			path, body, headers := e.call(t, s, o)
			before := count(s)
			refused := ask(s, o.Method, path, body, append(headers, "Authorization: ")...)
			if !o.open() {
				require.Equal(t, 401, refused.status)
				require.Equal(t, "application/problem+json", refused.header.Get("Content-Type"))
			}
			require.Equal(t, before, count(s))

			got := ask(s, o.Method, path, body, headers...)
			require.Contains(t, o.Statuses, got.status, "%s", got.body)
			require.Less(t, got.status, 300, "%s", got.body)
			require.Equal(t, e.empty, len(got.body) == 0)
			if !e.empty {
				require.Equal(t, cmp.Or(e.answer, "application/json"), got.header.Get("Content-Type"))
			}
			require.Equal(t, o.Creates, count(s) == before+1)
			require.Equal(t, o.Creates, s.Log()[len(s.Log())-1].Input != nil)
		})
	}
}

func TestUnknownCallsAreProblems(t *testing.T) {
	s := demo(t)
	for _, call := range []string{
		"GET /v1/nothing", "PUT /v1/predictions", "GET /v1/predictions/nobody", "POST /v1/predictions/nobody/cancel",
		"GET /v1/models/acme/none", "GET /v1/models/acme/none/versions", "GET /v1/models/acme/flux/versions/abc",
		"GET /v1/models/acme/chat/versions/" + fluxStable, "GET /", "POST /v1/models/acme/flux/versions/abc/predictions",
	} {
		method, path, _ := strings.Cut(call, " ")
		got := ask(s, method, path, "")
		require.Equal(t, 404, got.status, call)
		require.Equal(t, "application/problem+json", got.header.Get("Content-Type"), call)
		require.EqualValues(t, 404, got.object(t)["status"], call)
	}
}

func TestParseOperationsRefuses(t *testing.T) {
	_, err := parseOperations("head\nGET\t/x\tx\tno\n")
	require.EqualError(t, err, "line 2: 4 columns, want 5")
	_, err = parseOperations("head\nGET\t/x\tx\tno\tok\n")
	require.EqualError(t, err, `line 2: status "ok"`)
}
