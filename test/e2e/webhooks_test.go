package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/seal"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

const (
	hookModel = "acme/hook"
	hookPath  = "/_perch/webhook/"
	// hookScale makes Replicate's minute of retries last three seconds.
	hookScale = 20
	// otherSecret stands for another account's, or for one that is being rotated.
	otherSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// hooked is a world whose service learns outcomes by webhook, and a client that
// takes webhooks of its own.
type hooked struct {
	*world
	client *receiver
	secret string // Replicate's
}

func newHooked(t *testing.T, change func(*worldOptions)) *hooked {
	t.Helper()
	up, err := upstream.New(upstream.Options{Seed: 1})
	require.NoError(t, err)
	h := &hooked{client: newReceiver(t), secret: up.WebhookSecret()}
	o := worldOptions{
		Models: []string{hookModel}, Trust: h.client.trust,
		Vars:    map[string]string{"PERCH_PRIVATE_WEBHOOKS": "1"},
		Secrets: map[string]string{"REPLICATE_WEBHOOK_SECRET": otherSecret + ", " + h.secret},
		Upstream: func(o *upstream.Options) {
			o.AllowHTTPWebhooks, o.Scale, o.WebhookClient = true, hookScale, h.client.server.Client()
		},
	}
	if change != nil {
		change(&o)
	}
	h.world = newWorld(t, o)
	d := rollout(hookModel, 10_000)
	d.Outcomes = document.OutcomesWebhook
	h.write(d)
	h.alias(hookModel)
	slow := upstream.Behavior{Queue: upstream.Fixed(100 * time.Millisecond), Latency: upstream.Fixed(200 * time.Millisecond)}
	require.NoError(t, h.upstream.SetBehavior(versionID(hookModel, document.Canary), slow))
	h.awaitVariant(0, hookModel, "early", document.Canary)
	return h
}

// within is the same for a subtest, in which nothing was received yet.
func (h *hooked) within(t *testing.T, answers ...func(http.ResponseWriter)) *hooked {
	inner := *h
	inner.world = h.world.within(t)
	h.client.next(answers...)
	return &inner
}

// createWith makes a prediction with these members beside its input and returns its id.
func (h *hooked) createWith(members string) string {
	h.Helper()
	r := h.do(call{Path: "/v1/models/" + hookModel + "/predictions", Body: `{"input":{"prompt":"one two three"}` + members + `}`})
	require.Equal(h, 201, r.Status, r.Body)
	require.Equal(h, document.Canary, r.variant())
	return h.shown(r, members).ID
}

type predicted struct {
	ID, Status string
	Webhook    any
}

// shown is a prediction that shows the client's own webhook, or none.
func (h *hooked) shown(r reply, members string) predicted {
	h.Helper()
	var got predicted
	require.NoError(h, json.Unmarshal([]byte(r.Body), &got), r.Body)
	require.NotContains(h, r.Body, hookPath)
	if strings.Contains(members, h.client.url()) {
		require.Equal(h, h.client.url(), got.Webhook)
	} else {
		require.Nil(h, got.Webhook)
	}
	return got
}

// webhook is the client's own as members of a create, with or without a filter.
func (h *hooked) webhook(filter ...string) string {
	members := `,"webhook":"` + h.client.url() + `"`
	if filter == nil {
		return members
	}
	text, err := json.Marshal(filter)
	require.NoError(h, err)
	return members + `,"webhook_events_filter":` + string(text)
}

// sent is what Replicate sent for a prediction until it had told its end, or had
// given up.
func (h *hooked) sent(id string) (sent []upstream.Delivery) {
	h.Helper()
	require.Eventually(h, func() bool {
		sent = slices.DeleteFunc(h.upstream.Deliveries(), func(d upstream.Delivery) bool { return d.Prediction != id })
		if len(sent) == 0 {
			return false
		}
		last := sent[len(sent)-1]
		return last.Done && last.Event == "completed" && (last.Status/100 == 2 || last.Attempt == 0 || last.Attempt == 7)
	}, 15*time.Second, 10*time.Millisecond, "Replicate never told the end of %s", id)
	return sent
}

// ends are the points of a prediction, counted by what they say.
func (h *hooked) ends(id string) map[string]int {
	h.Helper()
	_, err := h.stack.Flush(h.Context())
	require.NoError(h, err)
	s := h.stack
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	rows, err := analytics.Query(h.Context(), fmt.Sprintf("SELECT %s AS service, %s AS variant, %s AS ended, %s AS reason, %s AS prediction FROM %s WHERE %s = '%s' AND %s = '%s'",
		telemetry.Service, telemetry.Variant, telemetry.Ended, telemetry.Reason, telemetry.Prediction, s.Dataset,
		telemetry.Kind, telemetry.KindPrediction, telemetry.Prediction, id))
	if errors.Is(err, cloudflare.ErrNoData) {
		return map[string]int{}
	}
	require.NoError(h, err)
	got := map[string]int{}
	for _, row := range rows {
		var texts []string
		for _, column := range []string{"service", "variant", "ended", "reason"} {
			text, err := row.Text(column)
			require.NoError(h, err)
			texts = append(texts, text)
		}
		got[strings.Join(texts, " ")]++
	}
	return got
}

// awaitEnd waits until a prediction's end is recorded: one end, however often it was seen.
func (h *hooked) awaitEnd(id, ended string) {
	h.Helper()
	var got map[string]int
	require.Eventually(h, func() bool { got = h.ends(id); return len(got) > 0 }, 5*time.Second, 20*time.Millisecond, "no end of %s was recorded", id)
	require.Len(h, got, 1)
	require.Contains(h, got, "model:"+hookModel+" canary "+ended+" percentage")
}

// requireDelivered: the client received these deliveries as Replicate sent them, and nothing else.
func (h *hooked) requireDelivered(want []upstream.Delivery) {
	h.Helper()
	got := h.client.received()
	require.Len(h, got, len(want))
	for i, g := range got {
		require.Equal(h, "POST /hook?from=replicate", g.Method+" "+g.Target)
		require.Equal(h, string(want[i].Body), string(g.Body))
		for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Content-Type"} {
			require.Equal(h, want[i].Header.Values(name), g.Header.Values(name), name)
		}
		require.Equal(h, []string{"Go-http-client/1.1"}, g.Header.Values("User-Agent"))
		require.Equal(h, signed(h.secret, g.Header.Get("webhook-id"), g.Header.Get("webhook-timestamp"), g.Body), g.Header.Get("webhook-signature"))
		for name := range g.Header {
			require.Contains(h, []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Content-Type", "User-Agent", "Content-Length"}, name)
		}
	}
}

// TestWebhooks: whatever events a client asks for it gets, and no other; the end
// is recorded in any case, and answers show the client's webhook.
func TestWebhooks(t *testing.T) {
	all := newHooked(t, nil)
	var received []received
	for _, tt := range []struct {
		name   string
		filter []string
		none   bool
	}{
		{name: "no webhook", none: true},
		{name: "all events"},
		{name: "the end", filter: []string{"completed"}},
		{name: "output without the end", filter: []string{"output"}},
		{name: "logs and start without the end", filter: []string{"logs", "start"}},
		{name: "start and end", filter: []string{"start", "completed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := all.within(t)
			members := h.webhook(tt.filter...)
			if tt.none {
				members = ""
			}
			id := h.createWith(members)
			sent := h.sent(id)
			var want []upstream.Delivery
			for _, d := range sent {
				require.True(t, strings.HasPrefix(d.URL, h.stack.Places[0].URL+hookPath), d.URL)
				require.Equal(t, 2, d.Status/100, d.Event)
				if !tt.none && (tt.filter == nil || slices.Contains(tt.filter, d.Event)) {
					want = append(want, d)
				}
			}
			require.Equal(t, !tt.none, len(want) > 0)
			if tt.none {
				require.Len(t, sent, 1)
			}
			h.requireDelivered(want)
			h.awaitEnd(id, "succeeded")
			polled := h.do(call{Method: "GET", Path: "/v1/predictions/" + id})
			require.Equal(t, "succeeded", h.shown(polled, members).Status)
			received = append(received, h.client.received()...)
		})
	}
	require.NotEmpty(t, received)
	for _, valid := range validate(t, all.secret, received) {
		require.True(t, valid)
	}
	received[0].Body = append(received[0].Body, ' ')
	require.False(t, validate(t, all.secret, received[:1])[0])
}

// validate asks npm's replicate whether webhooks are signed as Replicate signs them.
func validate(t *testing.T, secret string, webhooks []received) []bool {
	t.Helper()
	type webhook struct {
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	}
	var all []webhook
	for _, w := range webhooks {
		headers := map[string]string{}
		for name := range w.Header {
			headers[strings.ToLower(name)] = w.Header.Get(name)
		}
		all = append(all, webhook{headers, string(w.Body)})
	}
	input, err := json.Marshal(all)
	require.NoError(t, err)
	var valid []bool
	node(t, "webhooks.mjs", bytes.NewReader(input), &valid, "validate", secret)
	require.Len(t, valid, len(webhooks))
	return valid
}

// node runs a script of testdata and reads the JSON that it prints.
func node(t *testing.T, script string, input io.Reader, into any, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../node_modules/.bin/node", append([]string{"testdata/" + script}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = input, &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.NoError(t, json.Unmarshal(out, into), string(out))
}

// TestWebhookOfNPMClient: the unmodified client makes the prediction and is told
// of its end.
func TestWebhookOfNPMClient(t *testing.T) {
	h := newHooked(t, nil).within(t)
	var made predicted
	node(t, "webhooks.mjs", nil, &made, "create", h.stack.Places[0].URL+"/v1", hookModel, h.client.url())
	require.Equal(t, h.client.url(), made.Webhook)
	h.requireDelivered(h.sent(made.ID))
	require.Equal(t, []bool{true}, validate(t, h.secret, h.client.received()))
	h.awaitEnd(made.ID, "succeeded")
}

// TestWebhookOfASynchronousCreate: its end is told by the answer, the webhook and
// a poll, and counts once.
func TestWebhookOfASynchronousCreate(t *testing.T) {
	h := newHooked(t, nil).within(t)
	members := h.webhook("completed")
	r := h.do(call{
		Path: "/v1/models/" + hookModel + "/predictions", Body: `{"input":{"prompt":"one two three"}` + members + `}`,
		Headers: map[string]string{"prefer": "wait"},
	})
	require.Equal(t, 201, r.Status, r.Body)
	id := h.shown(r, members).ID
	h.requireDelivered(h.sent(id))
	h.shown(h.do(call{Method: "GET", Path: "/v1/predictions/" + id}), members)
	h.awaitEnd(id, "succeeded")
}

// TestWebhookOfAPredictionThatFails is recorded as its end and told the client.
func TestWebhookOfAPredictionThatFails(t *testing.T) {
	h := newHooked(t, nil).within(t)
	for fault, ended := range map[upstream.FaultName]string{
		upstream.FaultFailed: "failed", upstream.FaultCanceled: "canceled", upstream.FaultAborted: "aborted",
	} {
		h.client.next()
		require.NoError(t, h.upstream.SetFault(versionID(hookModel, document.Canary), upstream.Fault{Name: fault}))
		id := h.createWith(h.webhook("completed"))
		h.requireDelivered(h.sent(id))
		h.awaitEnd(id, ended)
	}
}

// TestWebhookFaults runs the scenarios of testdata/faults/webhooks: a prediction
// is made whose webhook has the fault, and polled when Replicate has told its end
// or given up.
//
//	fault webhook_twice
//	answered 200 200     what Replicate got, each time; "-" stands for nothing
//	delivered 2          how often the client got it
//	recorded webhook     by what the edge learnt the end: that, or the poll
func TestWebhookFaults(t *testing.T) {
	all := newHooked(t, nil)
	for _, name := range []string{"lost", "twice", "forged", "stale"} {
		for _, s := range readScenarios(t, "testdata/faults/webhooks/"+name+".txt") {
			t.Run(s.name, func(t *testing.T) {
				t.Log(s.intent)
				wants := map[string]string{}
				for _, line := range s.lines {
					word, rest := fields(line)
					wants[word] = rest
				}
				require.Len(t, wants, 4)
				all.within(t).suffer(wants)
			})
		}
	}
}

// suffer makes a prediction whose webhook has a fault, and checks what comes of it.
func (h *hooked) suffer(wants map[string]string) {
	h.Helper()
	fault := upstream.FaultName(wants["fault"])
	require.NoError(h, h.upstream.SetFault(versionID(hookModel, document.Canary), upstream.Fault{Name: fault, Times: 1}))
	id := h.createWith(h.webhook("completed"))
	var answered []string
	var taken []upstream.Delivery
	for _, d := range h.sent(id) {
		require.Equal(h, fault, d.Fault)
		if d.Attempt > 0 {
			answered = append(answered, strconv.Itoa(d.Status))
		}
		if d.Status == 200 {
			taken = append(taken, d)
		}
	}
	require.Equal(h, strings.TrimSuffix(wants["answered"], "-"), strings.Join(answered, " "))
	require.Equal(h, wants["delivered"], strconv.Itoa(len(taken)))
	h.requireDelivered(taken)
	if wants["recorded"] == "webhook" {
		h.awaitEnd(id, "succeeded")
	} else {
		require.Equal(h, "poll", wants["recorded"])
		require.Empty(h, h.ends(id))
	}
	polled := h.do(call{Method: "GET", Path: "/v1/predictions/" + id})
	require.Equal(h, "succeeded", h.shown(polled, h.webhook()).Status)
	h.awaitEnd(id, "succeeded")
}

// TestWebhookIsTriedAgain: what the client's receiver answers is what Replicate
// sees, so that Replicate tries again until the receiver takes it. Redirects are
// not followed, and nothing of the receiver's answer but the status gets out.
func TestWebhookIsTriedAgain(t *testing.T) {
	h := newHooked(t, nil)
	h = h.within(t,
		withStatus(500),
		func(w http.ResponseWriter) {
			w.Header().Set("location", h.client.server.URL+"/elsewhere")
			w.WriteHeader(302)
		},
		func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
		withStatus(204),
	)
	id := h.createWith(h.webhook("completed"))
	sent := h.sent(id)
	var statuses []int
	for _, d := range sent {
		statuses = append(statuses, d.Status)
	}
	require.Equal(t, []int{500, 302, 502, 204}, statuses)
	h.requireDelivered(sent)
	h.awaitEnd(id, "succeeded")
}

// TestLargeWebhook: as much as 7 MB reaches the client byte for byte.
func TestLargeWebhook(t *testing.T) {
	h := newHooked(t, nil).within(t)
	require.NoError(t, h.upstream.SetBehavior(versionID(hookModel, document.Canary), upstream.Behavior{OutputBytes: 7 << 20}))
	id := h.createWith(h.webhook("completed"))
	sent := h.sent(id)
	require.Greater(t, len(sent[0].Body), 7<<20)
	h.requireDelivered(sent)
	h.awaitEnd(id, "succeeded")
}

// TestWebhookOfARescuedCreate: what stable made in the canary's place has a
// webhook of its own, which is delivered and counts for nobody.
func TestWebhookOfARescuedCreate(t *testing.T) {
	h := newHooked(t, nil).within(t)
	canary := versionID(hookModel, document.Canary)
	require.NoError(t, h.upstream.SetFault(canary, upstream.Fault{Name: upstream.FaultStatus, Status: 503}))
	r := h.do(call{Path: "/v1/models/" + hookModel + "/predictions", Body: `{"input":{"prompt":"hello"}` + h.webhook("completed") + `}`})
	require.Equal(t, 201, r.Status, r.Body)
	require.Equal(t, document.Stable, r.Header.Get("x-perch-served-by"))
	id := h.shown(r, h.webhook()).ID
	sent := h.sent(id)
	h.requireDelivered(sent)
	_, sealed, _ := strings.Cut(sent[0].URL, hookPath)
	context, err := seal.Open(sealed, seal.Webhook, time.Now(), sealKey)
	require.NoError(t, err)
	require.Equal(t, document.Stable, context.Variant)
	require.Empty(t, context.Reason)
	require.NoError(t, h.upstream.SetFault(canary))
	h.client.next()
	h.awaitEnd(h.createWith(h.webhook()), "succeeded")
	require.Empty(t, h.ends(id))
}
