package cloudflare

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const keyPath = "/client/v4/accounts/acct/storage/kv/namespaces/space"

// TestKeys: keys reach the API as they are, whatever characters they hold.
func TestKeys(t *testing.T) {
	tests := []struct{ name, key, path string }{
		{"colons", "rollout:model:acme:flux", "/values/rollout:model:acme:flux"},
		{"dots and dashes", "alias:deployment:a.b_c-d:e", "/values/alias:deployment:a.b_c-d:e"},
		{"slash, query, per cent", "history:http:q:a/b?c#d%e f", "/values/history:http:q:a%2Fb%3Fc%23d%25e%20f"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, answer{status: 200, body: "text"}, ok(`{}`), ok(`{}`))
			value, err := a.kv().Get(t.Context(), test.key)
			require.NoError(t, err)
			require.Equal(t, "text", string(value))
			require.NoError(t, a.kv().Put(t.Context(), test.key, []byte(`{"a":1}`)))
			require.NoError(t, a.kv().Delete(t.Context(), test.key))
			require.Equal(t, []call{
				{Method: "GET", Path: keyPath + test.path, Authorization: "Bearer secret"},
				{Method: "PUT", Path: keyPath + test.path, Authorization: "Bearer secret", ContentType: "text/plain", Body: `{"a":1}`},
				{Method: "DELETE", Path: keyPath + test.path, Authorization: "Bearer secret"},
			}, a.calls)
		})
	}
}

// TestGetBytes: a value comes back byte for byte, whatever it looks like.
func TestGetBytes(t *testing.T) {
	for _, value := range []string{"", `{"success":false,"errors":[{"code":10009}]}`, "\x00\xff\n"} {
		a := newAPI(t, answer{status: 200, body: value})
		got, err := a.kv().Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, value, string(got))
	}
}

// TestGetMany: absent keys are absent, and more than a bulk call takes is split.
func TestGetMany(t *testing.T) {
	var keys []string
	for i := range 101 {
		keys = append(keys, fmt.Sprintf("k:%d", i))
	}
	a := newAPI(t, ok(`{"values":{"k:0":"1","k:1":null,"k:2":"true","k:3":""}}`), ok(`{"values":{"k:100":"{\"a\":1}"}}`))
	values, err := a.kv().GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{
		"k:0": []byte("1"), "k:2": []byte("true"), "k:3": {}, "k:100": []byte(`{"a":1}`),
	}, values)
	require.Len(t, a.calls, 2)
	var sent struct {
		Keys []string
		Type string
	}
	require.Equal(t, keyPath+"/bulk/get", a.calls[0].Path)
	require.NoError(t, json.Unmarshal([]byte(a.calls[0].Body), &sent))
	require.Equal(t, keys[:100], sent.Keys)
	require.Equal(t, "text", sent.Type)
	require.NoError(t, json.Unmarshal([]byte(a.calls[1].Body), &sent))
	require.Equal(t, keys[100:], sent.Keys)

	values, err = newAPI(t).kv().GetMany(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, values)

	_, err = newAPI(t, noNamespace).kv().GetMany(t.Context(), []string{"a", "b"})
	require.EqualError(t, err, "read 2 KV keys from a: status 404 Not Found: get: 'namespace not found' (code 10013)")
}

// TestList: all pages are read, in order, and the whole is sorted.
func TestList(t *testing.T) {
	page := func(cursor string, names ...string) answer {
		var items []string
		for _, n := range names {
			items = append(items, fmt.Sprintf(`{"name":%q}`, n))
		}
		a := ok("[" + strings.Join(items, ",") + "]")
		a.body = strings.TrimSuffix(a.body, "}") + fmt.Sprintf(`,"result_info":{"count":%d,"cursor":%q}}`, len(names), cursor)
		return a
	}
	a := newAPI(t, page("next+1/", "h:b", "h:c"), page("last"), page("", "h:a"))
	keys, err := a.kv().List(t.Context(), "h:")
	require.NoError(t, err)
	require.Equal(t, []string{"h:a", "h:b", "h:c"}, keys)
	require.Equal(t, keyPath+"/keys", a.calls[0].Path)
	require.Equal(t, "limit=1000&prefix=h%3A", a.calls[0].Query)
	require.Equal(t, "cursor=next%2B1%2F&limit=1000&prefix=h%3A", a.calls[1].Query)
	require.Equal(t, "cursor=last&limit=1000&prefix=h%3A", a.calls[2].Query)

	keys, err = newAPI(t, page("")).kv().List(t.Context(), "none:")
	require.NoError(t, err)
	require.Empty(t, keys)

	_, err = newAPI(t, page("x", "h:b"), refused(403, 10000, "Authentication error")).kv().List(t.Context(), "h:")
	require.EqualError(t, err, "list KV keys h:*: status 403 Forbidden: Authentication error (code 10000)")
}

// TestDeleteAbsent: the goal is reached already.
func TestDeleteAbsent(t *testing.T) {
	require.NoError(t, newAPI(t, noKey).kv().Delete(t.Context(), "k"))
	require.Error(t, newAPI(t, noNamespace).kv().Delete(t.Context(), "k"))
}
