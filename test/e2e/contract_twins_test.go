package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/seal"
	"perch/test/upstream"
)

// wire is a request as it came off the wire.
type wire struct {
	Method, Target string
	Header         http.Header
	Length         int64 // −1 when it is not told
	Encoding       []string
	Bytes          int64
	SHA256         string
	Entry          upstream.Entry
}

// tap stands before an upstream and keeps what arrives.
type tap struct {
	url      string
	upstream *upstream.Server
	arrived  chan wire
}

func newTap(t *testing.T) *tap {
	p := &tap{arrived: make(chan wire, 100)}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// ServeHTTP implements http.Handler.
func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := wire{Method: r.Method, Target: r.RequestURI, Header: r.Header.Clone(), Length: r.ContentLength, Encoding: r.TransferEncoding}
	body := &summedBody{ReadCloser: r.Body, sum: sha256.New()}
	r.Body = body
	defer func() {
		_, _ = io.Copy(io.Discard, body) // a client that breaks off is told by the sum
		got.Bytes, got.SHA256 = body.n, hex.EncodeToString(body.sum.Sum(nil))
		log := p.upstream.Log()
		got.Entry = log[len(log)-1]
		p.arrived <- got
	}()
	p.upstream.ServeHTTP(w, r)
}

// summedBody is a body that is summed up while somebody reads it.
type summedBody struct {
	io.ReadCloser
	n   int64
	sum hash.Hash
}

func (c *summedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += int64(n)
	c.sum.Write(b[:n])
	return n, err
}

// twins are two equal upstreams: one behind the worker, one that is asked directly.
type twins struct {
	*world
	behind, beside *tap
}

// newTwins starts them. difference is called twice and must do the same each time.
func newTwins(t *testing.T, o worldOptions, difference func(*upstream.Options)) *twins {
	t.Helper()
	w := &twins{behind: newTap(t), beside: newTap(t)}
	o.Upstream = difference
	o.Vars = map[string]string{"REPLICATE_BASE_URL": w.behind.url + "/v1"}
	w.world = newWorld(t, o)
	options := upstream.Options{Catalog: catalog(o.Models), Seed: 1}
	difference(&options)
	twin, err := upstream.New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, twin.Close()) })
	w.behind.upstream, w.beside.upstream = w.upstream, twin
	return w
}

// apiCall is a call whose target goes out as it stands here.
type apiCall struct {
	Method, Target string
	Header         http.Header
	Body           string
	Stream         func() io.Reader // in place of Body
	Length         int64            // of Stream; −1 when it is not to be told
}

// exchange is what became of a call: what arrived, and what came back.
type exchange struct {
	wire          // the last
	Before []wire // those before it
	Status int
	Answer http.Header
	Body   []byte
	Length int64 // of the answer, −1 when it is not told
}

var plainClient = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// send makes a call that must reach the tap so many times.
func (w *twins) send(at string, p *tap, a apiCall, times int) exchange {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), a.Method, at, strings.NewReader(a.Body))
	require.NoError(w, err)
	if a.Stream != nil {
		request.Body, request.ContentLength = io.NopCloser(a.Stream()), a.Length
	} else if a.Body == "" {
		request.Body = http.NoBody
	}
	request.URL.Opaque = a.Target
	request.Header = a.Header.Clone()
	response, err := plainClient.Do(request)
	require.NoError(w, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w, err)
	got := exchange{Status: response.StatusCode, Answer: response.Header, Body: body, Length: response.ContentLength}
	for i := range times {
		if i > 0 {
			got.Before = append(got.Before, got.wire)
		}
		select {
		case got.wire = <-p.arrived:
		case <-time.After(10 * time.Second):
			require.Fail(w, "too little arrived", "%s %s: %d %s", a.Method, a.Target, got.Status, body)
		}
	}
	require.Empty(w, p.arrived, "it arrived more often")
	return got
}

// through makes a call through the worker, directly one that passes it by.
func (w *twins) through(a apiCall) exchange  { return w.send(w.stack.Places[0].URL, w.behind, a, 1) }
func (w *twins) directly(a apiCall) exchange { return w.send(w.beside.url, w.beside, a, 1) }

// within is the same for a subtest.
func (w *twins) within(t *testing.T) *twins {
	return &twins{w.world.within(t), w.behind, w.beside}
}

// difference is something that routing makes of a request or an answer, and why.
type difference struct{ header, why string }

// addedToRequests is all that an upstream gets beside what the client sent.
var addedToRequests = []difference{
	{"Traceparent", "W3C Trace Context: the client's own is kept, else one is made"},
	{"Cf-Connecting-Ip", "the edge's own; Cloudflare sets it anew on the way out"},
	{"Cf-Ipcountry", "the edge's own too"},
}

// addedToAnswers is all that a client gets beside what the upstream sent.
var addedToAnswers = []difference{
	{"X-Perch-Trace", "every answer names its trace"},
	{"X-Perch-Variant", "who was assigned"},
	{"X-Perch-Served-By", "who answered"},
	{"X-Perch-Rollout", "by which rollout"},
	{"X-Perch-Unrouted", "why no rollout decided, where one might have"},
	{"Server-Timing", "how long Perch and the upstream took"},
	{"Set-Cookie", "the user's id, where the client names none; Replicate's API sets no cookies"},
}

// differs are answers' headers that are never the same twice.
var differs = []difference{
	{"Date", "the clock"},
	{"Last-Modified", "of a file that each twin was given at its own time"},
	{"Content-Length", "of bodies that hold each twin's own origin; it is compared with the body itself"},
}

func without(header http.Header, changes ...[]difference) http.Header {
	rest := header.Clone()
	for _, list := range changes {
		for _, c := range list {
			rest.Del(c.header)
		}
	}
	return rest
}

// requireSameRequest: what the twins got is equal.
func (w *twins) requireSameRequest(through, direct exchange) {
	w.Helper()
	require.Equal(w, direct.Method, through.Method)
	require.Equal(w, direct.Target, through.Target)
	require.Regexp(w, "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$", through.Header.Get("traceparent"))
	if header := through.Header; direct.Header.Get("content-length") == "" && header.Get("content-length") == "0" {
		header.Del("content-length") // which workerd states of a body that is not there
	}
	require.Equal(w, without(direct.Header, addedToRequests), without(through.Header, addedToRequests))
	require.Equal(w, direct.Bytes, through.Bytes)
	require.Equal(w, direct.SHA256, through.SHA256)
	require.Equal(w, direct.wire.Length, through.wire.Length, "content-length")
	require.Equal(w, direct.Encoding, through.Encoding, "transfer-encoding")
	a, b := direct.Entry, through.Entry
	require.Equal(w, []string{a.Version, a.Model, a.Deployment, a.Prediction}, []string{b.Version, b.Model, b.Deployment, b.Prediction})
	require.Equal(w, string(a.Input), string(b.Input))
}

// requireSameAnswer: the client got what the upstream sent, URLs aside that must
// lead back to the worker, and that is what a direct call would have got.
func (w *twins) requireSameAnswer(through, direct exchange) {
	w.Helper()
	require.Equal(w, direct.Status, through.Status, "%s", through.Body)
	body := w.originally(string(through.Body))
	isRead := body != string(through.Body) || through.Entry.AnswerHeader.Get("content-encoding") != through.Answer.Get("content-encoding")
	changed := [][]difference{addedToAnswers, differs}
	sent := []byte(body)
	if isRead && through.Entry.AnswerHeader.Get("content-encoding") == "gzip" {
		changed = append(changed, []difference{{"Content-Encoding", "an answer with URLs to rewrite is decompressed for it"}})
		sent = []byte(zipped(w.T, body))
	}
	if len(sent) > 0 {
		require.Equal(w, through.Entry.AnswerSHA256, digest(sent), "the upstream sent something else than\n%s", body)
	}
	require.Equal(w, without(direct.Answer, changed...), w.located(without(through.Answer, changed...)))
	if through.Method != http.MethodHead {
		require.Contains(w, []int64{-1, int64(len(through.Body))}, through.Length)
	}
	// What is rewritten while it streams cannot tell its length.
	streamed := isRead && len(body) > 64<<10
	require.Equal(w, direct.Length < 0 || streamed, through.Length < 0, "one tells its length, the other does not")
	plain := direct.Body
	if direct.Answer.Get("content-encoding") == "gzip" {
		plain = unzipped(w.T, plain)
	}
	if through.Answer.Get("content-encoding") == "gzip" {
		body = string(unzipped(w.T, []byte(body)))
	}
	require.Equal(w, w.masked(string(plain)), w.masked(body))
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func unzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	return plain
}

var (
	sealedURL = regexp.MustCompile(`/_perch/at/(p1\.[\w.-]+)`)
	sealedID  = regexp.MustCompile(`(/v1/predictions/(\w+)(?:/cancel)?)\?perch=(p1\.[\w.-]+)`)
	longID    = regexp.MustCompile(`"id":"(\w+)~(p1\.[\w.-]+)"`)
)

// originally takes back what the worker may do to an answer's body: urls.get,
// urls.cancel, urls.stream, next and previous, and the ids of model servers'
// predictions. Each seal must open, and name what stands beside it.
func (w *twins) originally(body string) string {
	w.Helper()
	place := w.stack.Places[0].URL
	opened := func(text string, purposes ...seal.Purpose) (c seal.Context) {
		var err error
		for _, purpose := range purposes {
			if c, err = seal.Open(text, purpose, time.Now(), sealKey); err == nil {
				return c
			}
		}
		require.NoError(w, err, text)
		return c
	}
	body = regexp.MustCompile(regexp.QuoteMeta(place)+sealedURL.String()).ReplaceAllStringFunc(body, func(text string) string {
		return opened(sealedURL.FindStringSubmatch(text)[1], seal.Stream, seal.At).URL
	})
	body = sealedID.ReplaceAllStringFunc(body, func(text string) string {
		parts := sealedID.FindStringSubmatch(text)
		require.Equal(w, parts[2], opened(parts[3], seal.Prediction).Prediction)
		return parts[1]
	})
	body = longID.ReplaceAllStringFunc(body, func(text string) string {
		parts := longID.FindStringSubmatch(text)
		require.Equal(w, parts[1], opened(parts[2], seal.Prediction).Prediction)
		return `"id":"` + parts[1] + `"`
	})
	require.NotContains(w, body, "p1.", "a seal where none is expected")
	return strings.ReplaceAll(body, place+"/v1/", w.behind.url+"/v1/")
}

// located takes back what the worker does to Location: it leads back to the
// worker, and so is absolute.
func (w *twins) located(header http.Header) http.Header {
	if to := header.Get("location"); to != "" {
		target, err := url.Parse(to)
		require.NoError(w, err)
		require.Equal(w, w.stack.Places[0].URL, target.Scheme+"://"+target.Host)
		header.Set("location", target.RequestURI())
	}
	return header
}

var clocks = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|"(total|predict)_time":[\d.e-]+`)

// masked is a body without what each twin has of its own: origin and clock.
func (w *twins) masked(body string) string {
	body = strings.NewReplacer(w.behind.url, "http://twin", w.beside.url, "http://twin").Replace(body)
	return clocks.ReplaceAllString(body, "when")
}

// requireSame makes a call through the worker and directly.
func (w *twins) requireSame(a apiCall) (through, direct exchange) {
	w.Helper()
	through, direct = w.through(a), w.directly(a)
	w.requireSameRequest(through, direct)
	w.requireSameAnswer(through, direct)
	return through, direct
}

func withToken(pairs ...string) http.Header {
	h := http.Header{"Authorization": {"Bearer test-token"}, "User-Agent": {"contract"}, "Accept": {"*/*"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func jsonType(pairs ...string) http.Header {
	return withToken(append([]string{"Content-Type", "application/json"}, pairs...)...)
}
