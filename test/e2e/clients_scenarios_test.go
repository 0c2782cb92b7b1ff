package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/test/upstream"
)

// clientScenario is what a site does, and what must come of it.
type clientScenario struct {
	client, name string
	image        bool            // with the model that makes images
	sync         bool            // the client waits for the prediction's end
	long         bool            // the prediction takes so long that there is time to cancel it
	fault        *upstream.Fault // of who answers in the end, once
	creates      int             // that the client sends
	statuses     []int           // that it gets for them; 201 unless given
	check        func(r *scenarioRun)
}

// scenarioRun is one scenario, done with one service.
type scenarioRun struct {
	*testing.T
	*clientWorld
	service clientService
	prompt  string
	answer  scenarioAnswer
}

// made is what the model makes of the prompt that is to answer.
func (r *scenarioRun) made(image bool) string {
	return r.modelOf(image) + ":" + versionID(r.modelOf(image), r.variant()) + ": " + r.prompt
}

func (r *scenarioRun) variant() string {
	if len(r.service.causes) > 0 {
		return document.Stable
	}
	return document.Canary
}

func (r *scenarioRun) modelOf(image bool) string {
	if image {
		return r.service.model() + "-image"
	}
	return r.service.model()
}

func (r *scenarioRun) result(into any) {
	r.Helper()
	require.Empty(r.T, r.answer.Error)
	require.NoError(r.T, json.Unmarshal(r.answer.Result, into), "%s", r.answer.Result)
}

func (r *scenarioRun) tokens() []string {
	words := strings.Split(r.made(false), " ")
	for i := range words[1:] {
		words[i+1] = " " + words[i+1]
	}
	return words
}

func wantTokens(r *scenarioRun) {
	var output []string
	r.result(&output)
	require.Equal(r.T, r.tokens(), output)
}

func wantFile(mediaType string) func(*scenarioRun) {
	return func(r *scenarioRun) {
		var file struct{ Text, Type string }
		r.result(&file)
		require.Equal(r.T, r.made(true), file.Text)
		require.Equal(r.T, mediaType, file.Type)
	}
}

func wantMessage(part string) func(*scenarioRun) {
	return func(r *scenarioRun) {
		var message string
		r.result(&message)
		require.Contains(r.T, message, part)
	}
}

func wantPolls(check func(*scenarioRun)) func(*scenarioRun) {
	return func(r *scenarioRun) {
		check(r)
		polls := 0
		for _, a := range r.answer.Asked {
			if a.Method == http.MethodGet && a.Status == http.StatusOK {
				require.True(r.T, a.Authorized, "the client kept its token to itself")
				polls++
			}
		}
		require.Positive(r.T, polls, "it did not poll")
	}
}

func wantTrouble(status int, part, retryAfter string) func(*scenarioRun) {
	return func(r *scenarioRun) {
		var trouble struct {
			Message, RetryAfter string
			Status              int
		}
		r.result(&trouble)
		require.Contains(r.T, trouble.Message, part)
		require.Equal(r.T, status, trouble.Status)
		require.Equal(r.T, retryAfter, trouble.RetryAfter)
	}
}

const throttledDetail = "Request was throttled"

var (
	failing   = &upstream.Fault{Name: upstream.FaultFailed, Times: 1}
	throttled = &upstream.Fault{Name: upstream.FaultThrottled, Times: 1, RetryAfter: 7}
)

var clientScenarios = []clientScenario{
	{client: "replicate", name: "sync", sync: true, check: wantTokens},
	{client: "replicate", name: "poll", check: wantPolls(wantTokens)},
	{client: "replicate", name: "deployment", check: wantPolls(wantTokens)},
	{client: "replicate", name: "stream", check: func(r *scenarioRun) {
		var events []struct{ Event, Data string }
		r.result(&events)
		text := ""
		for _, e := range events[:len(events)-1] {
			require.Equal(r.T, "output", e.Event)
			text += e.Data
		}
		require.Equal(r.T, r.made(false), text)
		require.Equal(r.T, "done", events[len(events)-1].Event)
	}},
	{client: "replicate", name: "cancel", long: true, check: func(r *scenarioRun) {
		var statuses []string
		r.result(&statuses)
		require.Equal(r.T, []string{"canceled", "canceled"}, statuses)
	}},
	{client: "replicate", name: "abort", long: true, check: func(r *scenarioRun) {
		var status string
		r.result(&status)
		require.Equal(r.T, "canceled", status)
	}},
	{client: "replicate", name: "failed", sync: true, fault: failing, check: wantMessage("Prediction failed: ")},
	{client: "replicate", name: "polledFailed", fault: failing, check: wantMessage("Prediction failed: ")},
	{client: "replicate", name: "file", image: true, sync: true, check: wantFile("image/png")},
	{client: "replicate", name: "upload", sync: true, check: func(r *scenarioRun) {
		var got struct {
			Output []string
			SHA256 string
		}
		r.result(&got)
		require.Equal(r.T, r.tokens(), got.Output)
		r.requireUploaded(got.SHA256)
	}},
	// npm's replicate tries again at once, whatever it is told.
	{client: "replicate", name: "sync", sync: true, fault: throttled, creates: 2, statuses: []int{429, 201}, check: wantTokens},
	{client: "replicate", name: "webhook", check: (*scenarioRun).wantWebhook},
	{client: "ai", name: "image", image: true, sync: true, check: wantFile("image/png")},
	{client: "ai", name: "polledImage", image: true, check: wantPolls(wantFile("image/png"))},
	{client: "ai", name: "video", image: true, check: wantPolls(wantFile("video/mp4"))},
	{client: "ai", name: "failedImage", image: true, sync: true, fault: failing, check: wantTrouble(0, "Replicate image generation failed", "")},
	{client: "ai", name: "throttledImage", image: true, sync: true, fault: throttled, statuses: []int{429}, check: wantTrouble(429, throttledDetail, "7")},
}

// requireCalls: the client asked nobody but the worker, and the answers to its
// creates say who gave them.
func (r *scenarioRun) requireCalls(s clientScenario) {
	r.Helper()
	var statuses []int
	for _, a := range r.answer.Asked {
		require.True(r.T, strings.HasPrefix(a.URL, r.stack.Places[0].URL+"/"), "the client left the worker: %s %s", a.Method, a.URL)
		if a.Method != http.MethodPost || !strings.HasSuffix(a.URL, "/predictions") {
			require.Less(r.T, a.Status, 300, "%s %s", a.Method, a.URL)
			continue
		}
		statuses = append(statuses, a.Status)
		require.Equal(r.T, document.Canary, a.Variant)
		require.Equal(r.T, r.variant(), a.ServedBy)
		if len(r.service.causes) == 0 {
			require.Empty(r.T, a.Fallback)
		} else {
			require.Contains(r.T, r.service.causes, a.Fallback)
		}
		if a.Status == http.StatusTooManyRequests {
			require.Equal(r.T, "7", a.RetryAfter)
		}
	}
	for i := range statuses {
		if statuses[i] == http.StatusAccepted {
			statuses[i] = http.StatusCreated // of one that was waited for too shortly
		}
	}
	want := s.statuses
	if want == nil {
		want = []int{http.StatusCreated}
	}
	require.Equal(r.T, want, statuses)
}

// requireSent: each create of the client's was sent to the canary once, if that
// can be reached, and to stable once if the canary gave no good answer.
func (r *scenarioRun) requireSent(s clientScenario) {
	r.Helper()
	sent := map[string]int{}
	for _, e := range r.upstream.Log() {
		var input struct{ Prompt string }
		if e.Method != http.MethodPost || len(e.Input) == 0 {
			continue
		}
		require.NoError(r.T, json.Unmarshal(e.Input, &input))
		if input.Prompt == r.prompt {
			sent[e.Version]++
		}
	}
	each := max(s.creates, 1)
	want := map[string]int{versionID(r.modelOf(s.image), r.variant()): each}
	if r.variant() == document.Stable && r.service.kind != "refused" {
		want[versionID(r.modelOf(s.image), document.Canary)] = each
	}
	require.Equal(r.T, want, sent)
}

// requireUploaded: the file that the prediction's input names has this content.
func (r *scenarioRun) requireUploaded(sha256 string) {
	r.Helper()
	for _, e := range r.upstream.Log() {
		var input struct{ Prompt, Image string }
		if len(e.Input) == 0 || json.Unmarshal(e.Input, &input) != nil || input.Prompt != r.prompt {
			continue
		}
		path, found := strings.CutPrefix(input.Image, r.upstream.URL())
		require.True(r.T, found, "the model cannot fetch %s", input.Image)
		got := r.within(r.T).do(call{Method: "GET", Path: path})
		require.Equal(r.T, 200, got.Status, got.Body)
		require.Contains(r.T, got.Body, `"sha256":"`+sha256+`"`)
		return
	}
	require.Fail(r.T, "no prediction has the file")
}

// wantWebhook: the client gets the webhook of its prediction as Replicate sends
// it, and its signature is good.
func (r *scenarioRun) wantWebhook() {
	var created struct{ ID, Webhook string }
	r.result(&created)
	require.Equal(r.T, r.receiver.url(), created.Webhook)
	id, _, _ := strings.Cut(created.ID, "~") // a model server's has a seal
	var got []received
	require.Eventually(r.T, func() bool {
		got = got[:0]
		for _, g := range r.receiver.received() {
			if bytes.Contains(g.Body, []byte(id)) {
				got = append(got, g)
			}
		}
		return len(got) > 0
	}, 10*time.Second, 10*time.Millisecond, "no webhook came")
	var delivered struct{ ID, Status string }
	require.NoError(r.T, json.Unmarshal(got[0].Body, &delivered))
	require.Equal(r.T, "succeeded", delivered.Status)
	options := r.options(clientScenario{client: "replicate", name: "validate"}, "", r.prompt)
	headers := map[string]string{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		headers[name] = got[0].Header.Get(name)
	}
	options["delivered"] = map[string]any{"headers": headers, "body": string(got[0].Body)}
	answer := r.clients.run(r.T, options)
	require.Equal(r.T, "true", string(answer.Result), answer.Error)
}
