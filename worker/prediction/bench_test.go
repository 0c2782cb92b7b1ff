package prediction

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bodies are predictions of two shapes: a large file inside, or many members.
func bodies() map[string][]byte {
	image := base64.StdEncoding.EncodeToString(make([]byte, 3<<20))
	return map[string][]byte{
		"file":    []byte(`{"input":{"image":"data:image/png;base64,` + image + `"},"version":"acme/flux"}`),
		"members": []byte(`{"input":{"list":[` + strings.Repeat(`{"x":1.25,"name":"value \"quoted\"","ok":true},`, 20_000) + `null]},"version":"acme/flux"}`),
	}
}

const benchChunk = 16 << 10

func BenchmarkFinder(b *testing.B) {
	for name, body := range bodies() {
		chunks := pieces(string(body), benchChunk)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var f Finder
				status := Searching
				for _, chunk := range chunks {
					status = f.Push(chunk)
				}
				if status != Found {
					b.Fatal(status)
				}
			}
		})
	}
}

// sized are bodies of 4 KB and 1 MB as clients write them: a prompt, and a file.
func sized() map[string]string {
	create := func(file int) string {
		return `{"input":{"prompt":"` + strings.Repeat("a wooden boat, ", 180) + `","seed":42,"image":"data:image/png;base64,` + strings.Repeat("iVBORw0KGgo", file/11) +
			`"},"webhook":"https://client.example/hook","webhook_events_filter":["completed"],"version":"acme/flux"}`
	}
	return map[string]string{"4KB": create(1 << 10), "1MB": create(1 << 20)}
}

func benchmark(b *testing.B, bodies map[string]string, run func(chunks [][]byte) int) {
	for _, name := range []string{"4KB", "1MB", "file", "members"} {
		body, found := bodies[name]
		if !found {
			continue
		}
		chunks := pieces(body, 64<<10)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if run(chunks) == 0 {
					b.Fatal("nothing written")
				}
			}
		})
	}
}

func BenchmarkEditor(b *testing.B) {
	all := sized()
	for name, body := range bodies() {
		all[name] = string(body)
	}
	for name, change := range map[string]Change{"version": {Version: "acme/flux-next"}, "webhook": {Version: "acme/flux-next", Webhook: true}} {
		e := NewEditor(change)
		b.Run(name, func(b *testing.B) {
			benchmark(b, all, func(chunks [][]byte) (written int) {
				e.Reset(change)
				for _, chunk := range chunks {
					written += len(e.Push(chunk))
				}
				return written + len(e.Close())
			})
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	answers := map[string]string{}
	for name, body := range sized() {
		answers[name] = strings.TrimSuffix(body, `"version":"acme/flux"}`) + strings.TrimPrefix(benchAnswer, "{")
	}
	answers["members"] = `{"output":[` + strings.Repeat(`{"x":1.25,"name":"value \"quoted\"","ok":true},`, 20_000) + `null],` + strings.TrimPrefix(benchAnswer, "{")
	a := NewAnswer(ShapePrediction)
	benchmark(b, answers, func(chunks [][]byte) (written int) {
		a.Reset(ShapePrediction)
		for _, chunk := range chunks {
			written += len(a.Push(chunk))
		}
		return written + len(a.Close())
	})
}

const benchAnswer = `{"id":"gm3qorzdhgbfurvjtvhg6dckhu","model":"replicate/hello-world","version":"5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
"logs":"","output":"hello Alice","error":null,"status":"succeeded","created_at":"2023-09-08T16:19:34.765994Z","source":"api","data_removed":false,
"started_at":"2023-09-08T16:19:34.779176Z","completed_at":"2023-09-08T16:19:34.791859Z","metrics":{"predict_time":0.012683,"total_time":0.025865},
"urls":{"web":"https://replicate.com/p/gm3qorzdhgbfurvjtvhg6dckhu","get":"https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu",
"cancel":"https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu/cancel","stream":"https://stream.replicate.com/v1/files/abc"}}`

// TestNoGarbage: whole bodies and answers are read in memory that is used again.
func TestNoGarbage(t *testing.T) {
	body, answer := []byte(sized()["4KB"]), []byte(benchAnswer)
	var (
		f Finder
		e Editor
		a Answer
	)
	read := func() {
		f.Reset()
		f.Push(body)
		e.Reset(Change{Version: "acme/flux-next", Webhook: true})
		e.Push(body)
		e.Close()
		a.Reset(ShapePrediction)
		a.Push(answer)
		a.Close()
	}
	read()
	require.Zero(t, testing.AllocsPerRun(100, read))
}
