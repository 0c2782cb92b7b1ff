// Package upstream stands in for Replicate's HTTP API, and for plain HTTP model servers, with latencies and
// failures on demand. It knows what it was asked: its log of requests is the oracle of tests.
//
// The API is under /v1, the plain model servers under /http/{name}/, the controls under /_upstream/.
package upstream

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Server. The zero value serves nothing but answers every call.
type Options struct {
	Catalog   Catalog
	Seed      uint64    // of latencies, failures and ids
	Scale     float64   // Replicate's seconds per local second, for the times listed below; 0 means 1
	BaseURL   string    // what URLs in answers begin with, before /v1; by default the request's scheme and host
	StreamURL string    // what URLs of streams begin with, before /v1; by default as BaseURL
	Tokens    []string  // valid API tokens; none means that every token is valid
	RateLimit RateLimit // of the API, off by default
	LogLimit  int       // entries that each log keeps, the newest; 0 means 100000

	PageSize          int          // of lists; 0 means 100
	Compress          bool         // answers JSON in gzip to clients that accept it, as Replicate does
	AllowHTTPWebhooks bool         // else only https is accepted, as Replicate does
	WebhookClient     *http.Client // sends webhooks, e.g. one that trusts a test's certificate; redirects are never followed
}

// Replicate's own times, divided by Options.Scale, as are Prefer: wait=n, Cancel-After and the minute of the rate limit.
// Latencies are not: they are in local time.
const (
	dataKept   = time.Hour
	streamIdle = 30 * time.Second
)

const keptPredictions = 100_000

// Server is the stand-in. It is an http.Handler; Start makes it listen as well.
type Server struct {
	options     Options
	catalog     *catalog
	predictions *predictionStore
	trainings   *predictionStore
	log         history[Entry]
	limiter     *limiter
	deliveries  history[Delivery]
	api         *http.ServeMux
	controls    *http.ServeMux

	webhookSecret string
	webhookClient *http.Client

	files  *fileStore
	faults *faultBoard
	heldMu sync.Mutex
	held   []int // sockets of RefusedURL

	background sync.WaitGroup
	closing    context.Context
	close      context.CancelFunc
	listening  []listening
	streamURL  atomic.Pointer[string]
}

// New returns a server that does not listen yet. It refuses a catalog that contradicts itself.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("make upstream: %w", err)
	}
	catalog, err := newCatalog(o.Catalog, o.Seed)
	if err != nil {
		return nil, fmt.Errorf("make upstream: %w", err)
	}
	s := &Server{
		options: o, catalog: catalog, predictions: newPredictionStore(keptPredictions, o.Seed, 1),
		trainings: newPredictionStore(keptPredictions, o.Seed, 3),
		log:       history[Entry]{limit: o.LogLimit}, limiter: &limiter{scale: o.Scale},
		deliveries: history[Delivery]{limit: o.LogLimit},
		faults:     newFaultBoard(o.Seed), files: newFileStore(o.Seed),
		webhookSecret: newWebhookSecret(o.Seed, "default"), webhookClient: newWebhookClient(o.WebhookClient),
	}
	if o.StreamURL != "" {
		s.streamURL.Store(&o.StreamURL)
	}
	s.limiter.window = s.scaled(time.Minute)
	if err := s.limiter.set(o.RateLimit); err != nil {
		return nil, fmt.Errorf("make upstream: %w", err)
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.api, s.controls = s.apiRoutes(), s.controlRoutes()
	return s, nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.LogLimit == 0 {
		o.LogLimit = 100_000
	}
	if o.PageSize == 0 {
		o.PageSize = 100
	}
	o.BaseURL, o.StreamURL = strings.TrimSuffix(o.BaseURL, "/"), strings.TrimSuffix(o.StreamURL, "/")
	switch {
	case !(o.Scale > 0):
		return o, fmt.Errorf("scale is %v, use more than 0", o.Scale)
	case o.LogLimit < 0:
		return o, fmt.Errorf("log limit is %d, use at least 1", o.LogLimit)
	case o.PageSize < 0:
		return o, fmt.Errorf("page size is %d, use at least 1", o.PageSize)
	}
	return o, nil
}

func (s *Server) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.options.Scale)
}

// ServeHTTP logs every request but those of the controls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_upstream/") {
		s.controls.ServeHTTP(w, r)
		return
	}
	rec := &recorder{ResponseWriter: w, context: r.Context(), sum: sha256.New()}
	rec.compress = s.options.Compress && acceptsGzip(r.Header)
	rec.entry = s.begin(r)
	defer rec.finish(&s.log) // deferred because a reset ends the handler by a panic
	if rest, plain := strings.CutPrefix(r.URL.Path, "/http/"); plain {
		name, _, _ := strings.Cut(rest, "/")
		s.servePlain(s.exchange(rec, r), name)
		return
	}
	if path.Clean(r.URL.Path) != r.URL.Path { // which the mux would redirect
		problemNotFound.write(rec)
		return
	}
	s.api.ServeHTTP(rec, r)
}

func (s *Server) exchange(w *recorder, r *http.Request) *exchange {
	return &exchange{w: w, r: r, log: &s.log, now: w.entry.At}
}

// apiRoutes follow the table of operations; a call that is in none of its rows is 404.
func (s *Server) apiRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*exchange)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(s.exchange(w.(*recorder), r)) })
	}
	handlers := s.handlers()
	for _, o := range Operations() {
		handle(o.Method+" /v1"+o.Path, s.admitted(o, handlers[o.ID]))
	}
	handle("GET /v1/streams/{stream}", s.streamPrediction)
	handle("/", func(x *exchange) { x.fail(problemNotFound) })
	return mux
}

// admitted lets calls with a valid token through, as many as the rate limit allows.
func (s *Server) admitted(o Operation, h func(*exchange)) func(*exchange) {
	return func(x *exchange) {
		t := token(x.r.Header)
		known := len(s.options.Tokens) == 0 || slices.Contains(s.options.Tokens, t)
		if (t == "" || !known) && !o.open() {
			x.fail(problemToken)
			return
		}
		if bad := s.limiter.take(x.w.Header(), o.Creates, x.now); bad != nil {
			x.fail(bad)
			return
		}
		if s.strike(x, o.call(), "operation:"+o.ID, everyTarget) {
			h(x)
		}
	}
}

// origin is what absolute URLs in an answer to r begin with.
func (s *Server) origin(r *http.Request) string {
	switch {
	case s.options.BaseURL != "":
		return s.options.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
