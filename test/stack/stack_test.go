package stack_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/option"
	"github.com/cloudflare/cloudflare-go/v6/shared"
	"github.com/stretchr/testify/require"

	"perch/test/stack"
)

func start(t *testing.T, options stack.Options) *stack.Stack {
	t.Helper()
	options.Worker = "test/stack/testdata/worker"
	options.Config = "test/stack/testdata/wrangler.toml"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := stack.Start(ctx, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	return s
}

// set fills a field of a parameter: the constructor is in the library's root package, which is slow to compile.
func set[T any](value *T, present *bool, to T) { *value, *present = to, true }

func clientOptions(s *stack.Stack, token string) []option.RequestOption {
	return []option.RequestOption{
		option.WithBaseURL(s.API + "/"), option.WithAPIToken(token), option.WithMaxRetries(0),
	}
}

func put(s *stack.Stack, client *kv.NamespaceService, key, value string) error {
	var params kv.NamespaceValueUpdateParams
	set(&params.AccountID.Value, &params.AccountID.Present, s.Account)
	set(&params.Value.Value, &params.Value.Present, kv.NamespaceValueUpdateParamsValueUnion(shared.UnionString(value)))
	set(&params.Metadata.Value, &params.Metadata.Present, any(`{"by":"test"}`))
	_, err := client.Values.Update(context.Background(), s.Namespace, key, params)
	return err
}

func get(s *stack.Stack, client *kv.NamespaceService, key string) (string, error) {
	var params kv.NamespaceValueGetParams
	set(&params.AccountID.Value, &params.AccountID.Present, s.Account)
	response, err := client.Values.Get(context.Background(), s.Namespace, key, params)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func statusOf(t *testing.T, err error) (int, int64) {
	t.Helper()
	var refused *kv.Error
	require.True(t, errors.As(err, &refused), "%v", err)
	require.Len(t, refused.Errors, 1)
	return refused.StatusCode, refused.Errors[0].Code
}

func TestCloudflareGoKV(t *testing.T) {
	s := start(t, stack.Options{TimeScale: 1000})
	client := kv.NewNamespaceService(clientOptions(s, s.Token)...)

	_, err := get(s, client, "rollout:model:acme:flux")
	status, code := statusOf(t, err)
	require.Equal(t, http.StatusNotFound, status)
	require.EqualValues(t, 10009, code)

	value := `{"schema":1,"é":"ü"}`
	require.NoError(t, put(s, client, "rollout:model:acme:flux", value))
	got, err := get(s, client, "rollout:model:acme:flux")
	require.NoError(t, err)
	require.Equal(t, value, got)

	var raw kv.NamespaceValueUpdateParams
	set(&raw.AccountID.Value, &raw.AccountID.Present, s.Account)
	_, err = client.Values.Update(t.Context(), s.Namespace, "raw", raw, option.WithRequestBody("text/plain", []byte("raw bytes")))
	require.NoError(t, err)

	var list kv.NamespaceKeyListParams
	set(&list.AccountID.Value, &list.AccountID.Present, s.Account)
	set(&list.Prefix.Value, &list.Prefix.Present, "rollout:")
	page, err := client.Keys.List(t.Context(), s.Namespace, list)
	require.NoError(t, err)
	require.Len(t, page.Result, 1)
	require.Equal(t, "rollout:model:acme:flux", page.Result[0].Name)
	require.Equal(t, map[string]any{"by": "test"}, page.Result[0].Metadata)

	var several kv.NamespaceBulkGetParams
	set(&several.AccountID.Value, &several.AccountID.Present, s.Account)
	set(&several.Keys.Value, &several.Keys.Present, []string{"raw", "absent"})
	bulk, err := client.BulkGet(t.Context(), s.Namespace, several)
	require.NoError(t, err)
	// The typed map of this version of the library stays empty.
	require.JSONEq(t, `{"values":{"raw":"raw bytes","absent":null}}`, bulk.JSON.RawJSON())

	var remove kv.NamespaceValueDeleteParams
	set(&remove.AccountID.Value, &remove.AccountID.Present, s.Account)
	_, err = client.Values.Delete(t.Context(), s.Namespace, "raw", remove)
	require.NoError(t, err)
	values, err := s.KVValues(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"rollout:model:acme:flux": value}, values)
}

func TestCloudflareGoPagesThroughKeys(t *testing.T) {
	s := start(t, stack.Options{})
	client := kv.NewNamespaceService(clientOptions(s, s.Token)...)
	var bulk kv.NamespaceBulkUpdateParams
	set(&bulk.AccountID.Value, &bulk.AccountID.Present, s.Account)
	for i := range 25 {
		var pair kv.NamespaceBulkUpdateParamsBody
		set(&pair.Key.Value, &pair.Key.Present, fmt.Sprintf("history:%02d", i))
		set(&pair.Value.Value, &pair.Value.Present, "v")
		bulk.Body = append(bulk.Body, pair)
	}
	_, err := client.BulkUpdate(t.Context(), s.Namespace, bulk)
	require.NoError(t, err)
	var list kv.NamespaceKeyListParams
	set(&list.AccountID.Value, &list.AccountID.Present, s.Account)
	set(&list.Limit.Value, &list.Limit.Present, 10)
	pager := client.Keys.ListAutoPaging(t.Context(), s.Namespace, list)
	var names []string
	for pager.Next() {
		names = append(names, pager.Current().Name)
	}
	require.NoError(t, pager.Err())
	require.Len(t, names, 25)
	require.Equal(t, "history:24", names[24])
}

func TestRefusals(t *testing.T) {
	s := start(t, stack.Options{})
	cases := []struct {
		name   string
		token  string
		status int
		code   int64
	}{
		{"unknown token", "stranger", http.StatusUnauthorized, 10000},
		{"token without KV", "local-token-analytics", http.StatusForbidden, 10000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := get(s, kv.NewNamespaceService(clientOptions(s, c.token)...), "key")
			status, code := statusOf(t, err)
			require.Equal(t, c.status, status)
			require.Equal(t, c.code, code)
		})
	}
	t.Run("two writes to a key in a second", func(t *testing.T) {
		client := kv.NewNamespaceService(clientOptions(s, "local-token-kv")...)
		require.NoError(t, put(s, client, "key", "1"))
		status, _ := statusOf(t, put(s, client, "key", "2"))
		require.Equal(t, http.StatusTooManyRequests, status)
	})
}

func TestTrip(t *testing.T) {
	s := start(t, stack.Options{TimeScale: 1000})
	client := kv.NewNamespaceService(clientOptions(s, s.Token)...)
	require.NoError(t, s.Trip(t.Context(), &stack.Trip{Write: 2, Persist: true, Then: "error"}))
	require.NoError(t, put(s, client, "first", "v"))
	require.Error(t, put(s, client, "second", "v"))
	require.Error(t, put(s, client, "third", "v"))
	values, err := s.KVValues(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"first": "v", "second": "v"}, values)
	require.NoError(t, s.Trip(t.Context(), nil))
	require.NoError(t, put(s, client, "third", "v"))
}

// TestKVAway: all of the API's calls of KV fail while the worker still reads, until it comes back.
func TestKVAway(t *testing.T) {
	s := start(t, stack.Options{TimeScale: 1000})
	client := kv.NewNamespaceService(clientOptions(s, s.Token)...)
	require.NoError(t, put(s, client, "key", "v"))
	require.NoError(t, s.SetKV(t.Context(), stack.KVUpdate{API: "error"}))
	_, err := get(s, client, "key")
	status, _ := statusOf(t, err)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Error(t, put(s, client, "key", "w"))
	response, err := http.Get(s.Places[0].URL + "/kv?key=key")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"key":"v"}`, string(text))

	require.NoError(t, s.SetKV(t.Context(), stack.KVUpdate{API: "hang"}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = ask(ctx, s, http.MethodGet, "/storage/kv/namespaces/"+s.Namespace+"/keys", "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.SetKV(t.Context(), stack.KVUpdate{API: "ok"}))
	value, err := get(s, client, "key")
	require.NoError(t, err)
	require.Equal(t, "v", value, "nothing was written meanwhile")
	require.ErrorContains(t, s.SetKV(t.Context(), stack.KVUpdate{API: "slow"}), "set kv api")
}

// ask sends a request to the API and returns what it answers.
func ask(ctx context.Context, s *stack.Stack, method, path, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.API+"/accounts/"+s.Account+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("authorization", "Bearer "+s.Token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// TestSamplingAndLag: what the options say holds for what the worker writes: each index keeps about one row in ten,
// which stand for all points, once they are old enough.
func TestSamplingAndLag(t *testing.T) {
	const sample, lag, each = 10, 1500 * time.Millisecond, 1_000
	s := start(t, stack.Options{Sample: sample, LagMS: int(lag.Milliseconds())})
	began := time.Now()
	for range each / 25 {
		for _, index := range []string{"large", "small"} {
			write := fmt.Sprintf(`{"count":25,"point":{"indexes":[%q],"blobs":["x"],"doubles":[1]}}`, index)
			response, err := http.Get(s.Places[0].URL + "/points?write=" + url.QueryEscape(write))
			require.NoError(t, err)
			response.Body.Close()
			require.Equal(t, http.StatusOK, response.StatusCode)
		}
	}
	require.Eventually(t, func() bool {
		points, err := s.Flush(t.Context())
		require.NoError(t, err)
		return points == 2*each
	}, 10*time.Second, 10*time.Millisecond)
	written := time.Now()
	type row struct {
		Index        string
		Rows, Weight string
	}
	query := func() []row {
		text, err := ask(t.Context(), s, http.MethodPost, "/analytics_engine/sql",
			"SELECT index1 AS index, count() AS rows, sum(_sample_interval) AS weight FROM "+s.Dataset+" GROUP BY index ORDER BY index")
		require.NoError(t, err)
		if strings.HasPrefix(text, "unable to find type of column") {
			return nil // as for a data set without rows
		}
		var answer struct{ Data []row }
		require.NoError(t, json.Unmarshal([]byte(text), &answer), text)
		return answer.Data
	}
	var rows []row
	require.Eventually(t, func() bool {
		asked := time.Now()
		rows = query()
		if time.Since(began) < lag {
			require.Empty(t, rows, "points are seen before their time")
		}
		return asked.Sub(written) > lag
	}, 10*time.Second, 20*time.Millisecond)
	require.Len(t, rows, 2)
	for _, r := range rows {
		n, err := strconv.Atoi(r.Rows)
		require.NoError(t, err)
		require.InDelta(t, each/sample, n, 5*math.Sqrt(each*0.1*0.9), r.Index)
		require.Equal(t, strconv.Itoa(sample*n), r.Weight, r.Index)
	}
}

func TestWorkerSeesNoFreshKVWithinCacheTTL(t *testing.T) {
	s := start(t, stack.Options{Places: 2})
	client := kv.NewNamespaceService(clientOptions(s, s.Token)...)
	read := func(place int) string {
		response, err := http.Get(s.Places[place].URL + "/kv?key=key")
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return strings.TrimSpace(string(text))
	}
	require.Equal(t, `{"key":null}`, read(0))
	require.NoError(t, put(s, client, "key", "v"))
	require.Equal(t, `{"key":null}`, read(0), "absence is cached")
	require.Equal(t, `{"key":"v"}`, read(1), "the other place has a cache of its own")
}

func TestAnalyticsControls(t *testing.T) {
	s := start(t, stack.Options{})
	require.NoError(t, s.SetAnalytics(t.Context(), stack.AnalyticsUpdate{LagMS: new(60_000), Sample: new(10)}))
	require.ErrorContains(t, s.SetAnalytics(t.Context(), stack.AnalyticsUpdate{Sample: new(0)}), "sample")
	points, err := s.Flush(t.Context())
	require.NoError(t, err)
	require.Zero(t, points)
	require.NoError(t, s.SetKV(t.Context(), stack.KVUpdate{Reads: "error"}))
	response, err := http.Get(s.Places[0].URL + "/kv?key=key")
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusInternalServerError, response.StatusCode)
}

func TestCloseEndsEveryProcess(t *testing.T) {
	s := start(t, stack.Options{Places: 2})
	require.NoError(t, s.Close())
	for _, place := range s.Places {
		require.ErrorIs(t, syscall.Kill(place.PID, 0), syscall.ESRCH)
	}
}

func TestStartFailsWithTheLog(t *testing.T) {
	_, err := stack.Start(t.Context(), stack.Options{Worker: "no/such/bundle"})
	require.ErrorContains(t, err, "no such directory")
}

// The test server's certificate is no browser's.
func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"reached":true}`)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "trust.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(file, append([]byte("# of the test\n"), certificate...), 0o600))
	for name, tt := range map[string]struct{ trust, want string }{
		"trusted": {file, `{"reached":true}`}, "unknown": {"", `"error"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, stack.Options{Trust: tt.trust})
			response, err := http.Get(s.Places[0].URL + "/fetch?url=" + url.QueryEscape(server.URL))
			require.NoError(t, err)
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Contains(t, string(body), tt.want)
		})
	}
}
