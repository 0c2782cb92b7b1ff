package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// issuer signs JSON Web Tokens, as an identity provider does.
type issuer struct {
	*testing.T
	name string
	rsa  map[string]*rsa.PrivateKey // by kid
	ec   *ecdsa.PrivateKey
	set  *origin
	kids atomic.Value // those that the key set shows, a []string
	down atomic.Bool
}

// newIssuer starts one with the RSA keys one and two, of which the set shows one.
func (w *world) newIssuer() *issuer {
	i := &issuer{T: w.T, name: "https://issuer.example", rsa: map[string]*rsa.PrivateKey{}}
	for _, kid := range []string{"one", "two"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(w, err)
		i.rsa[kid] = key
	}
	var err error
	i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w, err)
	i.kids.Store([]string{"one"})
	i.set = w.origin(i.serve)
	return i
}

func (i *issuer) serve(rw http.ResponseWriter, _ *http.Request) {
	if i.down.Load() {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	keys := []map[string]string{}
	for _, kid := range i.kids.Load().([]string) {
		public := i.rsa[kid].PublicKey
		keys = append(keys, map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
			"n": encoded(public.N.Bytes()), "e": encoded(big.NewInt(int64(public.E)).Bytes()),
		})
	}
	_ = json.NewEncoder(rw).Encode(map[string]any{"keys": keys})
}

// publicPEM is the RSA key one as a document's key has it.
func (i *issuer) publicPEM() string {
	der, err := x509.MarshalPKIXPublicKey(&i.rsa["one"].PublicKey)
	require.NoError(i, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

type claims = map[string]any

// token signs the claims that are accepted, those given put over them; nil takes
// one away. By kid the key is chosen, by alg the way to sign.
func (i *issuer) token(alg, kid string, change claims) string {
	payload := claims{"sub": "alice", "iss": i.name, "aud": "perch", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range change {
		payload[name] = value
		if value == nil {
			delete(payload, name)
		}
	}
	head := claims{"alg": alg, "typ": "JWT"}
	if kid != "" {
		head["kid"] = kid
	}
	text := i.part(head) + "." + i.part(payload)
	return text + "." + encoded(i.sign(alg, kid, text))
}

func (i *issuer) part(value claims) string {
	text, err := json.Marshal(value)
	require.NoError(i, err)
	return encoded(text)
}

func (i *issuer) sign(alg, kid, text string) []byte {
	digest := sha256.Sum256([]byte(text))
	switch alg {
	case "RS256":
		key := i.rsa[kid]
		if key == nil {
			key = i.rsa["one"]
		}
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		require.NoError(i, err)
		return signature
	case "ES256":
		r, s, err := ecdsa.Sign(rand.Reader, i.ec, digest[:])
		require.NoError(i, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "HS256": // with the public key for a secret
		mac := hmac.New(sha256.New, []byte(i.publicPEM()))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	return nil
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// heldAccess admits the API keys <name>-key to a token that Perch holds.
func heldAccess(names ...string) *document.Access {
	a := &document.Access{Token: "secret:REPLICATE_TOKEN"}
	for _, name := range names {
		digest := sha256.Sum256([]byte(name + "-key"))
		a.Keys = append(a.Keys, document.APIKey{Name: name, SHA256: hex.EncodeToString(digest[:])})
	}
	return a
}

// jwtAccess admits the issuer's users to it.
func (i *issuer) jwtAccess() *document.Access {
	return &document.Access{Token: "secret:REPLICATE_TOKEN", JWT: &document.JWT{
		Algorithms: []string{"RS256"}, JWKS: i.set.url + "/jwks.json", Issuer: i.name, Audience: "perch", User: "sub",
	}}
}

func bearer(token string) map[string]string {
	return map[string]string{"authorization": "Bearer " + token, "x-user-id": "somebody"}
}
