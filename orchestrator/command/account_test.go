package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeAccount answers the parts of Cloudflare's API that init and doctor call,
// and the worker's health.
type fakeAccount struct {
	t  *testing.T
	mu sync.Mutex
	// refuse answers calls whose "METHOD path" begins with the key; the first
	// segment of the path is the one after the account.
	refuse     map[string]fakeRefusal
	token      string // result of the token's verification
	namespaces []string
	values     map[string]string
	rows       string
	bindings   string
	health     string
	writes     []string // keys, in order; deletions with a minus
	secrets    []string // NAME=text, in order

	server *httptest.Server
}

type fakeRefusal struct {
	status, code int
	message      string
}

const healthyBindings = `[{"name":"ROLLOUTS","type":"kv_namespace","namespace_id":"space"},
	{"name":"ANALYTICS","type":"analytics_engine","dataset":"perch_requests"},
	{"name":"PERCH_SEAL_KEY","type":"secret_text"}]`

// newFakeAccount is an account where all is well.
func newFakeAccount(t *testing.T) *fakeAccount {
	f := &fakeAccount{
		t: t, refuse: map[string]fakeRefusal{}, token: `{"id":"x","status":"active"}`, namespaces: []string{"other", "space"},
		values: map[string]string{}, rows: `[{"n":"1234"}]`, bindings: healthyBindings, health: `{"status":"ok","traps":0,"bypass":false,"seal":["` + testKey.ID() + `"]}`,
	}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	return f
}

func (f *fakeAccount) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/worker/_perch/health" {
		_, _ = io.WriteString(w, f.health)
		return
	}
	if r.Header.Get("Authorization") != "Bearer secret" {
		f.t.Errorf("%s %s comes without the token", r.Method, r.URL.Path)
	}
	path := strings.TrimPrefix(r.URL.Path, "/client/v4")
	path = strings.TrimPrefix(path, "/accounts/acct")
	path = strings.TrimPrefix(path, "/storage/kv")
	w.Header().Set("Content-Type", "application/json")
	call := r.Method + " " + path
	for prefix, refusal := range f.refuse {
		if strings.HasPrefix(call, prefix) {
			f.error(w, refusal)
			return
		}
	}
	f.answer(w, r, call)
}

func (f *fakeAccount) error(w http.ResponseWriter, r fakeRefusal) {
	w.Header().Set("Retry-After", "0")
	w.WriteHeader(r.status)
	fmt.Fprintf(w, `{"success":false,"errors":[{"code":%d,"message":%q}],"result":null}`, r.code, r.message)
}

func (f *fakeAccount) answer(w http.ResponseWriter, r *http.Request, call string) {
	result := func(text string) { fmt.Fprintf(w, `{"success":true,"errors":[],"result":%s}`, text) }
	key, isValue := strings.CutPrefix(call, r.Method+" /namespaces/space/values/")
	switch {
	case call == "GET /user/tokens/verify":
		result(f.token)
	case call == "GET /namespaces":
		var list []string
		for _, id := range f.namespaces {
			title := map[string]string{"space": namespaceTitle(defaultWorker)}[id]
			list = append(list, fmt.Sprintf(`{"id":%q,"title":%q}`, id, title))
		}
		result("[" + strings.Join(list, ",") + "]")
	case call == "POST /namespaces":
		f.namespaces = append(f.namespaces, "space")
		result(`{"id":"space","title":"` + namespaceTitle(defaultWorker) + `"}`)
	case call == "GET /namespaces/space/keys":
		result(`[{"name":"rollout:model:acme:flux"}]`)
	case call == "POST /analytics_engine/sql":
		fmt.Fprintf(w, `{"meta":[],"data":%s,"rows":1}`, f.rows)
	case strings.HasPrefix(call, "GET /workers/scripts/") && strings.HasSuffix(call, "/settings"):
		result(`{"bindings":` + f.bindings + `}`)
	case call == "POST /namespaces/space/bulk/get":
		f.bulk(w, r)
	case call == "PUT /workers/scripts/perch/secrets":
		var secret struct{ Name, Text, Type string }
		_ = json.NewDecoder(r.Body).Decode(&secret)
		f.secrets = append(f.secrets, secret.Name+"="+secret.Text)
		result(`{"name":"` + secret.Name + `","type":"secret_text"}`)
	case isValue:
		f.value(w, r, key, result)
	default:
		f.t.Errorf("unexpected call %s", call)
		w.WriteHeader(http.StatusTeapot)
	}
}

func (f *fakeAccount) bulk(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Keys []string }
	_ = json.NewDecoder(r.Body).Decode(&asked)
	values := map[string]*string{}
	for _, key := range asked.Keys {
		values[key] = nil
		if value, found := f.values[key]; found {
			values[key] = &value
		}
	}
	text, _ := json.Marshal(values)
	fmt.Fprintf(w, `{"success":true,"errors":[],"result":{"values":%s}}`, text)
}

func (f *fakeAccount) value(w http.ResponseWriter, r *http.Request, key string, result func(string)) {
	value, found := f.values[key]
	switch {
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		f.values[key] = string(body)
		f.writes = append(f.writes, key)
		result("{}")
	case r.Method == http.MethodDelete:
		delete(f.values, key)
		f.writes = append(f.writes, "-"+key)
		result("{}")
	case !found:
		f.error(w, fakeRefusal{404, 10009, "get: 'key not found'"})
	default:
		_, _ = io.WriteString(w, value)
	}
}

// env is the environment of a command on the account, with changes; an empty
// value unsets.
func (f *fakeAccount) env(changes ...string) []string {
	env := []string{
		"CLOUDFLARE_BASE_URL=" + f.server.URL + "/client/v4", "CLOUDFLARE_ACCOUNT_ID=acct", "CLOUDFLARE_API_TOKEN=secret",
		"PERCH_NAMESPACE_ID=space", "PERCH_WORKER_URL=" + f.server.URL + "/worker", "PERCH_SEAL_KEY=" + testKey.Text(),
	}
	return append(env, changes...)
}

// runCommand runs a command line and returns what it printed and its exit code.
func runCommand(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = Run(t.Context(), append([]string{"orchestrator"}, args...), env, strings.NewReader(""), &out, &errs)
	require.NotContains(t, out.String()+errs.String(), "Bearer")
	return out.String(), errs.String(), code
}

func decodeJSON(t *testing.T, text string) map[string]any {
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}
