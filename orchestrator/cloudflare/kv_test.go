package cloudflare

import (
	"encoding/json"
	"errors"
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

// TestPutMany: pairs go out in few calls, what one does not take is sent again,
// and what remains is named.
func TestPutMany(t *testing.T) {
	pairs := func(n int, value string) []Pair {
		list := make([]Pair, n)
		for i := range list {
			list[i] = Pair{fmt.Sprintf("k:%d", i), []byte(value)}
		}
		return list
	}
	taken := func(unsuccessful ...string) answer {
		keys, _ := json.Marshal(unsuccessful)
		return ok(`{"successful_key_count":1,"unsuccessful_keys":` + string(keys) + `}`)
	}
	tests := []struct {
		name    string
		pairs   []Pair
		answers []answer
		sizes   []int // of the bulk calls
		left    []string
		problem string
	}{
		{"none", nil, nil, nil, nil, ""},
		{"two", pairs(2, `{"a":"ü"}`), []answer{taken()}, []int{2}, nil, ""},
		{"more than a call takes", pairs(10_001, "v"), []answer{taken(), taken()}, []int{10_000, 1}, nil, ""},
		{"more bytes than a call takes", pairs(3, strings.Repeat("v", 6<<20)), []answer{taken(), taken()}, []int{2, 1}, nil, ""},
		{"some written too soon", pairs(3, "v"), []answer{taken("k:2", "k:0"), taken("k:0"), taken()}, []int{3, 2, 1}, nil, ""},
		{"one never taken", pairs(3, "v"), []answer{taken("k:1"), taken("k:1"), taken("k:1"), taken("k:1")}, []int{3, 1, 1, 1},
			[]string{"k:1"}, "write KV key k:1: the bulk write did not take it"},
		{"call refused", pairs(2, "v"), []answer{noNamespace}, []int{2},
			[]string{"k:0", "k:1"}, "write 2 KV keys from k:0: status 404 Not Found: get: 'namespace not found' (code 10013)"},
		{"throttled once", pairs(2, "v"), []answer{throttled, taken()}, []int{2, 2}, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, test.answers...)
			err := a.kv().PutMany(t.Context(), test.pairs)
			var unwritten *Unwritten
			require.Equal(t, test.problem != "", errors.As(err, &unwritten))
			if unwritten != nil {
				require.EqualError(t, err, test.problem)
				require.Equal(t, test.left, unwritten.Keys)
			}
			require.Len(t, a.calls, len(test.sizes))
			for i, call := range a.calls {
				var sent []struct{ Key, Value string }
				require.NoError(t, json.Unmarshal([]byte(call.Body), &sent))
				require.Equal(t, "PUT "+keyPath+"/bulk", call.Method+" "+call.Path)
				require.Len(t, sent, test.sizes[i])
				require.Equal(t, string(test.pairs[0].Value), sent[0].Value)
			}
		})
	}
}

// TestPutManyOfOne: is an ordinary write.
func TestPutManyOfOne(t *testing.T) {
	a := newAPI(t, ok(`{}`), noNamespace)
	require.NoError(t, a.kv().PutMany(t.Context(), []Pair{{"k", []byte("v")}}))
	require.Equal(t, call{Method: "PUT", Path: keyPath + "/values/k", Authorization: "Bearer secret", ContentType: "text/plain", Body: "v"}, a.calls[0])
	err := a.kv().PutMany(t.Context(), []Pair{{"k", []byte("v")}})
	require.EqualError(t, err, "write KV key k: status 404 Not Found: get: 'namespace not found' (code 10013)")
	require.ErrorAs(t, err, new(*Unwritten))
}

// TestDeleteAbsent: the goal is reached already.
func TestDeleteAbsent(t *testing.T) {
	require.NoError(t, newAPI(t, noKey).kv().Delete(t.Context(), "k"))
	require.Error(t, newAPI(t, noNamespace).kv().Delete(t.Context(), "k"))
}
