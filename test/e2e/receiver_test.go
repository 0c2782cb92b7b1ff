package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// receiver is a client's own server, reached by https, that takes webhooks.
type receiver struct {
	*testing.T
	server *httptest.Server
	trust  string // file of its certificate

	mu      sync.Mutex
	answers []func(http.ResponseWriter) // of the next requests; afterwards 200
	got     []received
}

// received is a request as it came.
type received struct {
	Method, Target string
	Header         http.Header
	Body           []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{T: t, trust: filepath.Join(t.TempDir(), "receiver.pem")}
	r.server = httptest.NewTLSServer(r)
	t.Cleanup(r.server.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	require.NoError(t, os.WriteFile(r.trust, certificate, 0o600))
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		r.Errorf("read a webhook: %v", err)
	}
	r.mu.Lock()
	r.got = append(r.got, received{request.Method, request.RequestURI, request.Header, body})
	answer := func(http.ResponseWriter) {}
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	r.mu.Unlock()
	answer(w)
}

func (r *receiver) url() string { return r.server.URL + "/hook?from=replicate" }

func (r *receiver) received() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

// next says how the next requests are answered.
func (r *receiver) next(answers ...func(http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.answers = nil, answers
}

func withStatus(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

// signed is the signature of Standard Webhooks, made here anew.
func signed(secret, id, timestamp string, body []byte) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + string(body)))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
