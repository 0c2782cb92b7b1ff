package upstream

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	privateModel  = Version{Model: "acme/private", ID: VersionID("acme/private"), Required: []string{"prompt"}}
	newDeployment = `{"name":"app","model":"acme/flux","version":"` + fluxCanary + `","hardware":"gpu-t4","min_instances":0,"max_instances":2}`
	newModel      = `{"owner":"acme","name":"new","visibility":"private","hardware":"cpu","description":"A new one"}`
	newTraining   = `{"destination":"acme/flux","input":{"train_data":"https://example.test/data.zip"}}`
)

// privateServer is the demo with a private model.
func privateServer(t *testing.T) *Server {
	return demo(t, func(o *Options) { o.Catalog.Versions = append(o.Catalog.Versions, privateModel) })
}

// askExample makes the call, with other headers (name: value) as well.
func askExample(s *Server, e Example, headers ...string) reply {
	var all []string
	for name := range e.Header {
		all = append(all, name+": "+e.Header.Get(name))
	}
	return ask(s, e.Method, e.Target, e.Body, append(all, headers...)...)
}

func idOf(t *testing.T, r reply) string {
	require.Equal(t, 201, r.status, "%s", r.body)
	id, _ := r.object(t)["id"].(string)
	return id
}

func predictOne(t *testing.T, s *Server) string {
	return idOf(t, ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)))
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

func count(s *Server) int { return len(s.predictions.between(time.Time{}, time.Time{})) }

// answerTypes are those that are not JSON.
var answerTypes = map[string]string{"files.download": "text/plain", "models.readme.get": "text/plain; charset=utf-8"}

func TestStandInFollowsTheTable(t *testing.T) {
	require.Len(t, Operations(), 37)
	for _, o := range Operations() {
		t.Run(o.ID, func(t *testing.T) {
			s := demo(t, func(o *Options) { o.Tokens = []string{"r8_first", "r8_second"} })
			for range 2 { // each example stands by itself
				e, err := s.Example(o)
				require.NoError(t, err)
				before := count(s)
				refused := askExample(s, e, "Authorization: Bearer r8_third")
				if !o.open() {
					require.Equal(t, 401, refused.status)
					require.Equal(t, "application/problem+json", refused.header.Get("Content-Type"))
				}
				require.Equal(t, before, count(s))

				got := askExample(s, e)
				require.Contains(t, o.Statuses, got.status, "%s", got.body)
				require.Less(t, got.status, 300, "%s", got.body)
				require.Equal(t, o.Empty(), len(got.body) == 0)
				if !o.Empty() {
					require.Equal(t, cmp.Or(answerTypes[o.ID], "application/json"), got.header.Get("Content-Type"))
				}
				require.Equal(t, o.Creates, count(s) == before+1)
				require.Equal(t, o.Creates, s.Log()[len(s.Log())-1].Input != nil)
			}
		})
	}
}

func TestExamplesNeedACatalog(t *testing.T) {
	s := demo(t, func(o *Options) { o.Catalog.Models = nil })
	_, err := s.Example(Operations()[0])
	require.EqualError(t, err, "make example of account.get: the catalog has no official model")
	s = demo(t, func(o *Options) { o.Catalog.Deployments = nil })
	_, err = s.Example(Operations()[0])
	require.EqualError(t, err, "make example of account.get: the catalog has no deployment of acme/flux")
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
