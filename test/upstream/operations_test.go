package upstream

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// examples are one valid call of each answered operation: path parameters by name, and the body.
var examples = map[string]struct {
	parameters map[string]string
	body       string
}{
	"account.get":          {},
	"models.get":           {parameters: map[string]string{"owner": "acme", "name": "flux"}},
	"models.versions.list": {parameters: map[string]string{"owner": "acme", "name": "flux"}},
	"models.versions.get":  {parameters: map[string]string{"owner": "acme", "name": "flux", "version": fluxCanary}},
	"predictions.create":   {body: createBodyOf(fluxCanary)},
	"models.predictions.create": {
		parameters: map[string]string{"owner": "acme", "name": "flux"}, body: `{"input":{"prompt":"hi"}}`,
	},
	"deployments.predictions.create": {
		parameters: map[string]string{"owner": "acme", "name": "flux-canary"}, body: `{"input":{"prompt":"hi"}}`,
	},
	"predictions.list":            {},
	"predictions.get":             {parameters: map[string]string{"id": "{made}"}},
	"webhooks.default.secret.get": {},
	"predictions.cancel":          {parameters: map[string]string{"id": "{made}"}},
}

// pathOf fills the operation's parameters in; {made} is the id of a prediction that it makes, and names without an
// example stand for themselves.
func pathOf(t *testing.T, s *Server, o Operation) string {
	path := "/v1" + o.Path
	for name, value := range examples[o.ID].parameters {
		if value == "{made}" {
			value = ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)).object(t)["id"].(string)
		}
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	return strings.NewReplacer("{", "", "}", "").Replace(path)
}

func count(s *Server) int {
	found, _ := s.predictions.page(100, "", time.Time{}, time.Time{})
	return len(found)
}

func TestStandInFollowsTheTable(t *testing.T) {
	require.Len(t, Operations(), 37)
	for _, o := range Operations() {
		t.Run(o.ID, func(t *testing.T) {
			s := demo(t)
			path := pathOf(t, s, o)
			before := count(s)
			refused := ask(s, o.Method, path, examples[o.ID].body, "Authorization: ")
			require.Equal(t, 401, refused.status)
			require.Equal(t, "application/problem+json", refused.header.Get("Content-Type"))
			require.Equal(t, before, count(s))

			got := ask(s, o.Method, path, examples[o.ID].body)
			_, answered := examples[o.ID]
			require.Equal(t, o.Answered, answered, "every answered operation has an example, and no other")
			if !o.Answered {
				require.Equal(t, 501, got.status)
				require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
				require.Equal(t, "The stand-in does not answer "+o.ID+" yet", got.object(t)["detail"])
				return
			}
			require.Contains(t, o.Statuses, got.status)
			require.Equal(t, "application/json", got.header.Get("Content-Type"))
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
	_, err := parseOperations("head\nGET\t/x\tx\tno\t200\n")
	require.EqualError(t, err, "line 2: 5 columns, want 6")
	_, err = parseOperations("head\nGET\t/x\tx\tno\tok\tyes\n")
	require.EqualError(t, err, `line 2: status "ok"`)
}
