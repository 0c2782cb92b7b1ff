package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/option"
)

// Limits of the API's bulk and list calls.
const (
	maxBulkGet  = 100
	maxListPage = 1000
)

// KV reads and writes the keys of one Workers KV namespace, through the API:
// it sees its own writes at once, while the edge sees them when its cache time
// has passed. The last write of a key wins.
type KV struct {
	config     Config
	retrier    *retrier
	namespaces *kv.NamespaceService
}

// NewKV returns the store of config.Namespace.
func NewKV(config Config) *KV {
	r := newRetrier()
	return &KV{config: config, retrier: r, namespaces: kv.NewNamespaceService(config.options(r)...)}
}

// Get returns the value of key, or ErrNotFound.
func (s *KV) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceValueGetParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	res, err := s.namespaces.Values.Get(ctx, s.config.Namespace, url.PathEscape(key), p)
	if err != nil {
		return nil, fmt.Errorf("read KV key %s: %w", key, plain(err))
	}
	defer res.Body.Close()
	value, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read KV key %s: %w", key, err)
	}
	return value, nil
}

// GetMany returns the values of those keys that exist. The values must be text.
func (s *KV) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	values := make(map[string][]byte, len(keys))
	for part := range slices.Chunk(keys, maxBulkGet) {
		if err := s.getPart(ctx, part, values); err != nil {
			return nil, fmt.Errorf("read %d KV keys from %s: %w", len(part), part[0], err)
		}
	}
	return values, nil
}

func (s *KV) getPart(ctx context.Context, keys []string, values map[string][]byte) error {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceBulkGetParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	p.Keys.Value, p.Keys.Present = keys, true
	p.Type.Value, p.Type.Present = kv.NamespaceBulkGetParamsTypeText, true
	// The typed answer is a union that guesses at each value's type.
	var answer struct {
		Result struct {
			Values map[string]*string `json:"values"`
		} `json:"result"`
	}
	_, err := s.namespaces.BulkGet(ctx, s.config.Namespace, p, option.WithResponseBodyInto(&answer))
	if err != nil {
		return plain(err)
	}
	for key, value := range answer.Result.Values {
		if value != nil {
			values[key] = []byte(*value)
		}
	}
	return nil
}

// Put writes a value. KV takes one write a second per key; the write is
// repeated when that comes back as 429.
func (s *KV) Put(ctx context.Context, key string, value []byte) error {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceValueUpdateParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	_, err := s.namespaces.Values.Update(ctx, s.config.Namespace, url.PathEscape(key), p, option.WithRequestBody("text/plain", value))
	if err != nil {
		return fmt.Errorf("write KV key %s: %w", key, plain(err))
	}
	return nil
}

// Delete removes a key; that it is absent already is no error.
func (s *KV) Delete(ctx context.Context, key string) error {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceValueDeleteParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	_, err := s.namespaces.Values.Delete(ctx, s.config.Namespace, url.PathEscape(key), p)
	if err = plain(err); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete KV key %s: %w", key, err)
	}
	return nil
}

// List returns the keys that begin with prefix, sorted.
func (s *KV) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	for cursor := ""; ; {
		page, next, err := s.listPage(ctx, prefix, cursor)
		if err != nil {
			return nil, fmt.Errorf("list KV keys %s*: %w", prefix, err)
		}
		keys = append(keys, page...)
		if next == "" {
			slices.Sort(keys)
			return keys, nil
		}
		cursor = next
	}
}

// listPage asks for one page: cloudflare-go's own paging drops the context.
func (s *KV) listPage(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceKeyListParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	p.Prefix.Value, p.Prefix.Present = prefix, prefix != ""
	p.Cursor.Value, p.Cursor.Present = cursor, cursor != ""
	p.Limit.Value, p.Limit.Present = maxListPage, true
	page, err := s.namespaces.Keys.List(ctx, s.config.Namespace, p)
	if err != nil {
		return nil, "", plain(err)
	}
	for _, key := range page.Result {
		keys = append(keys, key.Name)
	}
	return keys, page.ResultInfo.Cursor, nil
}
