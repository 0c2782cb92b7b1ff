package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// faulty listens, and answers in 10 ms.
func faulty(t *testing.T) *Server {
	s := demo(t, func(o *Options) {
		for i := range o.Catalog.Versions {
			o.Catalog.Versions[i].Behavior.Latency = Fixed(10 * time.Millisecond)
		}
		for i := range o.Catalog.HTTP {
			o.Catalog.HTTP[i].Behavior.Latency = Fixed(10 * time.Millisecond)
		}
	})
	require.NoError(t, s.Start(""))
	return s
}

// over calls s over the network; err is that of the connection or, after the header came, of the body.
func over(t *testing.T, s *Server, method, path, body string) (got reply, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return overContext(ctx, t, s, method, path, body)
}

func overContext(ctx context.Context, t *testing.T, s *Server, method, path, body string) (got reply, err error) {
	if !strings.HasPrefix(path, "http") {
		path = s.URL() + path
	}
	r, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer r8_test")
	r.Header.Set("Prefer", "wait")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	got = reply{status: answer.StatusCode, header: answer.Header}
	got.body, err = io.ReadAll(answer.Body)
	return got, err
}

// untilItArrives is canceled soon after the next request has reached s.
func untilItArrives(t *testing.T, s *Server) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	before := len(s.Log())
	go func() {
		defer cancel()
		for ctx.Err() == nil && len(s.Log()) == before {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // so that it is waiting for something
	}()
	return ctx
}

// lastEntry awaits the end of the newest request.
func lastEntry(t *testing.T, s *Server) Entry {
	var e Entry
	require.Eventually(t, func() bool {
		log := s.Log()
		e = log[len(log)-1]
		return e.Done
	}, 5*time.Second, time.Millisecond)
	return e
}

// Each fault instead of the answer, or on its way, befalls creates, gets, cancels and plain calls alike.
func TestFaultsOfAnswers(t *testing.T) {
	isJSON := func(t *testing.T, r reply) { require.NotEmpty(t, r.object(t)) }
	throttle := func(after, body, reset, text string) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			require.Equal(t, after, r.header.Get("Retry-After"))
			require.Equal(t, reset, r.header.Get("ratelimit-reset"))
			got, ok := r.object(t)["retry_after"]
			require.Equal(t, body, strings.TrimSuffix(fmt.Sprint(got, ok), " true"))
			require.Equal(t, text, r.object(t)["detail"])
		}
	}
	long := "Request was throttled. Your rate limit resets in ~30s."
	tests := []struct {
		name   string
		fault  Fault
		status int // 0 when the connection fails
		check  func(*testing.T, reply)
	}{
		{"reset before headers", Fault{Name: FaultResetHeaders}, 0, nil},
		{"500", Fault{Name: FaultStatus}, 500, isJSON},
		{"502", Fault{Name: FaultStatus, Status: 502}, 502, isJSON},
		{"503", Fault{Name: FaultStatus, Status: 503}, 503, isJSON},
		{"504", Fault{Name: FaultStatus, Status: 504}, 504, isJSON},
		{"429 with Retry-After", Fault{Name: FaultThrottled, RetryAfter: 7}, 429, throttle("7", "7", "", "Request was throttled.")},
		{"429 with ratelimit-reset", Fault{Name: FaultThrottledRate}, 429, throttle("", "<nil> false", "30", "Request was throttled.")},
		{"429 with text", Fault{Name: FaultThrottledText}, 429, throttle("", "<nil> false", "", long)},
		{"HTML", Fault{Name: FaultContentType}, 200, func(t *testing.T, r reply) {
			require.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"))
			require.Contains(t, string(r.body), "<!doctype html>")
		}},
		{"long header", Fault{Name: FaultLongHeader}, -1, func(t *testing.T, r reply) {
			require.Len(t, r.header.Get("x-padding"), 200_000)
			isJSON(t, r)
		}},
	}
	s := faulty(t)
	for _, tt := range tests {
		for _, accepts := range []bool{false, true} {
			f := tt.fault
			if f.Accepts = accepts; f.validate() != nil {
				continue
			}
			for _, call := range callsOf(t, s, f) {
				t.Run(fmt.Sprintf("%s/%s/accepts=%v", tt.name, call.name, accepts), func(t *testing.T) {
					before := count(s)
					got, err := over(t, s, call.method, call.path, call.body)
					entry := lastEntry(t, s)
					require.Equal(t, string(f.Name), entry.Fault)
					if call.name == "create" {
						created := accepts || f.kind() == onTheWay
						require.Equal(t, created, count(s) == before+1)
						require.Equal(t, created, entry.Prediction != "")
						require.Equal(t, fluxStable, entry.Version)
					}
					if tt.status == 0 {
						require.ErrorContains(t, err, "connection reset by peer")
						require.True(t, entry.Reset)
						require.Zero(t, entry.Status)
						return
					}
					require.NoError(t, err)
					want := tt.status
					if want < 0 {
						want = call.status
					}
					require.Equal(t, want, got.status)
					require.Equal(t, want, entry.Status)
					tt.check(t, got)
				})
			}
		}
	}
}

type faultCall struct {
	name, method, path, body string
	status                   int
}

// callsOf are a call of each kind, of which the one that answers is to have the fault.
func callsOf(t *testing.T, s *Server, f Fault) []faultCall {
	s.ClearFaults()
	id := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait").object(t)["id"].(string)
	require.NoError(t, s.SetFault(fluxStable, f))
	require.NoError(t, s.SetFault("qwen-stable", f))
	return []faultCall{
		{"create", "POST", "/v1/predictions", createBodyOf(fluxStable), 201},
		{"get", "GET", "/v1/predictions/" + id, "", 200},
		{"cancel", "POST", "/v1/predictions/" + id + "/cancel", "", 200},
		{"plain", "POST", "/http/qwen-stable/", "x", 200},
	}
}

func TestResetBodyCutsTheAnswerInHalf(t *testing.T) {
	s := faulty(t)
	for _, call := range callsOf(t, s, Fault{Name: FaultResetBody}) {
		t.Run(call.name, func(t *testing.T) {
			got, err := over(t, s, call.method, call.path, call.body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, call.status, got.status)
			length, err := strconv.Atoi(got.header.Get("Content-Length"))
			require.NoError(t, err)
			require.Len(t, got.body, length/2)
			entry := lastEntry(t, s)
			require.True(t, entry.Reset)
			require.EqualValues(t, len(got.body), entry.AnswerBytes)
		})
	}
}

func TestSilenceLastsUntilTheClientGoes(t *testing.T) {
	s := faulty(t)
	for _, call := range callsOf(t, s, Fault{Name: FaultSilence}) {
		t.Run(call.name, func(t *testing.T) {
			_, err := overContext(untilItArrives(t, s), t, s, call.method, call.path, call.body)
			require.ErrorIs(t, err, context.Canceled)
			entry := lastEntry(t, s)
			require.True(t, entry.Gone)
			require.Zero(t, entry.Status)
		})
	}
}

func TestSlowFirstByteDelaysEachAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		for _, call := range callsOf(t, s, Fault{Name: FaultSlowFirstByte, DelayMS: 700}) {
			took := 700 * time.Millisecond
			if call.name == "plain" {
				took += time.Second // of the model
			}
			began := time.Now()
			require.Equal(t, call.status, ask(s, call.method, call.path, call.body).status)
			require.Equal(t, took, time.Since(began), call.name)
		}
	})
}

// The stream has three output events and done; each fault strikes at the second.
func TestFaultsOfStreams(t *testing.T) {
	tests := []struct {
		name  FaultName
		tail  string // of what comes, after the first event
		error error
	}{
		{FaultStreamCut, "event: output\nid: ", nil},
		{FaultStreamEnd, "", nil},
		{FaultStreamStall, "", context.DeadlineExceeded},
		{FaultStreamMalformed, "ev\xfe\xffent output\ndata {\"broken\n\nevent: output\nid: T:2\ndata:  there\n\nevent: done\nid: T:3\ndata: {}\n\n", nil},
		{FaultResetBody, "", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(string(tt.name), func(t *testing.T) {
			s := faulty(t)
			link, _ := streamOf(t, s, createBodyOf(chatStable))
			_, path, _ := strings.Cut(link, "upstream.test")
			require.NoError(t, s.SetFault(chatStable, Fault{Name: tt.name, Times: 1}))
			patience := 5 * time.Second
			if tt.error == context.DeadlineExceeded {
				patience = 500 * time.Millisecond // more than the stream takes
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got, err := overContext(ctx, t, s, "GET", path, "")
			if tt.error == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.error)
			}
			text := withoutTime(string(got.body))
			head := "event: output\nid: T:0\ndata: acme/chat:" + chatStable + ":\n\n"
			require.True(t, strings.HasPrefix(text, head), text)
			if tt.name == FaultStreamCut {
				require.True(t, strings.HasPrefix(text[len(head):], tt.tail))
				require.NotContains(t, text[len(head):], "\n\n")
			} else {
				require.Equal(t, tt.tail, text[len(head):])
			}
			entry := lastEntry(t, s)
			require.Equal(t, string(tt.name), entry.Fault)
			require.Equal(t, tt.error == context.DeadlineExceeded, entry.Gone)
			require.Equal(t, tt.error == io.ErrUnexpectedEOF, entry.Reset)

			again, err := over(t, s, "GET", path, "")
			require.NoError(t, err)
			require.Contains(t, string(again.body), "event: done", "the fault was for one request")
		})
	}
}

// withoutTime replaces the seconds in ids of events by T.
func withoutTime(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if _, number, ok := strings.Cut(strings.TrimPrefix(line, "id: "), ":"); ok && strings.HasPrefix(line, "id: ") {
			lines[i] = "id: T:" + number
		}
	}
	return strings.Join(lines, "")
}

func TestFaultsOfPlainStreams(t *testing.T) {
	s := faulty(t)
	require.NoError(t, s.SetFault("http:qwen-canary", Fault{Name: FaultStreamEnd}))
	got, err := over(t, s, "GET", "/http/qwen-canary/?sse=4&gap_ms=1", "")
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(got.body, []byte("\n\n")))
	require.NoError(t, s.SetFault("http:qwen-canary", Fault{Name: FaultResetBody}))
	got, err = over(t, s, "GET", "/http/qwen-canary/?sse=4&gap_ms=1", "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 2, bytes.Count(got.body, []byte("\n\n")))
	got, err = over(t, s, "GET", "/http/qwen-canary/?bytes=1000000", "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, got.body, 500_000)
}

// A prediction queues 10 s and runs 20 s.
func TestFaultsOfPredictions(t *testing.T) {
	tests := []struct {
		name   FaultName
		status int // of the create that waits
		states []string
	}{
		{FaultStuck, 202, []string{"starting", "starting", "starting", "starting"}},
		{FaultFailed, 201, []string{"starting", "processing", "processing", "failed"}},
		{FaultCanceled, 201, []string{"starting", "processing", "canceled", "canceled"}},
		{FaultAborted, 201, []string{"starting", "aborted", "aborted", "aborted"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				require.NoError(t, s.SetBehavior(fluxStable, Behavior{Queue: Fixed(10 * time.Second), Latency: Fixed(20 * time.Second)}))
				require.NoError(t, s.SetFault("model:acme/flux", Fault{Name: tt.name}))
				sync := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait")
				require.Equal(t, tt.status, sync.status)
				require.Equal(t, tt.states[3], sync.object(t)["status"])
				id := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)).object(t)["id"].(string)
				for i, pause := range []time.Duration{5 * time.Second, 10 * time.Second, 10 * time.Second, time.Hour} {
					time.Sleep(pause)
					got := ask(s, "GET", "/v1/predictions/"+id, "").object(t)
					require.Equal(t, tt.states[i], got["status"])
					require.Equal(t, tt.name != FaultAborted && got["status"] != "starting", got["started_at"] != nil)
				}
				require.Equal(t, string(tt.name), s.Log()[0].Fault)
			})
		})
	}
}

func TestFaultsOfWebhooks(t *testing.T) {
	tests := []struct {
		name     FaultName
		heard    int
		genuine  bool
		age      time.Duration
		attempts []int
	}{
		{FaultWebhookLost, 0, false, 0, []int{0}},
		{FaultWebhookTwice, 2, true, 0, []int{1, 1}},
		{FaultWebhookForged, 1, false, 0, []int{1}},
		{FaultWebhookStale, 1, true, 10 * time.Minute, []int{1}},
	}
	for _, tt := range tests {
		t.Run(string(tt.name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := hear(t, fluxStable, `["completed"]`, nil, func(s *Server) {
					require.NoError(t, s.SetFault(fluxStable, Fault{Name: tt.name}))
				})
				require.Len(t, r.got, tt.heard)
				for i, d := range s.Deliveries() {
					require.Equal(t, tt.attempts[i], d.Attempt)
					require.Equal(t, tt.name, d.Fault)
					if tt.heard == 0 {
						require.Zero(t, d.Status)
						continue
					}
					require.Equal(t, s.Deliveries()[0].Header.Get("webhook-id"), d.Header.Get("webhook-id"))
					at := d.At.Add(-tt.age)
					require.Equal(t, fmt.Sprint(at.Unix()), d.Header.Get("webhook-timestamp"))
					good := http.Header{}
					sign(good, s.WebhookSecret(), d.Header.Get("webhook-id"), at, d.Body)
					require.Equal(t, tt.genuine, good.Get("webhook-signature") == d.Header.Get("webhook-signature"))
				}
				require.Len(t, s.Deliveries(), len(tt.attempts))
			})
		})
	}
}

// A fault befalls the requests of its target, of the kinds that it names, as often as it says.
func TestFaultsHaveTheirTargets(t *testing.T) {
	status := Fault{Name: FaultStatus, Status: 502}
	tests := []struct {
		name, target string
		fault        Fault
		want         string // statuses of the calls below
	}{
		{"none", fluxStable, Fault{Name: FaultStatus, On: []Call{CallStream}}, "201 201 201 200 200 200"},
		{"version", fluxStable, status, "502 502 201 502 200 200"},
		{"model", "model:acme/flux", status, "502 502 502 502 200 200"},
		{"deployment", "acme/flux-stable", status, "201 502 201 200 200 200"}, // the prediction read was not made through it
		{"plain", "qwen-stable", status, "201 201 201 200 200 502"},
		{"operation", "operation:account.get", status, "201 201 201 200 502 200"},
		{"everything", "*", status, "502 502 502 502 502 502"},
		{"creates", "*", Fault{Name: FaultStatus, Status: 502, On: []Call{CallCreate}}, "502 502 502 200 200 200"},
		{"twice", "*", Fault{Name: FaultStatus, Status: 502, Times: 2}, "502 502 201 200 200 200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			for i := range s.options.Catalog.HTTP {
				require.NoError(t, s.SetHTTPBehavior(s.options.Catalog.HTTP[i].Name, Behavior{}))
			}
			id := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)).object(t)["id"].(string)
			require.NoError(t, s.SetFault(tt.target, tt.fault))
			var got []string
			for _, call := range []string{
				"POST /v1/predictions " + createBodyOf(fluxStable),
				`POST /v1/deployments/acme/flux-stable/predictions {"input":{"prompt":"x"}}`,
				"POST /v1/predictions " + createBodyOf(fluxCanary),
				"GET /v1/predictions/" + id + " ", "GET /v1/account ", "POST /http/qwen-stable/ x",
			} {
				part := strings.SplitN(call, " ", 3)
				code := ask(s, part[0], part[1], part[2]).status
				got = append(got, fmt.Sprint(code))
			}
			require.Equal(t, tt.want, strings.Join(got, " "))
		})
	}
}

func TestFaultRateIsAShare(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.SetFault(fluxStable, Fault{Name: FaultStatus, Rate: 0.25}))
	failed := 0
	for range 1000 {
		if ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)).status == 500 {
			failed++
		}
	}
	require.InDelta(t, 250, failed, 50)
}

func TestSetFaultRefuses(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.SetDeployment("acme/flux", fluxStable))
	tests := []struct {
		name, target string
		fault        Fault
		want         string
	}{
		{"target", "nobody", Fault{Name: FaultStuck}, "set fault of nobody: nothing here has that name"},
		{"two targets", "acme/flux", Fault{Name: FaultStuck}, "set fault of acme/flux: several have that name, use deployment:acme/flux or model:acme/flux"},
		{"name", "*", Fault{Name: "fire"}, `set fault of *: name "fire" is no fault's`},
		{"call", "*", Fault{Name: FaultStuck, On: []Call{CallGet}}, `set fault of *: on names "get", use any of [create]`},
		{"rate", "*", Fault{Name: FaultStuck, Rate: 2}, "set fault of *: rate is 2, use 0 to 1"},
		{"times", "*", Fault{Name: FaultStuck, Times: -1}, "set fault of *: times is -1, use 0 for no end"},
		{"wait", "*", Fault{Name: FaultThrottled, RetryAfter: -1}, "set fault of *: retry_after is -1, use at least 0"},
		{"status", "*", Fault{Name: FaultStatus, Status: 200}, "set fault of *: status is 200, use 400 to 599"},
		{"delay", "*", Fault{Name: FaultSlowFirstByte}, "set fault of *: delay_ms is 0, use at least 1"},
		{"accepts", "*", Fault{Name: FaultStuck, Accepts: true}, "set fault of *: accepts goes with faults instead of the answer only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.EqualError(t, s.SetFault(tt.target, tt.fault), tt.want)
			require.Empty(t, s.Faults())
		})
	}
}

func TestFaultsOverHTTP(t *testing.T) {
	s := demo(t)
	got := ask(s, "PUT", "/_upstream/faults", `{"target":"acme/flux-canary","faults":[{"name":"status","status":503,"times":1}]}`)
	want := `{"deployment:acme/flux-canary":[{"name":"status","times":1,"status":503}]}`
	require.JSONEq(t, want, string(got.body))
	require.JSONEq(t, want, string(ask(s, "GET", "/_upstream/faults", "").body))
	require.Equal(t, 503, ask(s, "POST", "/v1/deployments/acme/flux-canary/predictions", `{"input":{"prompt":"x"}}`).status)
	require.Equal(t, 201, ask(s, "POST", "/v1/deployments/acme/flux-canary/predictions", `{"input":{"prompt":"x"}}`).status)
	require.JSONEq(t, `{}`, string(ask(s, "GET", "/_upstream/faults", "").body))
	require.Equal(t, 400, ask(s, "PUT", "/_upstream/faults", `{"target":"*","faults":[{"name":"fire"}]}`).status)
	ask(s, "PUT", "/_upstream/faults", `{"target":"*","faults":[{"name":"stuck"}]}`)
	require.Equal(t, 204, ask(s, "DELETE", "/_upstream/faults", "").status)
	require.Empty(t, s.Faults())
}

func TestRefusedURLRefuses(t *testing.T) {
	s := demo(t)
	for range 3 {
		url, err := s.RefusedURL()
		require.NoError(t, err)
		_, err = http.Get(url)
		require.ErrorContains(t, err, "connection refused")
		_, err = net.Listen("tcp", strings.TrimPrefix(url, "http://"))
		require.Error(t, err, "the port is held")
	}
}

// A client that goes away is seen in each kind of wait.
func TestGoneClientsAreNoted(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.Start(""))
	link, _ := streamOf(t, s, createBodyOf(chatStable))
	_, stream, _ := strings.Cut(link, "upstream.test")
	for name, call := range map[string]faultCall{
		"synchronous create": {method: "POST", path: "/v1/predictions", body: createBodyOf(fluxStable)},
		"stream":             {method: "GET", path: stream},
		"plain model":        {method: "POST", path: "/http/qwen-stable/", body: "x"},
		"plain stream":       {method: "GET", path: "/http/qwen-stable/?sse=2&gap_ms=60000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := overContext(untilItArrives(t, s), t, s, call.method, call.path, call.body)
			require.ErrorIs(t, err, context.Canceled)
			require.True(t, lastEntry(t, s).Gone)
		})
	}
	_, err := over(t, s, "POST", "/v1/predictions", createBodyOf(fluxStable))
	require.NoError(t, err)
	require.False(t, lastEntry(t, s).Gone)
}
