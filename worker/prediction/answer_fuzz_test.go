package prediction

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"perch/worker/wasmtest/scenario"
)

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
