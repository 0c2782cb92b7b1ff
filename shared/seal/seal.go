// Package seal makes and opens the texts in which Perch hands a client what it
// will want back unaltered: where a rewritten URL leads, whose prediction an id
// names, what a tester may ask for. A seal is not secret, only unforgeable:
//
//	p1.<kid>.<payload>.<mac>
//
// The payload is base64url of compact JSON; the mac is base64url of HMAC-SHA256
// over all before its dot; the kid, the first 8 hexadecimal digits of the key's
// SHA-256, tells two valid keys apart while one takes the other's place.
//
// The worker has its own implementation, in worker/shell/seal.ts; the vectors in
// testdata hold the two together.
package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxBytes is the longest seal that is made, or looked at when it comes back.
const MaxBytes = 6 << 10

// KeyBytes is the length of a key.
const KeyBytes = 32

const format = "p1"

// Purpose is what a seal is for. One made for another purpose does not open.
type Purpose string

// The purposes.
const (
	Prediction Purpose = "prediction" // polls and cancels of a prediction
	Stream     Purpose = "stream"     // its event stream
	At         Purpose = "at"         // a URL on a model server's own host
	Webhook    Purpose = "webhook"    // where Replicate reports a prediction's end
	Tester     Purpose = "tester"     // may ask for a variant
	Follow     Purpose = "follow"     // the orchestrator's polls of predictions nobody asks about
)

// Context is what a seal holds. Only Purpose is in every one.
type Context struct {
	Purpose    Purpose  `json:"p"`
	Service    string   `json:"s,omitempty"` // full name, such as model:acme/flux
	Variant    string   `json:"v,omitempty"`
	Rollout    string   `json:"r,omitempty"`
	Reason     string   `json:"w,omitempty"` // why the variant was assigned; "" if it counts for nobody
	User       string   `json:"u,omitempty"` // salted fingerprint
	Prediction string   `json:"i,omitempty"` // id
	Client     string   `json:"c,omitempty"` // who made it, under a held token
	IssuedAt   int64    `json:"t,omitempty"` // Unix time in seconds
	ExpiresAt  int64    `json:"x,omitempty"` // Unix time in seconds from which it does not open; 0 is never
	URL        string   `json:"l,omitempty"`
	Method     string   `json:"m,omitempty"` // the only one for URL; "" stands for GET and HEAD
	Webhook    string   `json:"h,omitempty"` // the client's own
	Filter     []string `json:"f,omitempty"` // its events
	Trace      string   `json:"n,omitempty"` // 32 hexadecimal digits
}

// Why a seal does not open, or is not made.
var (
	ErrMalformed  = errors.New("it is not a seal")
	ErrTooLarge   = fmt.Errorf("it is longer than %d bytes", MaxBytes)
	ErrUnknownKey = errors.New("the key that made it is not in use")
	ErrForged     = errors.New("it was altered, or not made here")
	ErrPurpose    = errors.New("it was made for another purpose")
	ErrExpired    = errors.New("it has expired")
)

// Key makes and opens seals.
type Key struct {
	id    string
	bytes []byte
}

// NewKey returns the key of these bytes, which should be random.
func NewKey(b [KeyBytes]byte) Key {
	digest := sha256.Sum256(b[:])
	return Key{hex.EncodeToString(digest[:4]), b[:]}
}

// ParseKey reads a key as PERCH_SEAL_KEY holds it: base64url of 32 bytes. Its
// errors do not repeat the text.
func ParseKey(text string) (Key, error) {
	b, err := decode(strings.TrimRight(text, "="))
	if err != nil || len(b) != KeyBytes {
		return Key{}, fmt.Errorf("read seal key: use base64url of %d bytes", KeyBytes)
	}
	return NewKey([KeyBytes]byte(b)), nil
}

// Text is what ParseKey reads.
func (k Key) Text() string { return encode(k.bytes) }

// ID is the key's kid.
func (k Key) ID() string { return k.id }

// Seal returns ErrTooLarge, wrapped, for a context that does not fit.
func (k Key) Seal(c Context) (string, error) {
	var payload bytes.Buffer
	encoder := json.NewEncoder(&payload)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(c); err != nil {
		return "", fmt.Errorf("seal %s: %w", c.Purpose, err)
	}
	signed := format + "." + k.id + "." + encode(bytes.TrimSuffix(payload.Bytes(), []byte("\n")))
	sealed := signed + "." + encode(k.mac(signed))
	if len(sealed) > MaxBytes {
		return "", fmt.Errorf("seal %s: %w", c.Purpose, ErrTooLarge)
	}
	return sealed, nil
}

func (k Key) mac(signed string) []byte {
	h := hmac.New(sha256.New, k.bytes)
	h.Write([]byte(signed))
	return h.Sum(nil)
}

// Open returns what a seal holds that one of the keys made for this purpose, or
// one of the errors above, wrapped. What was not made with a key is not read.
func Open(text string, purpose Purpose, now time.Time, keys ...Key) (Context, error) {
	c, err := open(text, purpose, now, keys)
	if err != nil {
		return Context{}, fmt.Errorf("open %s seal: %w", purpose, err)
	}
	return c, nil
}

func open(text string, purpose Purpose, now time.Time, keys []Key) (Context, error) {
	if len(text) > MaxBytes {
		return Context{}, ErrTooLarge
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != format {
		return Context{}, ErrMalformed
	}
	payload, err1 := decode(parts[2])
	mac, err2 := decode(parts[3])
	if err1 != nil || err2 != nil {
		return Context{}, ErrMalformed
	}
	if err := verify(parts[1], text[:len(text)-len(parts[3])-1], mac, keys); err != nil {
		return Context{}, err
	}
	var c Context
	if json.Unmarshal(payload, &c) != nil {
		return Context{}, ErrMalformed
	}
	switch {
	case c.Purpose != purpose:
		return Context{}, ErrPurpose
	case c.ExpiresAt != 0 && now.Unix() >= c.ExpiresAt:
		return Context{}, ErrExpired
	}
	return c, nil
}

func verify(id, signed string, mac []byte, keys []Key) error {
	for _, k := range keys {
		if k.id != id {
			continue
		}
		if !hmac.Equal(mac, k.mac(signed)) {
			return ErrForged
		}
		return nil
	}
	return ErrUnknownKey
}

// Strict, so that no two texts stand for the same bytes.
var encoding = base64.RawURLEncoding.Strict()

func encode(b []byte) string { return encoding.EncodeToString(b) }

// decode refuses line breaks too, over which package base64 reads.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	return encoding.DecodeString(text)
}
