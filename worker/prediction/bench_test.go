package prediction

import (
	"encoding/base64"
	"strings"
	"testing"
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

func BenchmarkEditor(b *testing.B) {
	for name, body := range bodies() {
		chunks := pieces(string(body), benchChunk)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				e := NewEditor("acme/flux-next")
				written := 0
				for _, chunk := range chunks {
					written += len(e.Push(chunk))
				}
				if written += len(e.Close()); written < len(body) {
					b.Fatal(written)
				}
			}
		})
	}
}
