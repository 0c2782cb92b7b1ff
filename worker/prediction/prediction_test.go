package prediction

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFinder(t *testing.T) {
	tests := []struct {
		name, body string
		status     Status
		version    string
	}{
		{"first", `{"version":"a/b:1","input":{}}`, Found, "a/b:1"},
		{"after the input, as the npm client writes it", `{"input":{"version":"no"},"version":"yes"}`, Found, "yes"},
		{"escaped key and value", `{"\u0076ersion":"\u0061\/b"}`, Found, "a/b"},
		{"only inside input", `{"input":{"version":"no"}}`, Absent, ""},
		{"not a string", `{"version":1}`, Absent, ""},
		{"not an object", `["version"]`, Absent, ""},
		{"malformed before it", `{"input":tru,"version":"a"}`, Absent, ""},
		{"unfinished", `{"input":{"prompt":"a`, Searching, ""},
		{"longer than any version", `{"version":"` + strings.Repeat("a", MaxVersionBytes+1) + `"}`, Absent, ""},
		{"key with the same beginning", `{"versions":"no","versio":"no","version":"yes"}`, Found, "yes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 7, len(tt.body)} {
				var f Finder
				status := Searching
				for _, chunk := range split(tt.body, size) {
					status = f.Push(chunk)
				}
				require.Equal(t, tt.status, status, "chunks of %d", size)
				if status == Found {
					require.Equal(t, tt.version, f.Version())
				}
			}
		})
	}
}

func TestEditor(t *testing.T) {
	tests := []struct {
		name, body, version, want string
	}{
		{"set where there is none", `{"input":{}}`, "v", `{"version":"v","input":{}}`},
		{"set in an empty object", `{}`, "v", `{"version":"v"}`},
		{"change", `{"input":{"version":"stays"},"version":"old"}`, "v", `{"version":"v","input":{"version":"stays"}}`},
		{"change the first", `{"version":"old","input":1}`, "v", `{"version":"v","input":1}`},
		{"remove the first", `{"version":"old", "input":1}`, "", `{ "input":1}`},
		{"remove the last", `{"input":[1,2] , "version":"old" }`, "", `{"input":[1,2] }`},
		{"remove the only one", `{ "version" : "old" }`, "", `{ }`},
		{"remove between", `{"a":1,"version":{"x":[]},"b":2}`, "", `{"a":1,"b":2}`},
		{"remove repeated and escaped", `{"version":1,"\u0076ersion":2,"b":2,"version":3}`, "", `{"b":2}`},
		{"keep a similar key", `{"versions":1,"versio":2}`, "", `{"versions":1,"versio":2}`},
		{"keep what follows the object", "{\"a\":1}\n", "v", "{\"version\":\"v\",\"a\":1}\n"},
		{"leave an array alone", `[{"version":1}]`, "v", `[{"version":1}]`},
		{"pass malformed JSON on", `{"a":1,,"version":"x"}`, "", `{"a":1,,"version":"x"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, edit(tt.body, tt.version, len(tt.body)))
			for size := 1; size < len(tt.body); size++ {
				got := edit(tt.body, tt.version, size)
				require.Equal(t, squeeze(tt.want), squeeze(got), "chunks of %d", size)
			}
		})
	}
}

// TestEditorAgainstEncodingJSON compares the edited body with the same change
// made on the decoded one.
func TestEditorAgainstEncodingJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		members := map[string]any{}
		for range random.IntN(4) {
			members[[]string{"input", "version", "webhook", "stream", "v"}[random.IntN(5)]] =
				[]any{"x\"y\\", 1.5, nil, true, map[string]any{"version": "inner"}, []any{1.0, "2"}}[random.IntN(6)]
		}
		body, err := json.Marshal(members)
		require.NoError(t, err)
		version := []string{"", "acme/flux:1"}[random.IntN(2)]
		edited := edit(string(body), version, 1+random.IntN(len(body)))
		delete(members, "version")
		if version != "" {
			members["version"] = version
		}
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(edited), &got), "%s → %s", body, edited)
		require.Equal(t, members, got)
	}
}

func edit(body, version string, size int) string {
	e := NewEditor(version)
	var out []byte
	for _, chunk := range split(body, size) {
		out = append(out, e.Push(chunk)...)
	}
	return string(append(out, e.Close()...))
}

func split(body string, size int) [][]byte {
	var chunks [][]byte
	for len(body) > size {
		chunks = append(chunks, []byte(body[:size]))
		body = body[size:]
	}
	return append(chunks, []byte(body))
}

func squeeze(text string) string { return strings.Join(strings.Fields(text), "") }
