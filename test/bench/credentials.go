package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"perch/shared/seal"
)

const (
	heldToken = "r8_9876543210fedcba9876543210fedcba98765"
	apiKey    = "bench-0123456789abcdef"
	// manyJWTs are more than an isolate remembers, so that one of them is always forgotten when its turn comes again.
	manyJWTs = 1_100
	rsaBits  = 2048
)

// credentials are what clients of the features bring, and the worker's secrets that fit them.
type credentials struct {
	secrets map[string]string
	key     seal.Key
	now     time.Time
	jwts    []string
}

func newCredentials() (*credentials, error) {
	var bytes [seal.KeyBytes]byte
	_, _ = rand.Read(bytes[:]) // never fails
	c := &credentials{key: seal.NewKey(bytes), now: time.Now()}
	private, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("make RSA key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("write RSA key: %w", err)
	}
	for user := range manyJWTs {
		jwt, err := c.sign(private, user)
		if err != nil {
			return nil, fmt.Errorf("sign JWT: %w", err)
		}
		c.jwts = append(c.jwts, jwt)
	}
	c.secrets = map[string]string{
		"PERCH_SEAL_KEY":           c.key.Text(),
		"REPLICATE_WEBHOOK_SECRET": "whsec_" + base64.StdEncoding.EncodeToString(bytes[:]),
		"REPLICATE_API_TOKEN":      heldToken,
		"JWT_KEY":                  string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	}
	return c, nil
}

func (c *credentials) sign(key *rsa.PrivateKey, user int) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":"user-%d","iss":"https://issuer.example","exp":%d}`, user, c.now.Add(time.Hour).Unix())
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	return signed + "." + encode(signature), err
}

// first is always the same JWT, next another one for each request.
func (c *credentials) first(int64) string  { return c.jwts[0] }
func (c *credentials) next(n int64) string { return c.jwts[1+n%(manyJWTs-1)] }

// seal is what Perch seals into the URLs of a prediction that it routed.
func (c *credentials) seal(id string) string {
	sealed, err := c.key.Seal(seal.Context{
		Purpose: seal.Prediction, Service: "model:bench/plain", Variant: "stable", Rollout: rolloutID, Reason: "percentage",
		User: "0123456789abcdef", Prediction: id, Trace: strings.Repeat("4bf9", 8),
		IssuedAt: c.now.Unix(), ExpiresAt: c.now.Add(time.Hour).Unix(),
	})
	if err != nil {
		panic(err) // it fits
	}
	return sealed
}

func apiKeySHA256() string {
	digest := sha256.Sum256([]byte(apiKey))
	return hex.EncodeToString(digest[:])
}
