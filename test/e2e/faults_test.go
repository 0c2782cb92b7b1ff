package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/telemetry"
	"perch/test/upstream"
)

// scenario is one case of testdata/faults: a service of its own, what goes wrong
// with its targets, one request, and what comes of it.
//
//	service http               plain model servers; also model (versions of a Replicate model),
//	                           model-url (the canary is a plain model server that makes predictions)
//	document {"timeout_ms":9}  members that the document has beside the usual ones
//	canary {"timeout_ms":9}    the same of a target
//	fault canary reset_headers times=1
//	refuse canary              nothing listens there
//	send POST /generate text   below an http service; or
//	send create [wait=1]       a prediction; or
//	send stream [Last-Event-ID] the stream of a new prediction
//	status 200
//	header x-perch-variant canary      "-" stands for none
//	body text                  what the body contains
//	no-body text               what it does not contain
//	cut                        the body breaks off
//	sent canary 1 stable 1     requests of the kind that each target got
//	point outcome=error class=reset    columns of the request's point
//	prediction ended=failed    columns of the prediction's point
type scenario struct {
	name, intent string
	lines        []string
}

// readScenarios reads a file of them: a line of intent begins each.
func readScenarios(t *testing.T, file string) (found []scenario) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.Split(block, "\n")
		intent, isIntent := strings.CutPrefix(lines[0], "# ")
		require.True(t, isIntent, "%s: a case begins with a line of intent, not with %q", file, lines[0])
		base := strings.TrimSuffix(filepath.Base(file), ".txt")
		found = append(found, scenario{name: fmt.Sprintf("%s/%d", base, len(found)+1), intent: intent, lines: lines[1:]})
	}
	return found
}

// faultNames are must-hold faults; each has a file.
var faultNames = []string{
	"connection_refused", "reset_before_headers", "reset_mid_body", "silence", "slow_first_byte", "status_5xx", "throttled",
	"stream_truncated", "stream_stalled", "stream_malformed", "content_type", "oversized_headers",
	"prediction_stuck", "prediction_failed", "prediction_canceled", "prediction_aborted",
}

// TestFaults: what the user gets, what is recorded and what was sent, for each fault.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.txt")
	require.NoError(t, err)
	var all []scenario
	names := map[string]bool{}
	for _, file := range files {
		names[strings.TrimSuffix(filepath.Base(file), ".txt")] = true
		all = append(all, readScenarios(t, file)...)
	}
	for _, name := range faultNames {
		require.True(t, names[name], "no scenario file for %s", name)
	}
	w := faultWorld(t, len(all))
	for i, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := &faulty{world: &world{T: t, upstream: w.upstream, stack: w.stack, kv: w.kv}, number: i}
			t.Log(s.intent)
			for _, line := range s.lines {
				f.run(line)
			}
			require.NotZero(t, f.checks, "the case checks nothing")
		})
	}
}

// faultWorld has a model and a pair of plain model servers for each case.
func faultWorld(t *testing.T, cases int) *world {
	var models []string
	for i := range cases {
		models = append(models, faultModel(i))
	}
	return newWorld(t, worldOptions{Models: models, Upstream: func(o *upstream.Options) {
		for i := range cases {
			for _, arm := range []string{document.Stable, document.Canary} {
				o.Catalog.HTTP = append(o.Catalog.HTTP, upstream.HTTPModel{Name: faultServer(i, arm), Version: versionID(faultModel(i), arm)})
			}
		}
	}})
}

func faultModel(i int) string              { return fmt.Sprintf("fault/c%d", i) }
func faultServer(i int, arm string) string { return fmt.Sprintf("c%d-%s", i, arm) }
func fields(line string) (string, string) {
	a, b, _ := strings.Cut(line, " ")
	return a, strings.TrimSpace(b)
}
func (f *faulty) server(arm string) string  { return faultServer(f.number, arm) }
func (f *faulty) version(arm string) string { return versionID(faultModel(f.number), arm) }

// faulty runs the lines of one case.
type faulty struct {
	*world
	number   int
	kind     string // of service
	doc      map[string]any
	reply    reply
	err      error // of reading the body
	streamed bool
	checks   int
}

func (f *faulty) run(line string) {
	f.Helper()
	word, rest := fields(line)
	set, isSetting := map[string]func(string){
		"service": f.service, "document": f.document, "canary": f.target, "stable": f.target, "fault": f.fault, "refuse": f.refuse, "send": f.send,
	}[word]
	if isSetting {
		if word == document.Canary || word == document.Stable {
			rest = word + " " + rest
		}
		set(rest)
		return
	}
	check, isCheck := map[string]func(string){
		"status": f.status, "header": f.header, "body": f.body, "no-body": f.noBody, "cut": f.cut, "sent": f.sent, "point": f.point, "prediction": f.prediction,
	}[word]
	require.True(f, isCheck, "no such line: %s", line)
	f.checks++
	check(rest)
}

func (f *faulty) service(kind string) {
	f.kind = kind
	d := rollout(faultModel(f.number), 10_000)
	switch kind {
	case "http":
		d = f.httpRollout(fmt.Sprintf("c%d", f.number), 10_000)
		for i := range d.Targets {
			d.Targets[i].URL = f.upstream.URL() + "/http/" + f.server(d.Targets[i].Name)
		}
	case "model":
	case "model-url":
		d.Targets[1] = document.Target{Name: document.Canary, URL: f.upstream.URL() + "/http/" + f.server(document.Canary) + "/predictions"}
	default:
		require.Fail(f, "no such kind of service", kind)
	}
	require.NoError(f, json.Unmarshal(d.Encode(), &f.doc))
}

func (f *faulty) document(members string) {
	f.Helper()
	require.NoError(f, json.Unmarshal([]byte(members), &f.doc))
}

func (f *faulty) target(line string) {
	f.Helper()
	arm, members := fields(line)
	require.NoError(f, json.Unmarshal([]byte(members), ptr(f.doc["targets"].(map[string]any)[arm].(map[string]any))))
}

func ptr[T any](v T) *T { return &v }

func (f *faulty) refuse(arm string) {
	url, err := f.upstream.RefusedURL()
	require.NoError(f, err)
	f.doc["targets"].(map[string]any)[arm].(map[string]any)["url"] = url
}

func (f *faulty) fault(line string) {
	f.Helper()
	words := strings.Fields(line)
	fault := map[string]any{"name": words[1]}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case name == "on":
			fault[name] = strings.Split(value, ",")
		case value == "true":
			fault[name] = true
		default:
			n, err := strconv.Atoi(value)
			require.NoError(f, err, line)
			fault[name] = n
		}
	}
	text, err := json.Marshal(fault)
	require.NoError(f, err)
	var parsed upstream.Fault
	require.NoError(f, json.Unmarshal(text, &parsed))
	on := f.version(words[0])
	if f.kind == "http" || f.kind == "model-url" && words[0] == document.Canary {
		on = f.server(words[0])
	}
	require.NoError(f, f.upstream.SetFault(on, parsed))
}

// send sends the request and reads its answer.
func (f *faulty) send(line string) {
	f.Helper()
	text, err := json.Marshal(f.doc)
	require.NoError(f, err)
	d, err := document.Parse(text)
	require.NoError(f, err)
	f.put(d.Service.RolloutKey(), string(text))
	word, rest := fields(line)
	switch word {
	case "create":
		f.ask(f.create(rest))
	case "stream":
		f.stream(rest)
	default:
		path, body := fields(rest)
		f.ask(call{Method: word, Path: fmt.Sprintf("/c%d", f.number) + path, Body: body, Headers: map[string]string{"x-user-id": "user"}})
	}
}

func (f *faulty) create(wait string) call {
	c := call{
		Path: "/v1/models/" + faultModel(f.number) + "/predictions", Body: `{"input":{"prompt":"hello"}}`,
		Headers: map[string]string{"content-type": "application/json", "x-user-id": "user"},
	}
	if wait != "" {
		c.Headers["prefer"] = wait
	}
	return c
}

func (f *faulty) stream(lastEventID string) {
	f.Helper()
	f.ask(f.create(""))
	require.Less(f, f.reply.Status, 300, f.reply.Body)
	var made struct{ URLs struct{ Stream string } }
	require.NoError(f, json.Unmarshal([]byte(f.reply.Body), &made))
	_, path, ok := strings.Cut(made.URLs.Stream, f.stack.Places[0].URL)
	require.True(f, ok, "%s does not lead back", made.URLs.Stream)
	headers := map[string]string{"accept": "text/event-stream"}
	if lastEventID != "" {
		headers["last-event-id"] = lastEventID
	}
	f.streamed = true
	f.ask(call{Method: "GET", Path: path, Headers: headers})
}

func (f *faulty) ask(c call) {
	f.Helper()
	response := f.open(c, strings.NewReader(c.Body))
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	f.reply, f.err = reply{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err
}

func (f *faulty) status(want string) {
	f.Helper()
	require.Equal(f, want, strconv.Itoa(f.reply.Status), f.reply.Body)
}

func (f *faulty) header(line string) {
	f.Helper()
	name, want := fields(line)
	if want == "-" {
		want = ""
	}
	require.Equal(f, want, f.reply.Header.Get(name), name)
}

func (f *faulty) body(want string) {
	f.Helper()
	require.Contains(f, f.reply.Body, unquoted(want))
	require.NoError(f, f.err)
}

func (f *faulty) noBody(text string) {
	f.Helper()
	require.NotContains(f, f.reply.Body, unquoted(text))
}

// unquoted reads \n in a text.
func unquoted(text string) string { return strings.ReplaceAll(text, `\n`, "\n") }

func (f *faulty) cut(string) {
	f.Helper()
	require.ErrorIs(f, f.err, io.ErrUnexpectedEOF)
}

// sent checks how often each target was asked.
func (f *faulty) sent(line string) {
	f.Helper()
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i += 2 {
		got := 0
		for _, e := range f.upstream.Log() {
			isCreate := e.Version == f.version(words[i]) && e.Method == http.MethodPost && strings.HasPrefix(e.Path, "/v1/")
			if isCreate || strings.HasPrefix(e.Path, "/http/"+f.server(words[i])+"/") {
				got++
			}
		}
		require.Equal(f, words[i+1], strconv.Itoa(got), "requests to %s", words[i])
	}
}

var columns = map[string]telemetry.Column{
	"outcome": telemetry.Outcome, "class": telemetry.ErrorClass, "status": telemetry.Status, "served_by": telemetry.ServedBy,
	"variant": telemetry.Variant, "prediction": telemetry.Prediction, "ended": telemetry.Ended,
}

func (f *faulty) point(want string)      { f.Helper(); f.row(telemetry.KindRequest, want) }
func (f *faulty) prediction(want string) { f.Helper(); f.row(telemetry.KindPrediction, want) }

// row checks columns of the request's point of a kind; "x=-" is an empty one.
func (f *faulty) row(kind, want string) {
	f.Helper()
	var row cloudflare.Row
	for deadline := time.Now().Add(5 * time.Second); row == nil; {
		require.Less(f, time.Now(), deadline, "no point of kind %s came", kind)
		for _, candidate := range f.points(f.reply.Header.Get("x-perch-trace")) {
			if got, err := candidate.Text(string(telemetry.Kind)); err == nil && got == kind {
				row = candidate
			}
		}
	}
	for _, word := range strings.Fields(want) {
		name, value, _ := strings.Cut(word, "=")
		column := columns[name]
		require.NotEmpty(f, column, "no such column: %s", name)
		if column == telemetry.Status {
			got, err := row.Float(string(column))
			require.NoError(f, err)
			require.Equal(f, value, strconv.FormatFloat(got, 'f', -1, 64), name)
			continue
		}
		got, err := row.Text(string(column))
		require.NoError(f, err)
		require.Equal(f, strings.TrimPrefix(value, "-"), got, name)
	}
}
