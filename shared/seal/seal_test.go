package seal

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vector is a text and what becomes of it. The worker's test reads the same file.
type vector struct {
	Name    string   `json:"name"`
	Keys    []string `json:"keys"`
	Now     int64    `json:"now"` // Unix time in seconds
	Purpose Purpose  `json:"purpose"`
	Text    string   `json:"text"`
	Context *Context `json:"context,omitempty"` // what it holds
	Refused string   `json:"refused,omitempty"` // or why not: a name in reasons
}

var reasons = map[string]error{
	"malformed": ErrMalformed, "large": ErrTooLarge, "key": ErrUnknownKey, "forged": ErrForged, "purpose": ErrPurpose, "expired": ErrExpired,
}

const path = "testdata/vectors.json"

func TestVectors(t *testing.T) {
	if *update {
		text, err := json.MarshalIndent(vectors(t), "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(text, &all))
	require.NotEmpty(t, all)
	seen := map[string]bool{}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			var keys []Key
			for _, text := range v.Keys {
				k, err := ParseKey(text)
				require.NoError(t, err)
				keys = append(keys, k)
			}
			seen[v.Refused] = true
			c, err := Open(v.Text, v.Purpose, time.Unix(v.Now, 0), keys...)
			if v.Refused != "" {
				require.ErrorIs(t, err, reasons[v.Refused])
				require.Zero(t, c)
				return
			}
			require.NoError(t, err)
			require.Equal(t, *v.Context, c)
			for _, k := range keys {
				again, err := k.Seal(c)
				require.NoError(t, err)
				require.Equal(t, k.ID() == strings.Split(v.Text, ".")[1], v.Text == again)
			}
		})
	}
	require.Len(t, seen, len(reasons)+1, "a reason has no vector")
}

func key(first byte) Key {
	b := [KeyBytes]byte{first}
	for i := 1; i < KeyBytes; i++ {
		b[i] = b[i-1]*7 + 3
	}
	return NewKey(b)
}

// vectors are made from the contexts here; the file is what counts.
func vectors(t *testing.T) []vector {
	now := int64(1_795_190_400)
	first, second := key(1), key(2)
	both := []string{first.Text(), second.Text()}
	full := Context{
		Purpose: Prediction, Service: "model:acme/flux", Variant: "canary", Rollout: "2026-11-20-a", Reason: "percentage",
		User: "0123456789abcdef", Prediction: "p1x2y3z4", Client: "mobile", IssuedAt: now - 60, ExpiresAt: now + 60,
		URL: "https://person.example/predictions/p1?a=1&b=<2>", Method: "POST", Webhook: "https://client.example/hook?x=1&y=é",
		Filter: []string{"start", "completed"}, Trace: "0af7651916cd43dd8448eb211c80319c",
	}
	sealed := func(k Key, c Context) string {
		text, err := k.Seal(c)
		require.NoError(t, err)
		return text
	}
	opens := func(name string, keys []string, k Key, c Context) vector {
		return vector{name, keys, now, c.Purpose, sealed(k, c), &c, ""}
	}
	refused := func(name, why string, purpose Purpose, text string, keys ...string) vector {
		return vector{name, append([]string{}, keys...), now, purpose, text, nil, why}
	}
	good := sealed(first, full)
	signed := good[:strings.LastIndex(good, ".")]
	mac := good[len(signed)+1:]
	parts := strings.Split(good, ".")
	expired := full
	expired.ExpiresAt = now
	other := full
	other.Prediction = "another1"
	otherPayload := strings.Split(sealed(first, other), ".")[2]
	long := strings.Repeat("x", MaxBytes+1)
	notJSON := format + "." + first.id + "." + encode([]byte("{"))
	notJSON += "." + encode(first.mac(notJSON))
	wrongType := format + "." + first.id + "." + encode([]byte(`{"p":"prediction","s":7}`))
	wrongType += "." + encode(first.mac(wrongType))
	return []vector{
		opens("every field", both, first, full),
		opens("only the purpose", both, first, Context{Purpose: Tester}),
		opens("the previous key still opens", []string{second.Text(), first.Text()}, first, Context{Purpose: Stream, URL: "https://stream.example/é"}),
		opens("text beyond the basic plane", both, first, Context{Purpose: Webhook, Webhook: "https://client.example/😀\t\"\\"}),
		refused("a key that is not in use", "key", Prediction, good, second.Text()),
		refused("no key at all", "key", Prediction, good),
		refused("another purpose", "purpose", Stream, good, both...),
		refused("expired this second", "expired", Prediction, sealed(first, expired), both...),
		refused("expired and for another purpose", "purpose", At, sealed(first, expired), both...),
		refused("another payload under the same mac", "forged", Prediction, strings.Join([]string{parts[0], parts[1], otherPayload, mac}, "."), both...),
		refused("a mac of zeros", "forged", Prediction, signed+"."+encode(make([]byte, 32)), both...),
		refused("a mac cut short", "forged", Prediction, signed+"."+encode(make([]byte, 31)), both...),
		refused("an empty mac", "forged", Prediction, signed+".", both...),
		refused("the other key's id", "forged", Prediction, strings.Replace(good, first.id, second.id, 1), both...),
		refused("spare bits of the mac set", "malformed", Prediction, spareBits(good), both...),
		refused("padding", "malformed", Prediction, good+"=", both...),
		refused("a line break", "malformed", Prediction, good+"\n", both...),
		refused("standard base64", "malformed", Prediction, signed+".+/"+mac[2:], both...),
		refused("three parts", "malformed", Prediction, signed, both...),
		refused("five parts", "malformed", Prediction, good+".x", both...),
		refused("another format", "malformed", Prediction, "p2"+good[2:], both...),
		refused("nothing", "malformed", Prediction, "", both...),
		refused("dots", "malformed", Prediction, "...", both...),
		refused("too long to read", "large", Prediction, long, both...),
		refused("a payload that is no JSON", "malformed", Prediction, notJSON, both...),
		refused("a field of the wrong type", "malformed", Prediction, wrongType, both...),
	}
}

// spareBits is the text with the two bits set that 43 characters have beyond 32 bytes.
func spareBits(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + alphabet[last|1:last|1+1]
}

func TestTooLarge(t *testing.T) {
	_, err := key(1).Seal(Context{Purpose: At, URL: "https://a.example/" + strings.Repeat("x", MaxBytes)})
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestParseKey(t *testing.T) {
	k := key(1)
	for _, text := range []string{k.Text(), k.Text() + "="} {
		got, err := ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, k, got)
		require.Len(t, got.ID(), 8)
	}
	for _, text := range []string{"", "c2VjcmV0", k.Text() + "AA", strings.Repeat("!", 43), k.Text()[:42] + "\n"} {
		_, err := ParseKey(text)
		require.EqualError(t, err, "read seal key: use base64url of 32 bytes")
	}
}

// FuzzOpen: whatever is not exactly what Seal made does not open.
func FuzzOpen(f *testing.F) {
	k := key(1)
	now := time.Unix(1_795_190_400, 0)
	good, err := k.Seal(Context{Purpose: Prediction, Service: "model:acme/flux", Prediction: "abc"})
	require.NoError(f, err)
	for _, v := range []string{good, good[:len(good)-1], "p1..", "p1." + k.id + "..", "", "...", spareBits(good)} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Open(text, Prediction, now, k)
		if err != nil {
			require.Zero(t, c)
			return
		}
		require.Equal(t, good, text)
	})
}
