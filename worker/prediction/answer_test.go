package prediction

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"perch/shared/jsonstream"
	"perch/worker/wasmtest/scenario"
)

// TestAnswer: the case shows a slot where it stands, as <slot text>.
func TestAnswer(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "answer.txt"), "body", "shape", "pad") {
		t.Run(c.Intent, func(t *testing.T) {
			n, _ := strconv.Atoi(c.Get("pad"))
			pad := strings.NewReplacer("PAD", strings.Repeat("x", n))
			shape, err := strconv.Atoi(c.Get("shape"))
			require.NoError(t, err)
			body := pad.Replace(c.Get("body"))
			for size := 1; size <= len(body)+1; size += 1 + size/50 {
				got := answer(t, Shape(shape), pieces(body, size), marked)
				require.Equal(t, pad.Replace(c.Want), string(got.out), "%s in chunks of %d", c.Where, size)
				same := answer(t, Shape(shape), pieces(body, size), nil)
				require.Equal(t, body, string(same.out), "%s in chunks of %d: the slots' own values", c.Where, size)
			}
		})
	}
}

// answered is what an Answer made of an answer.
type answered struct {
	reader
	known Facts
}

func answer(t testing.TB, shape Shape, chunks [][]byte, fill func(filled) string) *answered {
	a := NewAnswer(shape)
	got := &answered{reader: reader{t: t, fill: fill}}
	for _, chunk := range chunks {
		got.take(a.Push(chunk), chunk)
	}
	got.take(a.Close(), nil)
	got.known = a.Facts()
	if utf8.Valid(bytes.Join(chunks, nil)) {
		require.Equal(t, got.known, got.told(len(got.facts)-1), "Close writes the facts")
	}
	return got
}

// told reads facts as the host does.
func (a *answered) told(i int) Facts {
	var f struct {
		Facts
		HasOutput *bool
	}
	d := json.NewDecoder(strings.NewReader(a.facts[i]))
	d.DisallowUnknownFields()
	require.NoError(a.t, d.Decode(&f), a.facts[i])
	f.Facts.HasOutput = *f.HasOutput
	return f.Facts
}

// TestFacts: an answer as Replicate's documentation has it.
func TestFacts(t *testing.T) {
	got := answer(t, ShapePrediction, pieces(benchAnswer, 7), nil)
	require.Equal(t, Facts{
		ID: "gm3qorzdhgbfurvjtvhg6dckhu", Status: "succeeded", Model: "replicate/hello-world",
		Version:   "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
		HasOutput: true, PredictMS: 13, TotalMS: 26,
		CreatedAtMS: 1694189974765, StartedAtMS: 1694189974779, CompletedAtMS: 1694189974791,
	}, got.known)
}

func TestFactsOf(t *testing.T) {
	long := strings.Repeat("é", 150)
	tests := []struct {
		name, body string
		want       Facts
	}{
		{"output of any kind", `{"output":false}`, Facts{HasOutput: true}},
		{"empty output", `{"output":[]}`, Facts{HasOutput: true}},
		{"output null", `{"output":null}`, Facts{}},
		{"the last of two outputs", `{"output":"x","output":null}`, Facts{}},
		{"the last of two statuses", `{"status":"failed","status":"succeeded"}`, Facts{Status: "succeeded"}},
		{"a status that is none any more", `{"status":"failed","status":1}`, Facts{}},
		{"metrics without times", `{"metrics":{"predict_time":1},"metrics":{}}`, Facts{}},
		{"an output's own status", `{"output":{"status":"failed","metrics":{"predict_time":1}},"status":"succeeded"}`, Facts{Status: "succeeded", HasOutput: true}},
		{"an error's first 200 bytes", `{"error":"` + long + `"}`, Facts{Error: long[:200]}},
		{"and no half character", `{"error":"x` + long + `"}`, Facts{Error: "x" + long[:198]}},
		{"an error that is no text", `{"error":{"detail":"x"}}`, Facts{}},
		{"NUL", `{"error":"a\u0000b"}`, Facts{Error: "a\x00b"}},
		{"a model too long to be one", `{"model":"` + strings.Repeat("m", 513) + `","deployment":"` + strings.Repeat("d", 512) + `"}`, Facts{Deployment: strings.Repeat("d", 512)}},
		{"a webhook", `{"webhook":"https:\/\/c\/h"}`, Facts{Webhook: "https://c/h"}},
		{"no object", `["id"]`, Facts{}},
		{"malformed behind it", `{"id":"a"}}`, Facts{}},
		{"cut off", `{"id":"a","status":"succeeded"`, Facts{}},
		{"empty", ``, Facts{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 5, len(tt.body) + 1} {
				require.Equal(t, tt.want, answer(t, ShapePrediction, pieces(tt.body, size), nil).known)
			}
		})
	}
}

// TestFactsEarly: what has passed is known at once.
func TestFactsEarly(t *testing.T) {
	a := NewAnswer(ShapePrediction)
	a.Push([]byte(`{"id":"a","status":"fai`))
	require.Equal(t, Facts{ID: "a"}, a.Facts())
	a.Push([]byte(`led","output":[1`))
	require.Equal(t, Facts{ID: "a", Status: "failed", HasOutput: true}, a.Facts())
	a.Push([]byte(`]]`))
	require.Zero(t, a.Facts())
}

// TestFactsOfList: each result's stand behind its bytes.
func TestFactsOfList(t *testing.T) {
	body := `{"next":null,"results":[{"id":"a","status":"failed"},{"id":"b","output":1},{}]}`
	for _, size := range []int{1, 5, len(body) + 1} {
		got := answer(t, ShapePredictions, pieces(body, size), nil)
		require.Len(t, got.facts, 4)
		require.Equal(t, Facts{ID: "a", Status: "failed"}, got.told(0))
		require.Equal(t, Facts{ID: "b", HasOutput: true}, got.told(1))
		require.Zero(t, got.told(2))
		require.Zero(t, got.known)
	}
}

// TestAnswerHoldsLittle: an output needs no memory, however large it is, nor do
// the texts that are too long to be slots or facts.
func TestAnswerHoldsLittle(t *testing.T) {
	a := NewAnswer(ShapePrediction)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for _, begin := range []string{`{"output":"`, `","webhook":"`, `","error":"`, `","a`} {
		a.Push([]byte(begin))
		for range 50 {
			require.Less(t, len(a.Push(chunk)), len(chunk)+MaxSlotBytes)
		}
	}
	require.Less(t, cap(a.raw)+cap(a.value)+cap(a.facts.texts[fieldError]), 8*MaxSlotBytes+len(chunk)*2)
	require.Less(t, testing.AllocsPerRun(50, func() { a.Push(chunk) }), 1.0)
}

func TestEnded(t *testing.T) {
	tests := []struct {
		name        string
		facts       Facts
		status      int
		synchronous bool
		want        string
	}{
		{"a synchronous create that succeeded: 201, processing, output", Facts{Status: "processing", HasOutput: true}, 201, true, "succeeded"},
		{"a synchronous create whose wait ran out: 201, no output yet", Facts{Status: "processing"}, 201, true, ""},
		{"a synchronous create that is still starting", Facts{Status: "starting"}, 201, true, ""},
		{"a synchronous create accepted without its outputs: 202", Facts{Status: "processing", HasOutput: true}, 202, true, ""},
		{"a synchronous create that failed", Facts{Status: "failed", Error: "out of memory"}, 201, true, "failed"},
		{"an error with the output so far", Facts{Status: "processing", HasOutput: true, Error: "x"}, 201, true, ""},
		{"a create that nobody waits for", Facts{Status: "starting"}, 201, false, ""},
		{"a poll with the output so far", Facts{Status: "processing", HasOutput: true}, 200, false, ""},
		{"a poll by somebody who prefers to wait", Facts{Status: "processing", HasOutput: true}, 200, true, ""},
		{"a poll: succeeded", Facts{Status: "succeeded", HasOutput: true}, 200, false, "succeeded"},
		{"a poll after an hour, when the output is gone", Facts{Status: "succeeded"}, 200, false, "succeeded"},
		{"a poll: failed", Facts{Status: "failed"}, 200, false, "failed"},
		{"a poll: canceled while it ran", Facts{Status: "canceled"}, 200, false, "canceled"},
		{"a poll: aborted before it started", Facts{Status: "aborted"}, 200, false, "aborted"},
		{"a status of tomorrow", Facts{Status: "paused", HasOutput: true}, 201, true, ""},
		{"a problem, whose status is a number", Facts{}, 422, true, ""},
		{"a refusal that looks like a prediction", Facts{Status: "failed"}, 500, false, ""},
		{"no answer", Facts{}, 0, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, Ended(tt.facts, tt.status, tt.synchronous))
		})
	}
}

// wantMS is a number of seconds in milliseconds, by exact arithmetic.
func wantMS(number string) int64 {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	power, err := strconv.Atoi(cmp.Or(exponent, "0"))
	if err != nil || power > 1000 || power < -1000 {
		return 0
	}
	value, ok := new(big.Rat).SetString(mantissa + "e" + strconv.Itoa(power+3))
	if !ok || value.Sign() <= 0 {
		return 0
	}
	value.Add(value, big.NewRat(1, 2))
	whole := new(big.Int).Quo(value.Num(), value.Denom())
	if !whole.IsInt64() || whole.Int64() > maxMS {
		return 0
	}
	return whole.Int64()
}

func TestMilliseconds(t *testing.T) {
	for number, want := range map[string]int64{
		"0": 0, "1": 1000, "0.012683": 13, "0.0005": 1, "0.00049999999999999999999999999": 0, "1.2345e1": 12345, "5E-1": 500, "1e+2": 100_000,
		"-1": 0, "9007199254740.992": maxMS, "9007199254740.993": 0, "1e400": 0, "1e-400": 0, "1e99999999999999999999": 0, "0e99999999999999999999": 0,
		"123456789012345678901234567890e-27": 123457, "0.000000000000000000000000000001e30": 1000,
	} {
		require.Equal(t, want, milliseconds([]byte(number)), number)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		digits := strconv.FormatUint(random.Uint64()>>random.IntN(64), 10)
		number := digits
		if random.IntN(3) > 0 {
			point := random.IntN(len(digits)) + 1
			number = digits[:point] + "." + digits[point:] + "0"
		}
		if random.IntN(2) == 0 {
			number += []string{"e", "E-", "e+", "E-0"}[random.IntN(4)] + strconv.Itoa(random.IntN(30))
		}
		require.Equal(t, wantMS(number), milliseconds([]byte(number)), number)
	}
}

func TestEpochMS(t *testing.T) {
	for text, want := range map[string]int64{
		"2023-09-08T16:19:34.765994Z": 1694189974765, "1970-01-01T00:00:00Z": 0, "1970-01-01T00:00:00.001Z": 1, "1969-12-31T23:59:59Z": 0,
		"2024-02-29T00:00:00+00:00": 1709164800000, "2023-02-29T00:00:00Z": 0, "2100-02-29T00:00:00Z": 0, "2000-02-29T12:00:00-01:30": 951831000000,
		"2023-09-08T16:19:34": 0, "2023-09-08 16:19:34Z": 0, "2023-09-08T16:19:34.Z": 0, "2023-09-08T16:19:60Z": 0, "2023-13-08T16:19:34Z": 0, "2023-00-08T16:19:34Z": 0,
		"": 0, "soon": 0, "9999-12-31T23:59:59.999Z": 253402300799999, "2023-09-08T16:19:34ZZ": 0,
	} {
		require.Equal(t, want, epochMS([]byte(text)), text)
	}
	random := rand.New(rand.NewPCG(7, 8))
	parsed := 0
	for range 100_000 {
		at := time.UnixMilli(random.Int64N(253402300799999)).In(time.FixedZone("", 60*(random.IntN(2*24*60)-24*60)))
		text := []byte(at.Format([]string{time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000000Z07:00"}[random.IntN(3)]))
		if random.IntN(2) == 0 {
			text[random.IntN(len(text))] = "0123456789-:.TZ+"[random.IntN(16)]
		}
		want, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			require.Zero(t, epochMS(text), "%s", text)
			continue
		}
		parsed++
		require.Equal(t, max(0, want.UnixMilli()), epochMS(text), "%s", text)
	}
	require.Greater(t, parsed, 50_000)
}

// wantSlots walks an answer by encoding/json.
func wantSlots(shape Shape, body []byte) (slots []filled) {
	add := func(slot Slot, value json.RawMessage) {
		var text any
		if json.Unmarshal(value, &text) != nil || len(value) > MaxSlotBytes {
			return
		}
		if text, isText := text.(string); isText {
			slots = append(slots, filled{slot, text})
		}
	}
	inPrediction := func(members []member) {
		for _, m := range members {
			switch m.name {
			case "id":
				add(SlotID, m.value)
			case "webhook":
				add(SlotWebhook, m.value)
			case "urls":
				urls, _ := decode(m.value)
				for _, u := range urls {
					if slot, found := map[string]Slot{"get": SlotGet, "cancel": SlotCancel, "stream": SlotStream}[u.name]; found {
						add(slot, u.value)
					}
				}
			}
		}
	}
	members, _ := decode(body)
	if shape == ShapePrediction {
		inPrediction(members)
		return slots
	}
	for _, m := range members {
		switch {
		case m.name == "next" || m.name == "previous":
			add(SlotPage, m.value)
		case m.name == "results" && shape == ShapePredictions:
			for _, result := range items(m.value) {
				inPrediction(result)
			}
		}
	}
	return slots
}

// items are the objects of a list.
func items(value json.RawMessage) (objects [][]member) {
	var all []json.RawMessage
	if json.Unmarshal(value, &all) != nil {
		return nil
	}
	for _, item := range all {
		if members, ok := decode(item); ok {
			objects = append(objects, members)
		}
	}
	return objects
}

// wantFacts reads a prediction by encoding/json.
func wantFacts(members []member) Facts {
	last := map[string]any{}
	for _, m := range members {
		d := json.NewDecoder(bytes.NewReader(m.value))
		d.UseNumber()
		var value any
		_ = d.Decode(&value)
		last[m.name] = value
	}
	text := func(name string, longest int) string {
		text, _ := last[name].(string)
		if len(text) > longest {
			return ""
		}
		return text
	}
	date := func(name string) int64 { return epochMS([]byte(text(name, maxFactBytes))) } // held to package time elsewhere
	metrics, _ := last["metrics"].(map[string]any)
	ms := func(name string) int64 {
		number, _ := metrics[name].(json.Number)
		if len(number) > maxFactBytes {
			return 0
		}
		return wantMS(string(number))
	}
	message, _ := last["error"].(string)
	for len(message) > MaxErrorBytes {
		_, n := utf8.DecodeLastRuneInString(message)
		message = message[:len(message)-n]
	}
	return Facts{
		ID: text("id", MaxSlotBytes), Status: text("status", maxFactBytes), Version: text("version", maxFactBytes), Model: text("model", maxFactBytes),
		Deployment: text("deployment", maxFactBytes), Error: message, Webhook: text("webhook", MaxSlotBytes), HasOutput: last["output"] != nil,
		PredictMS: ms("predict_time"), TotalMS: ms("total_time"),
		CreatedAtMS: date("created_at"), StartedAtMS: date("started_at"), CompletedAtMS: date("completed_at"),
	}
}

// checkAnswer: with the slots' own values an answer goes on byte by byte; the
// slots and facts are those that encoding/json finds; chunks make no difference.
func checkAnswer(t testing.TB, body []byte, shape Shape, random *rand.Rand) {
	whole, cut := pieces(string(body), len(body)+1), cuts(random, string(body))
	same := answer(t, shape, whole, nil)
	require.Equal(t, string(body), string(same.out))
	require.Equal(t, string(body), string(answer(t, shape, cut, nil).out), "%q in chunks", body)
	got, inCuts := answer(t, shape, whole, marked), answer(t, shape, cut, marked)
	require.Equal(t, string(got.out), string(inCuts.out), "%q in chunks", body)
	require.Equal(t, got.slots, inCuts.slots, "%q in chunks", body)
	require.Equal(t, got.facts, inCuts.facts, "%q in chunks", body)
	members, ok := decode(body)
	if !ok || shape == 0 {
		require.Zero(t, got.known, "%q", body)
		return
	}
	if !utf8.Valid(body) {
		return // each reader replaces it in its own way
	}
	require.Equal(t, wantSlots(shape, body), got.slots, "%q", body)
	changed, ok := decode(got.out)
	require.True(t, ok, "%q has become %q", body, got.out)
	require.Len(t, changed, len(members))
	if shape == ShapePrediction {
		require.Equal(t, wantFacts(members), got.known, "%q", body)
	} else {
		require.Zero(t, got.known)
	}
	var results []Facts
	for _, m := range members {
		if m.name == "results" && shape == ShapePredictions {
			for _, result := range items(m.value) {
				results = append(results, wantFacts(result))
			}
		}
	}
	require.Len(t, got.facts, len(results)+1, "%q", body)
	for i, want := range results {
		require.Equal(t, want, got.told(i), "%q", body)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, c := range scenario.Read(f, filepath.Join("testdata", "answer.txt"), "body", "shape", "pad") {
		for shape := range uint8(4) {
			f.Add([]byte(c.Get("body")), shape, uint64(1))
		}
	}
	random := rand.New(rand.NewPCG(9, 10))
	for range 100 {
		body, shape := randomAnswer(random)
		f.Add(body, uint8(shape), random.Uint64())
	}
	f.Fuzz(func(t *testing.T, body []byte, shape uint8, seed uint64) {
		checkAnswer(t, body, Shape(shape%4), rand.New(rand.NewPCG(seed, 0)))
	})
}

// generator makes up answers in which much repeats and little is as it should be.
type generator struct{ *rand.Rand }

func (g generator) pick(values ...string) string { return values[g.IntN(len(values))] }

func (g generator) value() string {
	return g.pick(`"abc"`, `"https:\/\/r\u002f"`, `"\ud83d\ude00é"`, `"\ud83d"`, `null`, `true`, `1.5`, `-0`, `12e-2`, `""`, `"succeeded"`, `"processing"`, `{}`, `[]`,
		`{"get":"no","id":"no"}`, `["id",{"id":"no"}]`, `"2023-09-08T16:19:34.765994Z"`, `"2023-09-08T16:19:34+02:00"`, `0.012683`, `"a\u0000b"`)
}

func (g generator) object(fields []string, value func(field string) string) string {
	var b strings.Builder
	space := func() { b.WriteString(g.pick("", "", "", " ", "\n\t")) }
	b.WriteString("{")
	for i := range g.IntN(9) {
		if i > 0 {
			b.WriteString(",")
		}
		space()
		field := g.pick(fields...)
		b.WriteString(strings.Replace(`"`+field+`"`, "s", g.pick("s", "s", `\u0073`), 1))
		space()
		b.WriteString(":")
		space()
		b.WriteString(value(field))
		space()
	}
	b.WriteString("}")
	return b.String()
}

func (g generator) prediction() string {
	fields := []string{"id", "status", "version", "model", "deployment", "error", "output", "metrics", "urls", "webhook", "created_at", "started_at", "completed_at", "input", "ids", "i", ""}
	return g.object(fields, func(field string) string {
		any := func(string) string { return g.value() }
		switch {
		case field == "urls" && g.IntN(4) > 0:
			return g.object([]string{"get", "cancel", "stream", "web", "gets"}, any)
		case field == "metrics" && g.IntN(4) > 0:
			return g.object([]string{"predict_time", "total_time", "other"}, any)
		}
		return g.value()
	})
}

func randomAnswer(random *rand.Rand) (body []byte, shape Shape) {
	g := generator{random}
	shape = Shape(1 + g.IntN(3))
	text := g.prediction()
	if shape != ShapePrediction {
		text = g.object([]string{"next", "previous", "results", "results", "id", "nexts"}, func(field string) string {
			if field != "results" || g.IntN(6) == 0 {
				return g.value()
			}
			var results []string
			for range g.IntN(3) {
				results = append(results, g.pick(g.prediction(), g.prediction(), g.prediction(), g.value()))
			}
			return "[" + strings.Join(results, g.pick(",", " , ")) + "]"
		})
	}
	body = []byte(g.pick("", "", " ") + text + g.pick("", "", "\n", "}"))
	if g.IntN(6) == 0 {
		i := g.IntN(len(body))
		body[i] = "{}[]\",:\\ 1e\x00\xff"[g.IntN(13)]
	}
	return body, shape
}

// TestAnswersAgainstEncodingJSON holds 10,000 random answers to the oracle.
func TestAnswersAgainstEncodingJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	valid, slots := 0, 0
	for range 10_000 {
		body, shape := randomAnswer(random)
		checkAnswer(t, body, shape, random)
		if json.Valid(body) {
			valid++
			slots += len(wantSlots(shape, body))
		}
	}
	require.Greater(t, valid, 4_000)
	require.Greater(t, slots, 4_000)
}

// TestAnswerDepth: what is nested deeper than can be read goes on, and says nothing.
func TestAnswerDepth(t *testing.T) {
	nested := func(n int) string {
		return `{"id":"a","output":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,"webhook":"b"}`
	}
	fine := answer(t, ShapePrediction, pieces(nested(jsonstream.MaxDepth-1), 100), nil)
	require.Equal(t, Facts{ID: "a", Webhook: "b", HasOutput: true}, fine.known)
	deep := answer(t, ShapePrediction, pieces(nested(jsonstream.MaxDepth), 100), marked)
	require.Zero(t, deep.known)
	require.Equal(t, strings.Replace(nested(jsonstream.MaxDepth), "a", "<1 a>", 1), string(deep.out))
}
