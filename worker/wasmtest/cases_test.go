package wasmtest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/worker/wasmtest/scenario"
)

func cases(t *testing.T, dir, file string, known ...string) []scenario.Case {
	return scenario.Read(t, filepath.Join("..", dir, "testdata", file), known...)
}

// TestCases runs every scenario of the native tests on the module too.
func TestCases(t *testing.T) {
	p := newPair(t, newHost(t))
	t.Run("resolve", func(t *testing.T) {
		for _, c := range cases(t, "router", "resolve.txt", "request", "service", "upgrade") {
			method, path, _ := strings.Cut(c.Get("request"), " ")
			p.text("resolve", strings.Join([]string{method, path, c.Get("service"), c.Get("upgrade")}, "\n"))
		}
	})
	t.Run("version", func(t *testing.T) {
		for _, c := range cases(t, "router", "version.txt", "version") {
			p.text("resolve_version", c.Get("version"))
			p.text("resolve_service", c.Get("version"))
		}
	})
	t.Run("decide", func(t *testing.T) {
		for _, c := range cases(t, "router", "decide.txt", scenario.DecideFields...) {
			s := c.Decide(t)
			handle := p.load(s.Document, s.Halted)
			require.NotZero(t, handle, c.Where)
			p.decide(handle, s.Input(), s.NowMS, uint32(s.Endpoint))
			require.Equal(t, strings.Fields(c.Want)[1], strings.Split(string(p.wasm.output()), "\n")[0], c.Where)
			p.ask("use", []byte(s.Version), handle, 0, uint32(len(s.Version)), uint32(s.Endpoint))
			p.ask("release", nil, handle)
		}
	})
	t.Run("find and edit", func(t *testing.T) {
		for _, file := range []string{"find.txt", "edit.txt", "webhook.txt"} {
			for _, c := range cases(t, "prediction", file, "body", "version", "pad") {
				body := []byte(c.Get("body"))
				for _, size := range []int{1, 3, len(body) + 1} {
					status := p.find(body, pieces(body, size))
					if file == "find.txt" {
						require.Equal(t, strings.Fields(c.Want)[0], []string{"searching", "found", "absent", "duplicate", "malformed"}[status], c.Where)
					}
					for _, flags := range edits {
						p.edit(body, c.Get("version"), flags, pieces(body, size))
					}
				}
			}
		}
	})
	t.Run("answer", func(t *testing.T) {
		for _, c := range cases(t, "prediction", "answer.txt", "body", "shape", "pad") {
			body := []byte(c.Get("body"))
			for shape := range uint32(5) {
				for _, size := range []int{1, 3, len(body) + 1} {
					p.answer(body, shape, pieces(body, size))
				}
			}
		}
	})
	t.Run("ended", func(t *testing.T) {
		for _, status := range []string{"", "starting", "processing", "succeeded", "failed", "canceled", "aborted", "other"} {
			for _, httpStatus := range []uint32{0, 200, 201, 202, 404, 500} {
				for flags := range uint32(8) {
					p.ask("ended", []byte(status), uint32(len(status)), httpStatus, flags)
				}
			}
		}
	})
	t.Run("classify", func(t *testing.T) {
		for status := range uint32(600) {
			for failure := range uint32(10) {
				p.ask("classify", nil, status, failure)
			}
		}
	})
	t.Run("access and headers", func(t *testing.T) {
		for _, text := range []string{"", "{}", "[]", `{"token":"secret:T"}`, `{"token":"secret:T","keys":[{"name":"a","sha256":"` + strings.Repeat("0a", 32) + `"}]}`,
			`{"jwt":{"algorithms":["ES256"],"jwks":"https://i.example/k"},"rate_limit":"L"}`, `{"jwt":{"algorithms":["HS256","none"],"key":"x"}}`,
			`{"a":"b","c":"secret:D"}`, `{"host":"b","C":"secret:PERCH_X","d":1}`} {
			p.text("access", text)
			p.text("headers", text)
		}
	})
	t.Run("refused documents", func(t *testing.T) {
		for _, text := range []string{"", "{", "[]", "tru", `{"schema":2}`, `{"schema":1}`, `{"schema":1,"percentage":250}`,
			strings.Repeat("[", 600), strings.Repeat(" ", 64<<10), strings.Repeat(" ", 64<<10+1), "{\"\xff\":1}"} {
			require.Zero(t, p.load(text, ""))
		}
		p.ask("load", nil, 1<<31, 1<<31)
	})
}

func pieces(body []byte, size int) [][]byte {
	var chunks [][]byte
	for len(body) > size {
		chunks = append(chunks, body[:size])
		body = body[size:]
	}
	return append(chunks, body)
}
