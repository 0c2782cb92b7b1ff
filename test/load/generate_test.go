package load

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/test/upstream"
)

// serve gives a service whose handler answers as a worker would.
func serve(t *testing.T, h http.HandlerFunc) Service {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return Plain("POST", server.URL, []byte("x"))
}

func TestGenerateCountsPerVariant(t *testing.T) {
	var mu sync.Mutex
	users := map[string]int{}
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get("x-user-id")
		mu.Lock()
		users[user]++
		mu.Unlock()
		switch user {
		case "user-0": // the canary, well
			w.Header().Set("x-perch-variant", "canary")
			w.Header().Set("x-perch-served-by", "canary")
		case "user-1": // the canary, rescued
			w.Header().Set("x-perch-variant", "canary")
			w.Header().Set("x-perch-served-by", "stable")
		case "user-2": // the canary, failed
			w.Header().Set("x-perch-variant", "canary")
			http.Error(w, "no memory", http.StatusBadGateway)
		case "user-3": // no answer
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("x-perch-variant", "stable")
			w.Header().Set("x-perch-served-by", "stable")
		}
	})
	began := time.Now()
	got, err := Generate(t.Context(), Options{Service: service, Users: 10, RatePerSecond: 1000, MaxInFlight: 100, Total: 100})
	require.NoError(t, err)
	require.Equal(t, 100, got.Sent)
	require.Zero(t, got.Skipped)
	require.Zero(t, got.InFlight)
	require.Equal(t, 100, got.Calls())
	require.Equal(t, 20, got.Failed())
	require.Equal(t, 0.3, got.Share("canary"))
	require.Len(t, users, 10)
	for user, n := range users {
		require.Equal(t, 10, n, user)
	}
	canary := got.Arms["canary"]
	require.Equal(t, []int{20, 10}, []int{canary.OK, canary.Failed})
	require.Equal(t, map[int]int{200: 20, 502: 10}, canary.Statuses)
	require.Equal(t, map[string]int{"canary": 10, "stable": 10, NoVariant: 10}, canary.ServedBy)
	require.Equal(t, "status 502: no memory", canary.LastError)
	require.True(t, canary.First.After(began) && canary.Last.After(canary.First) && got.At.After(canary.Last))
	require.Equal(t, []int{60, 0}, []int{got.Arms["stable"].OK, got.Arms["stable"].Failed})
	require.Equal(t, map[int]int{0: 10}, got.Arms[NoVariant].Statuses)
}

func TestGenerateKeepsItsRate(t *testing.T) {
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	began := time.Now()
	got, err := Generate(t.Context(), Options{Service: service, Users: 1, RatePerSecond: 200, MaxInFlight: 50, Total: 101})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond, "100 gaps of 5 ms")
	require.Equal(t, 101, got.Calls()+got.Skipped)
	require.LessOrEqual(t, got.PerSecond(), 202.0)
}

func TestGenerateIsOpenLoopAndBounded(t *testing.T) {
	release := make(chan struct{})
	service := serve(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	g, err := New(Options{Service: service, Users: 1, RatePerSecond: 1000, MaxInFlight: 7, Total: 50})
	require.NoError(t, err)
	done := make(chan *Result)
	go func() { done <- g.Run(t.Context()) }()
	require.Eventually(t, func() bool { return g.Snapshot().Skipped == 43 }, 5*time.Second, time.Millisecond)
	require.Equal(t, 7, g.Snapshot().InFlight)
	close(release)
	got := <-done
	require.Equal(t, 7, got.Sent)
	require.Equal(t, 7, got.PeakInFlight)
	require.Equal(t, 7, got.Calls())
	require.Zero(t, got.Failed())
}

func TestGenerateWaitsForAnswersAfterTheEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	g, err := New(Options{Service: service, Users: 1, RatePerSecond: 0.001, MaxInFlight: 1})
	require.NoError(t, err)
	done := make(chan *Result)
	go func() { done <- g.Run(ctx) }()
	<-arrived
	cancel()
	close(release)
	got := <-done
	require.Equal(t, 1, got.Arms[NoVariant].OK, "the end of a run fails no call")
}

func TestTimeoutFailsACall(t *testing.T) {
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server notice that its client went away
		<-r.Context().Done()
	})
	got, err := Generate(t.Context(), Options{
		Service: service, Users: 1, RatePerSecond: 1000, MaxInFlight: 1, Total: 1, Timeout: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	require.Equal(t, 1, got.Failed())
	require.Contains(t, got.Arms[NoVariant].LastError, "deadline exceeded")
}

func TestCutAnswerFailsACall(t *testing.T) {
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(100))
		w.Header().Set("x-perch-variant", "canary")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	got, err := Generate(t.Context(), Options{Service: service, Users: 1, RatePerSecond: 1000, MaxInFlight: 1, Total: 1})
	require.NoError(t, err)
	require.Equal(t, 1, got.Arms["canary"].Failed)
	require.Equal(t, "read answer: unexpected EOF", got.Arms["canary"].LastError)
}

func TestServicesReachReplicate(t *testing.T) {
	catalog := upstream.DemoCatalog()
	for i := range catalog.Versions {
		catalog.Versions[i].Behavior = upstream.Behavior{Latency: upstream.Fixed(time.Millisecond)}
	}
	s, err := upstream.New(upstream.Options{Catalog: catalog})
	require.NoError(t, err)
	require.NoError(t, s.Start(""))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	stable, canary := upstream.VersionID("acme/flux", "stable"), upstream.VersionID("acme/flux", "canary")
	tests := []struct {
		name, version string
		service       Service
		failed        float64
	}{
		{"model", stable, Model(s.URL(), "r8_test", "acme/flux"), 0},
		{"deployment", canary, Deployment(s.URL(), "r8_test", "acme/flux-canary"), 0},
		{"version", canary, Version(s.URL(), "r8_test", "acme/flux:"+canary), 0},
		{"failed predictions", canary, Version(s.URL(), "r8_test", canary), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, s.SetBehavior(tt.version, upstream.Behavior{FailedRate: tt.failed}))
			s.ClearLog()
			got, err := Generate(t.Context(), Options{Service: tt.service, Users: 5, RatePerSecond: 1000, MaxInFlight: 20, Total: 20})
			require.NoError(t, err)
			require.Equal(t, 20, got.Calls())
			require.Equal(t, int(20*tt.failed), got.Failed(), got.Arms[NoVariant].LastError)
			require.Equal(t, map[int]int{201: 20}, got.Arms[NoVariant].Statuses)
			require.Len(t, s.Log(), 20)
			for _, e := range s.Log() {
				require.Equal(t, tt.version, e.Version)
				require.Regexp(t, "^user-[0-4]$", e.Header.Get("x-user-id"))
			}
		})
	}
}

// upstreamOf serves one version of one model, as a stand-in for Replicate, and a plain model server.
func upstreamOf(t *testing.T, b upstream.Behavior) *upstream.Server {
	s, err := upstream.New(upstream.Options{Seed: 1, Catalog: upstream.Catalog{
		Models:   []upstream.Model{{Name: "acme/chat", Official: true}},
		Versions: []upstream.Version{{Model: "acme/chat", ID: upstream.VersionID("acme/chat", "v1"), Streams: true, Behavior: b}},
		HTTP:     []upstream.HTTPModel{{Name: "qwen", Behavior: b}},
	}})
	require.NoError(t, err)
	require.NoError(t, s.Start(""))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestFollowedCalls: a call lasts until its user has the output, and fails when there is none, whatever its create said.
func TestFollowedCalls(t *testing.T) {
	slow := upstream.Behavior{Latency: upstream.Fixed(30 * time.Millisecond)}
	failing := slow
	failing.FailedRate = 1
	late := slow
	late.FirstToken = upstream.Fixed(30 * time.Millisecond)
	polled := func(base string) Service { return Polled(base, "r8_test", "acme/chat", 5*time.Millisecond) }
	streamed := func(base string) Service { return Streamed(base, "r8_test", "acme/chat") }
	events := func(base string) Service { return Events("GET", base+"/http/qwen/?sse=3&gap_ms=1", nil) }
	tests := []struct {
		name     string
		service  func(string) Service
		behavior upstream.Behavior
		fault    *upstream.Fault
		want     string // the error of every call, or ""
		takes    time.Duration
	}{
		{"polled", polled, slow, nil, "", 30 * time.Millisecond},
		{"polled, and failed", polled, failing, nil, "prediction is failed: CUDA out of memory", 30 * time.Millisecond},
		{"polled, and away", polled, slow, &upstream.Fault{Name: upstream.FaultStatus, On: []upstream.Call{upstream.CallGet}}, "status 500", 0},
		{"polled, and never ended", polled, slow, &upstream.Fault{Name: upstream.FaultStuck}, "deadline exceeded", 300 * time.Millisecond},
		{"streamed", streamed, slow, nil, "", 30 * time.Millisecond},
		{"streamed, the first token late", streamed, late, nil, "", 30 * time.Millisecond},
		{"streamed, and failed", streamed, failing, nil, "stream tells an error", 30 * time.Millisecond},
		{"streamed, and cut", streamed, slow, &upstream.Fault{Name: upstream.FaultStreamEnd}, "without done", 0},
		{"events", events, slow, nil, "", 32 * time.Millisecond},
		{"events, the first token late", events, late, nil, "", 62 * time.Millisecond},
		{"events, and failed", events, failing, nil, "status 500", 30 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := upstreamOf(t, tt.behavior)
			if tt.fault != nil {
				require.NoError(t, s.SetFault("model:acme/chat", *tt.fault))
				require.NoError(t, s.SetFault("operation:predictions.get", *tt.fault))
			}
			got, err := Generate(t.Context(), Options{
				Service: tt.service(s.URL()), Users: 3, RatePerSecond: 1000, MaxInFlight: 10, Total: 10, Timeout: 300 * time.Millisecond,
			})
			require.NoError(t, err)
			arm := got.Arms[NoVariant]
			require.Equal(t, 10, arm.Calls())
			require.GreaterOrEqual(t, arm.Latency.Quantile(0), tt.takes*98/100)
			if tt.want == "" {
				require.Zero(t, arm.Failed, arm.LastError)
				return
			}
			require.Equal(t, 10, arm.Failed)
			require.Contains(t, arm.LastError, tt.want)
		})
	}
}

// TestFollowedCallsKeepTheirUser: what follows a create is by the user who sent it.
func TestFollowedCallsKeepTheirUser(t *testing.T) {
	s := upstreamOf(t, upstream.Behavior{Latency: upstream.Fixed(time.Millisecond)})
	_, err := Generate(t.Context(), Options{
		Service: Polled(s.URL(), "r8_test", "acme/chat", time.Millisecond), Users: 7, RatePerSecond: 1000, MaxInFlight: 10, Total: 21,
	})
	require.NoError(t, err)
	users := map[string]string{}
	polls := 0
	for _, e := range s.Log() {
		user := e.Header.Get("x-user-id")
		if e.Method == http.MethodPost {
			users[e.Prediction] = user
			continue
		}
		polls++
		require.Equal(t, users[e.Prediction], user)
	}
	require.Len(t, users, 21)
	require.GreaterOrEqual(t, polls, 21)
}

// TestRateChanges: traffic can stop and come back, and what it missed is not made up for.
func TestRateChanges(t *testing.T) {
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	g, err := New(Options{Service: service, Users: 1, RatePerSecond: 500, MaxInFlight: 50})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *Result)
	go func() { done <- g.Run(ctx) }()
	sent := func() int { return g.Snapshot().Sent }
	require.Eventually(t, func() bool { return sent() > 20 }, 5*time.Second, time.Millisecond)
	require.NoError(t, g.SetRate(0))
	require.Eventually(t, func() bool { return g.Snapshot().InFlight == 0 }, 5*time.Second, time.Millisecond)
	stopped := g.Snapshot()
	time.Sleep(200 * time.Millisecond) // in which 100 would have come
	require.LessOrEqual(t, sent(), stopped.Sent+1, "one may have been due when the rate changed")
	require.NoError(t, g.SetRate(50))
	resumed, began := sent(), time.Now()
	require.Eventually(t, func() bool { return sent() >= resumed+10 }, 5*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 180*time.Millisecond, "ten at 50 a second")
	cancel()
	<-done
	require.EqualError(t, g.SetRate(-1), "set rate of load: -1 a second, use 0 to 100000")
}

// TestMix: several services at once, each counted apart.
func TestMix(t *testing.T) {
	s := upstreamOf(t, upstream.Behavior{Latency: upstream.Fixed(time.Millisecond)})
	m, err := NewMix(map[string]Options{
		"chat":   {Service: Polled(s.URL(), "r8_test", "acme/chat", time.Millisecond), Users: 5, RatePerSecond: 400, MaxInFlight: 20, Total: 20},
		"stream": {Service: Streamed(s.URL(), "r8_test", "acme/chat"), Users: 5, RatePerSecond: 200, MaxInFlight: 20, Total: 10},
		"qwen":   {Service: Plain("POST", s.URL()+"/http/qwen/x", []byte("{}")), Users: 5, RatePerSecond: 800, MaxInFlight: 20, Total: 40},
	})
	require.NoError(t, err)
	got := m.Run(t.Context())
	require.Equal(t, m.Snapshot()["chat"].Arms, got["chat"].Arms)
	for name, calls := range map[string]int{"chat": 20, "stream": 10, "qwen": 40} {
		require.Equal(t, calls, got[name].Calls()+got[name].Skipped, name)
		require.Zero(t, got[name].Failed(), got[name].Arms[NoVariant].LastError)
	}
	_, err = NewMix(map[string]Options{"qwen": {}})
	require.ErrorContains(t, err, "qwen: generate load: no service")
}

func TestNewRefuses(t *testing.T) {
	good := Options{Service: Plain("GET", "http://127.0.0.1:1", nil), Users: 1, RatePerSecond: 1, MaxInFlight: 1}
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"service", func(o *Options) { o.Service = Service{} }, "generate load: no service, use Model, Deployment, Version, Polled, Streamed, Plain or Events"},
		{"users", func(o *Options) { o.Users = 0 }, "generate load: users is 0, use at least 1"},
		{"rate", func(o *Options) { o.RatePerSecond = 0 }, "generate load: rate is 0 a second, use more than 0 and at most 100000"},
		{"in flight", func(o *Options) { o.MaxInFlight = 0 }, "generate load: max in flight is 0, use at least 1"},
		{"total", func(o *Options) { o.Total = -1 }, "generate load: total is -1, use 0 for no end"},
		{"timeout", func(o *Options) { o.Timeout = -1 }, "generate load: timeout is -1ns, use 0 for the default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			_, err := New(o)
			require.EqualError(t, err, tt.want)
		})
	}
}
