package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/shared/seal"
	"perch/test/upstream"
)

// TestWebhookRefused: what Replicate did not sign just now for this very URL
// reaches neither the client nor the records, and the answer says why.
func TestWebhookRefused(t *testing.T) {
	h := newHooked(t, nil)
	h = h.within(t)
	sealed := func(purpose seal.Purpose, trace string) string {
		text, err := sealKey.Seal(seal.Context{
			Purpose: purpose, Service: "model:" + hookModel, Variant: document.Canary, Rollout: "r1", Reason: "percentage",
			Webhook: h.client.url(), Trace: trace,
		})
		require.NoError(t, err)
		return text
	}
	own := sealed(seal.Webhook, pad(32))
	strangers, err := seal.NewKey([seal.KeyBytes]byte{9}).Seal(seal.Context{Purpose: seal.Webhook, Webhook: h.client.url()})
	require.NoError(t, err)
	type request struct {
		call
		secret, body string
		at           time.Time
		unsigned     bool
	}
	good := func() request {
		body := `{"id":"p1","status":"succeeded","webhook":"https://perch.example` + hookPath + own + `"}`
		return request{call: call{Path: hookPath + own}, secret: h.secret, body: body, at: time.Now()}
	}
	send := func(r request) reply {
		r.Body = r.body
		if !r.unsigned {
			stamp := strconv.FormatInt(r.at.Unix(), 10)
			r.Headers = map[string]string{
				"content-type": "application/json", "webhook-id": "msg_1", "webhook-timestamp": stamp,
				"webhook-signature": "v1,bm90IHRoaXM= " + signed(r.secret, "msg_1", stamp, []byte(r.body)),
			}
			if strings.HasPrefix(r.body, "altered ") {
				r.Body = strings.TrimPrefix(r.body, "altered ")
			}
		}
		return h.do(r.call)
	}
	for _, tt := range []struct {
		name   string
		change func(*request)
		status int
		want   string
	}{
		{"unsigned", func(r *request) { r.unsigned = true }, 401, "Missing required headers"},
		{"signed by a stranger", func(r *request) { r.secret = "whsec_" + strings.Repeat("QUJD", 8) }, 401, "No matching signature"},
		{"altered behind the signature", func(r *request) { r.body = "altered " + r.body }, 401, "No matching signature"},
		{"replayed later", func(r *request) { r.at = r.at.Add(-6 * time.Minute) }, 401, "too old"},
		{"signed for later", func(r *request) { r.at = r.at.Add(6 * time.Minute) }, 401, "too new"},
		{"no UTF-8", func(r *request) { r.body += "\xff" }, 401, "UTF-8"},
		{"signed for another prediction's URL", func(r *request) {
			r.Path = hookPath + sealed(seal.Webhook, strings.Repeat("y", 32))
		}, 403, "another URL"},
		{"an altered payload", func(r *request) { r.Path = hookPath + alter(own, 2) }, 403, "altered"},
		{"an altered mac", func(r *request) { r.Path = hookPath + alter(own, 3) }, 403, "altered"},
		{"a stranger's seal", func(r *request) { r.Path = hookPath + strangers }, 403, "a key that this worker does not hold"},
		{"another purpose", func(r *request) { r.Path = hookPath + sealed(seal.Prediction, "") }, 403, "another purpose"},
		{"a bare URL", func(r *request) { r.Path = hookPath + "https://evil.example" }, 404, ""},
		{"no seal", func(r *request) { r.Path = hookPath + "p1.x" }, 403, "not a seal"},
		{"no POST", func(r *request) { r.Method = "PUT" }, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			got := send(r)
			require.Equal(t, tt.status, got.Status, got.Body)
			require.Equal(t, "application/problem+json", got.Header.Get("content-type"))
			require.Contains(t, got.Body, tt.want)
			require.NotContains(t, got.Body, strings.TrimPrefix(h.secret, "whsec_"))
			require.NotContains(t, got.Body, h.client.server.URL)
		})
	}
	t.Run("too large", func(t *testing.T) {
		r := h.raw("POST " + hookPath + own + " HTTP/1.1\r\nHost: perch.example\r\nContent-Length: 8388609\r\n\r\n")
		require.Equal(t, 413, r.Status)
		require.Contains(t, r.Body, "8 MiB")
	})
	require.Empty(t, h.client.received())
	for _, secret := range []string{h.secret, otherSecret} {
		r := good()
		r.secret = secret
		require.Equal(t, 200, send(r).Status)
	}
	require.Len(t, h.client.received(), 2)
	h.awaitEnd("p1", "succeeded")
}

// TestWebhookToAPrivateAddress: what the client may not reach through Perch is
// refused before anything is created; the rest comes back by https.
func TestWebhookToAPrivateAddress(t *testing.T) {
	h := newHooked(t, func(o *worldOptions) {
		o.Vars = nil
		o.Upstream = func(o *upstream.Options) { o.WebhookClient = &http.Client{Transport: refusing{}} }
	})
	h.upstream.ClearLog()
	create := func(body io.Reader) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.stack.Places[0].URL+"/v1/models/"+hookModel+"/predictions", body)
		require.NoError(t, err)
		request.Host = "perch.example"
		got := answerTo(t, request)
		return got.Status, got.Body
	}
	body := func(webhook string, padding int) string {
		return `{"input":{"prompt":"` + pad(padding) + `"},"webhook":"` + webhook + `"}`
	}
	for name, webhook := range map[string]string{
		"loopback": "https://127.0.0.1:1/", "link-local": "https://169.254.169.254/latest", "by name": "https://localhost/",
		"one number": "https://2130706433/", "IPv6": "https://[::ffff:10.0.0.1]/", "internal": "https://db.internal/",
		"Perch": "https://perch.example/x", "credentials": "https://a:b@client.example/",
	} {
		for how, body := range map[string]io.Reader{
			"small": strings.NewReader(body(webhook, 10)), "large": strings.NewReader(body(webhook, 3<<20)),
			"of unknown length": io.MultiReader(strings.NewReader(body(webhook, 1<<20))),
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				status, text := create(body)
				require.Equal(t, 422, status, text)
				require.Regexp(t, "private address|back to Perch|credentials", text)
			})
		}
	}
	for _, entry := range h.upstream.Log() {
		require.Empty(t, entry.Prediction, "something was created")
	}
	status, text := create(strings.NewReader(body("https://client.example/hook", 10)))
	require.Equal(t, 201, status, text)
	require.Contains(t, text, "https://client.example/hook")
	require.Eventually(t, func() bool { return len(h.upstream.Deliveries()) > 0 }, 5*time.Second, 10*time.Millisecond)
	require.True(t, strings.HasPrefix(h.upstream.Deliveries()[0].URL, "https://perch.example"+hookPath))
}

// refusing reaches nobody.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }

// TestWebhookLeftAlone: where Perch can add no webhook, or where Replicate is to
// judge, the create goes on as the client wrote it.
func TestWebhookLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name, logged string
		secrets      map[string]string
	}{
		{"no secret of Replicate's", "REPLICATE_WEBHOOK_SECRET", nil},
		{"no key for seals", "PERCH_SEAL_KEY", map[string]string{"REPLICATE_WEBHOOK_SECRET": otherSecret, "PERCH_SEAL_KEY": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHooked(t, func(o *worldOptions) { o.Secrets = tt.secrets })
			h = h.within(t)
			for range 2 {
				id := h.createWith(h.webhook("completed"))
				for _, d := range h.sent(id) {
					require.Equal(t, h.client.url(), d.URL)
				}
			}
			require.Len(t, h.client.received(), 2)
			require.Equal(t, 1, strings.Count(h.stack.Log(), `no webhook is added: `+tt.logged))
		})
	}
	t.Run("Replicate is to judge", func(t *testing.T) {
		h := newHooked(t, nil)
		for _, members := range []string{
			`,"webhook":"ftp://client.example/"`, `,"webhook":"client"`, `,"webhook":7`, `,"webhook":null`, `,"webhook":"https://b\u00fccher.example/"`,
			h.webhook("end"), h.webhook() + `,"webhook_events_filter":"completed"`, h.webhook() + h.webhook(), h.webhook() + `,"webhook":"https://127.0.0.1/"`,
			h.webhook()[:20], `,"webhook`,
		} {
			version := hookModel + ":" + versionID(hookModel, document.Canary)
			sent := `{"input":{"prompt":"hello"}` + members + `}`
			direct := ask(t, h.upstream.URL()+"/v1/predictions", `{"version":"`+version+`",`+sent[1:])
			h.upstream.ClearLog()
			got := h.do(call{Path: "/v1/models/" + hookModel + "/predictions", Body: sent})
			require.Equal(t, direct.Status, got.Status, members)
			entry := last(h.upstream.Log())
			routed := sha256.Sum256([]byte(`{"version":"` + version + `",` + sent[1:]))
			unrouted := sha256.Sum256([]byte(sent))
			require.Contains(t, []string{hex.EncodeToString(routed[:]), hex.EncodeToString(unrouted[:])}, entry.BodySHA256, members)
		}
	})
}

// ask sends a create past Perch.
func ask(t *testing.T, url, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	return answerTo(t, request)
}

func answerTo(t *testing.T, request *http.Request) reply {
	t.Helper()
	request.Header.Set("authorization", "Bearer test-token")
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{Status: response.StatusCode, Header: response.Header, Body: string(text)}
}
