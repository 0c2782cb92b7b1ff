package upstream

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	fluxStable = VersionID("acme/flux", "stable")
	fluxCanary = VersionID("acme/flux", "canary")
	chatStable = VersionID("acme/chat", "stable")
)

// demo serves the demo catalog, each version and plain model with a latency of 1 s and no chance in it.
func demo(t *testing.T, change ...func(*Options)) *Server {
	t.Helper()
	o := Options{Catalog: DemoCatalog(), Seed: 1}
	for i := range o.Catalog.Versions {
		o.Catalog.Versions[i].Behavior = Behavior{Latency: Fixed(time.Second)}
	}
	for i := range o.Catalog.HTTP {
		o.Catalog.HTTP[i].Behavior = Behavior{Latency: Fixed(time.Second)}
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal(r.body, &object), "%s", r.body)
	return object
}

// ask calls s without a network, with a token unless headers (name: value) say otherwise.
func ask(s *Server, method, path, body string, headers ...string) reply {
	r := httptest.NewRequest(method, "http://upstream.test"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer r8_test")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.Bytes()}
}

func createBodyOf(version string) string {
	return `{"input":{"prompt":"hello there"},"version":"` + version + `"}`
}
