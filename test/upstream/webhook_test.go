package upstream

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const hook = "https://client.test/hook?a=b"

// receiver is a webhook's receiver without a network. It answers with the statuses given, then with 200.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	got      []*http.Request
	bodies   []string
	at       []time.Duration
	began    time.Time
}

func (r *receiver) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.bodies, r.at = append(r.got, request), append(r.bodies, string(body)), append(r.at, time.Since(r.began))
	status := 200
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	if status == 0 {
		return nil, fmt.Errorf("connection refused")
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"/elsewhere"}}, Body: http.NoBody, Request: request}, nil
}

// hear has the prediction of version made with the filter (JSON, or empty) and returns what its receiver heard in 2 min.
func hear(t *testing.T, version, filter string, statuses []int, change func(*Server)) (*Server, *receiver) {
	r := &receiver{statuses: statuses, began: time.Now()}
	s := demo(t, func(o *Options) { o.WebhookClient = &http.Client{Transport: r} })
	change(s)
	body := `{"input":{"prompt":"one two three"},"version":"` + version + `","webhook":"` + hook + `"`
	if filter != "" {
		body += `,"webhook_events_filter":` + filter
	}
	require.Equal(t, 201, ask(s, "POST", "/v1/predictions", body+"}").status)
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	return s, r
}

func behave(t *testing.T, version string, b Behavior) func(*Server) {
	return func(s *Server) { require.NoError(t, s.SetBehavior(version, b)) }
}

// heard is one line per delivery: when, event, status, tokens of output, lines of logs.
func heard(t *testing.T, s *Server, r *receiver) []string {
	var lines []string
	for i, d := range s.Deliveries() {
		var p struct {
			Status, Logs string
			Output       any
		}
		require.Equal(t, string(d.Body), r.bodies[i])
		require.NoError(t, json.Unmarshal(d.Body, &p))
		output := 0
		switch o := p.Output.(type) {
		case []any:
			output = len(o)
		case string:
			output = 1
		}
		lines = append(lines, fmt.Sprintf("%v %s %s output=%d logs=%d", r.at[i], d.Event, p.Status, output, strings.Count(p.Logs, "\n")))
	}
	return lines
}

// Each case is a prediction of 2 s whose four tokens come 500 ms apart when it streams.
func TestWebhookEvents(t *testing.T) {
	slow := Behavior{Queue: Fixed(time.Second), Latency: Fixed(2 * time.Second)}
	tests := []struct {
		name, version, filter string
		behavior              Behavior
		want                  []string
	}{
		{"all events without a filter", chatStable, "", slow, []string{
			"0s start starting output=0 logs=0",
			"1s logs processing output=0 logs=1",
			"1.5s output processing output=1 logs=1",
			"2s output processing output=2 logs=2",
			"2.5s output processing output=3 logs=2",
			"3s output processing output=4 logs=3",
			"3s completed succeeded output=4 logs=3",
		}},
		{"the end alone", chatStable, `["completed"]`, slow, []string{"3s completed succeeded output=4 logs=3"}},
		{"start and end", fluxStable, `["start","completed"]`, slow, []string{
			"0s start starting output=0 logs=0", "3s completed succeeded output=1 logs=3",
		}},
		{"one output", fluxStable, `["output"]`, slow, []string{"3s output processing output=1 logs=3"}},
		{"output at most each 500 ms", chatStable, `["output"]`, Behavior{Latency: Fixed(time.Second)}, []string{
			"250ms output processing output=1 logs=1", "750ms output processing output=3 logs=2",
		}},
		{"failure", chatStable, `["output","completed"]`, Behavior{Latency: Fixed(2 * time.Second), FailedRate: 1}, []string{
			"1s output processing output=1 logs=2", "2s completed failed output=2 logs=4",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := hear(t, tt.version, tt.filter, nil, behave(t, tt.version, tt.behavior))
				require.Equal(t, tt.want, heard(t, s, r))
			})
		})
	}
}

func TestWebhookIsThePredictionAsGETGivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := hear(t, fluxStable, `["completed"]`, nil, func(*Server) {})
		d := s.Deliveries()[0]
		got := ask(s, "GET", "/v1/predictions/"+d.Prediction, "")
		require.Equal(t, strings.TrimSpace(string(got.body)), r.bodies[0])
		require.Equal(t, hook, got.object(t)["webhook"])
		require.Equal(t, hook, r.got[0].URL.String())
		require.Equal(t, "application/json", r.got[0].Header.Get("Content-Type"))
		require.Equal(t, 200, d.Status)
		require.True(t, d.Done)
	})
}

func TestWebhookTellsOfACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{began: time.Now()}
		s := demo(t, func(o *Options) { o.WebhookClient = &http.Client{Transport: r} })
		made := ask(s, "POST", "/v1/predictions", strings.TrimSuffix(createBodyOf(fluxStable), "}")+`,"webhook":"`+hook+`"}`)
		require.Equal(t, hook, made.object(t)["webhook"])
		time.Sleep(100 * time.Millisecond)
		ask(s, "POST", "/v1/predictions/"+made.object(t)["id"].(string)+"/cancel", "")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{
			"0s start processing output=0 logs=1", "100ms completed canceled output=0 logs=1",
		}, heard(t, s, r))
	})
}

// Only the end is tried again, with the same id; a redirect is not followed.
func TestWebhookIsTriedAgain(t *testing.T) {
	sec := time.Second
	tests := []struct {
		name     string
		filter   string
		statuses []int
		at       []time.Duration
	}{
		{"until 2xx", `["completed"]`, []int{500, 302, 0, 204}, []time.Duration{1 * sec, 2 * sec, 4 * sec, 8 * sec}},
		{"for a minute", `["completed"]`, []int{500, 500, 500, 500, 500, 500, 500, 500, 500},
			[]time.Duration{1 * sec, 2 * sec, 4 * sec, 8 * sec, 16 * sec, 32 * sec, 61 * sec}},
		{"not the start", `["start"]`, []int{500}, []time.Duration{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := hear(t, fluxStable, tt.filter, tt.statuses, func(*Server) {})
				require.Equal(t, tt.at, r.at)
				for i, d := range s.Deliveries() {
					require.Equal(t, i+1, d.Attempt)
					require.Equal(t, tt.statuses[i], d.Status)
					require.Equal(t, d.Status == 0, strings.Contains(d.Error, "connection refused"))
					require.Equal(t, r.got[0].Header.Get("webhook-id"), d.Header.Get("webhook-id"))
					require.Equal(t, hook, r.got[i].URL.String())
				}
			})
		})
	}
}

// The vector is of the Standard Webhooks specification's reference libraries.
func TestSignatureIsOfStandardWebhooks(t *testing.T) {
	h := http.Header{}
	sign(h, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	require.Equal(t, http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}, h)
}

func TestWebhookSecretIsServed(t *testing.T) {
	s := demo(t)
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{32}$`, s.WebhookSecret())
	require.Equal(t, map[string]any{"key": s.WebhookSecret()}, ask(s, "GET", "/v1/webhooks/default/secret", "").object(t))
	require.NotEqual(t, s.WebhookSecret(), demo(t, func(o *Options) { o.Seed = 2 }).WebhookSecret())
}

func TestWebhookMustBeHTTPS(t *testing.T) {
	create := func(s *Server, url string) reply {
		return ask(s, "POST", "/v1/models/acme/flux/predictions", `{"input":{"prompt":"x"},"webhook":"`+url+`"}`)
	}
	s := demo(t, func(o *Options) { o.WebhookClient = &http.Client{Transport: &receiver{}} })
	for _, url := range []string{"http://client.test/", "ftp://client.test/", "https://", "client.test", "https://a b/"} {
		got := create(s, url)
		require.Equal(t, 422, got.status, url)
		require.Equal(t, "- webhook: Does not match format 'https-url'", got.object(t)["detail"])
	}
	require.Zero(t, count(s))
	require.Equal(t, 201, create(s, "https://client.test/").status)
	s = demo(t, func(o *Options) {
		o.WebhookClient, o.AllowHTTPWebhooks = &http.Client{Transport: &receiver{}}, true
	})
	require.Equal(t, 201, create(s, "http://client.test/").status)
	require.Equal(t, 422, create(s, "ftp://client.test/").status)
}

func TestWebhookOverTLS(t *testing.T) {
	got := make(chan string, 1)
	client := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("webhook-id")
	}))
	client.Config.ErrorLog = log.New(io.Discard, "", 0) // of the refused certificate
	client.StartTLS()
	defer client.Close()
	for name, trusting := range map[string]*http.Client{
		"trusted": client.Client(), "unknown": {Transport: &http.Transport{TLSClientConfig: &tls.Config{}}},
	} {
		s := demo(t, func(o *Options) { o.WebhookClient, o.Scale = trusting, 1000 })
		require.NoError(t, s.SetBehavior(fluxStable, Behavior{}))
		ask(s, "POST", "/v1/predictions", strings.TrimSuffix(createBodyOf(fluxStable), "}")+
			`,"webhook":"`+client.URL+`","webhook_events_filter":["completed"]}`)
		if name == "unknown" {
			require.Eventually(t, func() bool { return len(s.Deliveries()) == 7 && s.Deliveries()[6].Done }, 5*time.Second, time.Millisecond)
			require.Contains(t, s.Deliveries()[6].Error, "certificate")
			continue
		}
		id := <-got
		require.Eventually(t, func() bool { return s.Deliveries()[0].Done }, 5*time.Second, time.Millisecond)
		require.Equal(t, 200, s.Deliveries()[0].Status)
		require.Equal(t, id, s.Deliveries()[0].Header.Get("webhook-id"))
	}
}

func TestDeliveriesOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := hear(t, fluxStable, `["start","completed"]`, nil, func(*Server) {})
		var got struct{ Entries []Delivery }
		require.NoError(t, json.Unmarshal(ask(s, "GET", "/_upstream/webhooks?after=1", "").body, &got))
		require.Len(t, got.Entries, 1)
		require.Equal(t, "completed", got.Entries[0].Event)
		require.NotEmpty(t, got.Entries[0].Header.Get("webhook-signature"))
		require.Equal(t, 204, ask(s, "DELETE", "/_upstream/webhooks", "").status)
		require.Empty(t, s.Deliveries())
	})
}

// No timer of a webhook outlives the server.
func TestCloseStopsWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t, func(o *Options) { o.WebhookClient = &http.Client{Transport: &receiver{statuses: []int{500}}} })
		ask(s, "POST", "/v1/predictions", strings.TrimSuffix(createBodyOf(fluxStable), "}")+`,"webhook":"`+hook+`"}`)
		began := time.Now()
		require.NoError(t, s.Close())
		require.Zero(t, time.Since(began))
	})
}
