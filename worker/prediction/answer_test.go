package prediction

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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
