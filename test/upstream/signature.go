package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const secretPrefix = "whsec_"

// newWebhookSecret is the same for the same seed and purpose.
func newWebhookSecret(seed uint64, purpose string) string {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte(purpose+"\x00"), seed))
	return secretPrefix + base64.StdEncoding.EncodeToString(sum[:24])
}

// sign sets the headers of Standard Webhooks.
func sign(h http.Header, secret, id string, at time.Time, body []byte) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		panic(err) // secrets are made here
	}
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + seconds + "."))
	mac.Write(body)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", seconds)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// WebhookSecret is what GET /v1/webhooks/default/secret answers, whsec_ and base64.
func (s *Server) WebhookSecret() string { return s.webhookSecret }

func (s *Server) getWebhookSecret(x *exchange) {
	x.answer(http.StatusOK, map[string]string{"key": s.webhookSecret})
}
