package document

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParseAccess: the worker's own access follows the rules of a document's, and
// is stricter: what is not known there may have been meant to keep somebody out.
func TestParseAccess(t *testing.T) {
	a, err := ParseAccess([]byte(`{"token": "secret:T", "jwt": {"algorithms": ["ES256"], "key": "secret:PEM"}}`))
	require.NoError(t, err)
	require.Equal(t, &Access{Token: "secret:T", JWT: &JWT{Algorithms: []string{"ES256"}, Key: "secret:PEM", User: "sub"}}, a)

	a, err = ParseAccess([]byte(" {} "))
	require.NoError(t, err)
	require.Equal(t, &Access{}, a)

	for text, want := range map[string]string{
		"":                  "unexpected end of JSON",
		"secret:T":          "invalid JSON",
		"[]":                "it must be a JSON object",
		"null":              "it must be a JSON object",
		`{"token": "r8_x"}`: "token: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET; token: needs keys or jwt beside it: nobody could come in",
		`{"jwt": {}}`:       "jwt.algorithms: give a list of HS256, RS256 and ES256; jwt: give exactly one of jwks and key",
		`{"jwt": null}`:     "jwt: must be an object",
		`{"jwt": {"algorithms": ["HS256"], "key": "secret:K", "user": ""}}`: "jwt.user: name a claim, such as sub",
		`{"keys": [1]}`:            "keys[0].name: give a name of 1 to 100 letters, digits, '.', '_' and '-'; keys[0].sha256: give the SHA-256 of the key, 64 hexadecimal digits in lower case",
		`{"ratelimit": "L"}`:       "ratelimit: is not a field of it",
		strings.Repeat(" ", 65537): "it is larger than 64 KiB",
	} {
		_, err := ParseAccess([]byte(text))
		require.EqualError(t, err, want, text)
	}
}

// TestParseHeaders: headers for Replicate follow the rules of a target's.
func TestParseHeaders(t *testing.T) {
	h, err := ParseHeaders([]byte(`{"cf-aig-authorization": "secret:GATEWAY", "cf-aig-cache-ttl": "60"}`))
	require.NoError(t, err)
	require.Equal(t, []Header{{"cf-aig-authorization", "secret:GATEWAY"}, {"cf-aig-cache-ttl", "60"}}, h)

	for text, want := range map[string]string{
		`"a"`:                           "it must be a JSON object",
		`{"Host": "a"}`:                 "Host: give a header's name in lower case",
		`{"host": "a"}`:                 "host: is set by the worker itself",
		`{"a b": "secret:PERCH_K"}`:     "a b: give a header's name in lower case; a b: write secret:NAME, the name in capitals and not one of Perch's own: PERCH_… and REPLICATE_WEBHOOK_SECRET",
		`{"authorization": "secret:T"}`: "authorization: would lend its token to everybody: hold it in access.token",
		`{"a": null}`:                   "a: must be a string; a: give at most 1000 printable ASCII characters, without blanks around them",
	} {
		_, err := ParseHeaders([]byte(text))
		require.EqualError(t, err, want, text)
	}
}
