package cloudflare

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var invalidToken = refused(401, 1000, "Invalid API Token")

// TestVerifyToken: both kinds of token are known, and an outage is not taken for
// a refusal.
func TestVerifyToken(t *testing.T) {
	active := ok(`{"id":"x","status":"active"}`)
	tests := []struct {
		name    string
		answers []answer
		want    Token
		err     string
	}{
		{"a user's", []answer{ok(`{"id":"x","status":"disabled","expires_on":"2027-01-02T03:04:05Z"}`)},
			Token{Status: "disabled", ExpiresOn: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}, ""},
		{"an account's", []answer{invalidToken, active}, Token{Status: "active"}, ""},
		{"nobody's", []answer{invalidToken, invalidToken}, Token{},
			"verify token: status 401 Unauthorized: Invalid API Token (code 1000)"},
		{"API away", []answer{html, html, html, html}, Token{}, "verify token: status 502 Bad Gateway: <html>bad gateway</html>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, test.answers...)
			got, err := a.account().VerifyToken(t.Context())
			require.Len(t, a.calls, len(test.answers))
			if test.err != "" {
				require.EqualError(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			require.Equal(t, "/client/v4/user/tokens/verify", a.calls[0].Path)
		})
	}
}

// TestNamespaces: every page is read.
func TestNamespaces(t *testing.T) {
	var full []string
	for i := range namespacesPerPage {
		full = append(full, fmt.Sprintf(`{"id":"id%d","title":"t%d"}`, i, i))
	}
	a := newAPI(t, ok("["+strings.Join(full, ",")+"]"), ok(`[{"id":"local-namespace","title":"perch-rollouts"}]`))
	list, err := a.account().Namespaces(t.Context())
	require.NoError(t, err)
	require.Len(t, list, namespacesPerPage+1)
	require.Equal(t, Namespace{ID: "local-namespace", Title: "perch-rollouts"}, list[namespacesPerPage])
	require.Equal(t, "page=1&per_page=100", a.calls[0].Query)
	require.Equal(t, "page=2&per_page=100", a.calls[1].Query)
}

func TestCreateNamespace(t *testing.T) {
	a := newAPI(t, ok(`{"id":"new","title":"perch-rollouts"}`), refused(400, 10014, "already exists"))
	n, err := a.account().CreateNamespace(t.Context(), "perch-rollouts")
	require.NoError(t, err)
	require.Equal(t, Namespace{ID: "new", Title: "perch-rollouts"}, n)
	require.Equal(t, "/client/v4/accounts/acct/storage/kv/namespaces", a.calls[0].Path)
	require.JSONEq(t, `{"title":"perch-rollouts"}`, a.calls[0].Body)
	_, err = a.account().CreateNamespace(t.Context(), "perch-rollouts")
	require.EqualError(t, err, "create KV namespace perch-rollouts: status 400 Bad Request: already exists (code 10014)")
}

// TestWorker: bindings of the deployed script, and its absence.
func TestWorker(t *testing.T) {
	gone := refused(404, 10007, "This Worker does not exist on your account.")
	a := newAPI(t,
		ok(`{"bindings":[{"name":"ROLLOUTS","type":"kv_namespace","namespace_id":"space"},
			{"name":"ANALYTICS","type":"analytics_engine","dataset":"requests"},
			{"name":"PERCH_ACCESS","type":"plain_text","text":"{}"},
			{"name":"REPLICATE_HEADERS","type":"json","json":{"x-a": "b"}},
			{"name":"LIMITER","type":"ratelimit","namespace_id":"1001"},
			{"name":"REPLICATE_API_TOKEN","type":"secret_text"}]}`),
		gone)
	bindings, err := a.account().Bindings(t.Context(), "perch")
	require.NoError(t, err)
	require.Equal(t, []Binding{
		{Name: "ROLLOUTS", Type: BindingKV, Target: "space"},
		{Name: "ANALYTICS", Type: BindingAnalytics, Target: "requests"},
		{Name: "PERCH_ACCESS", Type: BindingText, Target: "{}"},
		{Name: "REPLICATE_HEADERS", Type: BindingJSON, Target: `{"x-a":"b"}`},
		{Name: "LIMITER", Type: BindingRateLimit},
		{Name: "REPLICATE_API_TOKEN", Type: BindingSecret},
	}, bindings)
	require.Equal(t, "/client/v4/accounts/acct/workers/scripts/perch/settings", a.calls[0].Path)

	_, err = a.account().Bindings(t.Context(), "perch")
	require.ErrorIs(t, err, ErrNotFound)
}

// TestSetSecret: its text is in the body alone.
func TestSetSecret(t *testing.T) {
	a := newAPI(t, ok(`{"name":"PERCH_SEAL_KEY","type":"secret_text"}`),
		refused(404, 10007, "This Worker does not exist on your account."), refused(403, 10000, "Authentication error"))
	require.NoError(t, a.account().SetSecret(t.Context(), "perch", "PERCH_SEAL_KEY", "the-text"))
	require.Equal(t, "PUT", a.calls[0].Method)
	require.Equal(t, "/client/v4/accounts/acct/workers/scripts/perch/secrets", a.calls[0].Path)
	require.JSONEq(t, `{"name":"PERCH_SEAL_KEY","text":"the-text","type":"secret_text"}`, a.calls[0].Body)
	err := a.account().SetSecret(t.Context(), "perch", "PERCH_SEAL_KEY", "the-text")
	require.ErrorIs(t, err, ErrNotFound)
	err = a.account().SetSecret(t.Context(), "perch", "PERCH_SEAL_KEY", "the-text")
	require.EqualError(t, err, "set secret PERCH_SEAL_KEY of worker perch: status 403 Forbidden: Authentication error (code 10000)")
}

// TestHealth: only 200 is healthy, and an unhealthy worker is not asked again.
func TestHealth(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		require.Equal(t, "/base/_perch/health", r.URL.Path)
		if asked > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(`{"ok":true}`))
	}))
	t.Cleanup(server.Close)
	body, err := Health(t.Context(), server.URL+"/base/")
	require.NoError(t, err)
	require.Equal(t, `{"ok":true}`, body)
	_, err = Health(t.Context(), server.URL+"/base")
	require.EqualError(t, err, `read worker health: status 503 Service Unavailable: {"ok":true}`)
	require.Equal(t, 2, asked)
}
