package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/option"
)

// Limits of the API's bulk and list calls.
const (
	maxBulkGet  = 100
	maxBulkPut  = 10_000
	maxListPage = 1000
	// maxBulkBytes bounds keys and values of a bulk write, whose body may have 100 MB:
	// as JSON a byte takes up to six.
	maxBulkBytes = 16 << 20
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
	if err := s.put(ctx, key, value); err != nil {
		return fmt.Errorf("write KV key %s: %w", key, err)
	}
	return nil
}

func (s *KV) put(ctx context.Context, key string, value []byte) error {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	var p kv.NamespaceValueUpdateParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	_, err := s.namespaces.Values.Update(ctx, s.config.Namespace, url.PathEscape(key), p, option.WithRequestBody("text/plain", value))
	return plain(err)
}

// Pair is a key with the value that it is to have.
type Pair struct {
	Key   string
	Value []byte // text
}

// Unwritten reports the pairs of a bulk write that were not, or perhaps not,
// stored. All others are.
type Unwritten struct {
	Keys []string
	Err  error // why
}

func (e *Unwritten) Error() string {
	if len(e.Keys) == 1 {
		return fmt.Sprintf("write KV key %s: %v", e.Keys[0], e.Err)
	}
	return fmt.Sprintf("write %d KV keys from %s: %v", len(e.Keys), e.Keys[0], e.Err)
}

func (e *Unwritten) Unwrap() error { return e.Err }

// errKeysRefused is what a bulk write that was taken says of the keys that were not.
var errKeysRefused = errors.New("the bulk write did not take it")

// PutMany writes values whose keys differ, in no particular order, with few
// calls. What Cloudflare did not take of a call, such as a key that was written
// less than a second ago, is repeated. The error is an *Unwritten.
func (s *KV) PutMany(ctx context.Context, pairs []Pair) error {
	if len(pairs) == 1 {
		return s.putOne(ctx, pairs[0])
	}
	var failed *Unwritten
	for part := range bulks(pairs) {
		keys, err := s.putPart(ctx, part)
		if err == nil {
			continue
		}
		if failed == nil {
			failed = &Unwritten{Err: err}
		}
		failed.Keys = append(failed.Keys, keys...)
	}
	if failed == nil {
		return nil
	}
	return failed
}

func (s *KV) putOne(ctx context.Context, p Pair) error {
	err := s.put(ctx, p.Key, p.Value)
	if err == nil {
		return nil
	}
	return &Unwritten{Keys: []string{p.Key}, Err: err}
}

// bulks cuts pairs into parts that one call takes.
func bulks(pairs []Pair) iter.Seq[[]Pair] {
	return func(yield func([]Pair) bool) {
		for begin := 0; begin < len(pairs); {
			end, size := begin, 0
			for ; end < len(pairs) && end-begin < maxBulkPut; end++ {
				size += len(pairs[end].Key) + len(pairs[end].Value)
				if size > maxBulkBytes && end > begin {
					break
				}
			}
			if !yield(pairs[begin:end]) {
				return
			}
			begin = end
		}
	}
}

// putPart writes what one call takes, and what is refused of it again. It
// returns the keys that remain.
func (s *KV) putPart(ctx context.Context, pairs []Pair) ([]string, error) {
	ctx, cancel := s.config.context(ctx)
	defer cancel()
	for try := 0; ; try++ {
		refused, err := s.bulkPut(ctx, pairs)
		if err != nil {
			return keysOf(pairs), plain(err)
		}
		if len(refused) == 0 {
			return nil, nil
		}
		pairs = only(pairs, refused)
		if try == maxRetries {
			return keysOf(pairs), errKeysRefused
		}
		select {
		case <-ctx.Done():
			return keysOf(pairs), errKeysRefused
		case <-time.After(s.retrier.backoff << try):
		}
	}
}

// bulkPut makes one call and returns the keys that it did not take.
func (s *KV) bulkPut(ctx context.Context, pairs []Pair) (refused []string, err error) {
	var p kv.NamespaceBulkUpdateParams
	p.AccountID.Value, p.AccountID.Present = s.config.Account, true
	p.Body = make([]kv.NamespaceBulkUpdateParamsBody, len(pairs))
	for i, pair := range pairs {
		p.Body[i].Key.Value, p.Body[i].Key.Present = pair.Key, true
		p.Body[i].Value.Value, p.Body[i].Value.Present = string(pair.Value), true
	}
	res, err := s.namespaces.BulkUpdate(ctx, s.config.Namespace, p)
	if err != nil {
		return nil, err
	}
	return res.UnsuccessfulKeys, nil
}

// only returns the pairs that have one of the keys.
func only(pairs []Pair, keys []string) []Pair {
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	return slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool { return !wanted[p.Key] })
}

func keysOf(pairs []Pair) []string {
	keys := make([]string, len(pairs))
	for i, p := range pairs {
		keys[i] = p.Key
	}
	return keys
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
