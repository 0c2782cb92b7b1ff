package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"perch/shared/document"
	"perch/test/process"
	"perch/test/upstream"
)

const (
	largeModel  = "acme/large"
	largeServer = "large"
	boundary    = "soak-boundary"
)

// A body that were held would take its size and more. The heap of a new process grows in steps, whatever the worker:
// only in the last round it has the size that it keeps.
const (
	rounds      = 4
	warmUpBytes = 20_000_000 // of bodies before the first round
	firstRise   = 64_000_000 // by how much memory may rise while a body of 100 MB passes
	lastRise    = 32_000_000
)

// passage is a way for a large body, and what the upstream must get of it.
type passage struct {
	what        string
	path        string
	contentType string
	service     string // x-perch-service
	head, tail  string // around the filler, as the client sends them
	wantHead    string // and as the upstream must get them
	wantTail    string
}

func passages() []passage {
	edited := `{"version":"` + reference(largeModel, document.Canary) + `",`
	old := `"version":"` + reference(largeModel, document.Stable) + `"`
	const input, end = `"input":{"prompt":"`, `"}`
	form := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"content\"; filename=\"large.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n"
	formEnd := "\r\n--" + boundary + "--\r\n"
	const json = "application/json"
	return []passage{
		{"a model's path, version inserted", "/v1/models/" + largeModel + "/predictions", json, "",
			"{" + input, end + "}", edited + input, end + "}"},
		{"service by header, version behind the input", "/v1/predictions", json, largeModel,
			"{" + input, end + "," + old + "}", edited + input, end + "}"},
		{"a model server's path", "/" + largeServer + "/generate", json, "", "{" + input, end + "}", "{" + input, end + "}"},
		{"a file", "/v1/files", "multipart/form-data; boundary=" + boundary, "", form, formEnd, form, formEnd},
	}
}

func proveBodies(ctx context.Context, o options, r *report) error {
	var c upstream.Catalog
	versions(&c, largeModel, false, upstream.Behavior{})
	for _, arm := range []string{"-stable", "-canary"} {
		c.HTTP = append(c.HTTP, upstream.HTTPModel{Name: largeServer + arm})
	}
	w, err := newWorld(ctx, worldOptions{upstream: upstream.Options{Catalog: c}})
	if err != nil {
		return err
	}
	defer w.close()
	const all = 10_000
	if err := w.write(ctx, modelRollout(largeModel, all), w.serverRollout(largeServer, all)); err != nil {
		return err
	}
	for _, p := range passages() {
		if err := w.pass(ctx, p, min(warmUpBytes, o.bodyBytes)); err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
	}
	for round := range rounds {
		for _, p := range passages() {
			rise, err := w.measurePassage(ctx, p, o.bodyBytes, r)
			if err != nil {
				return fmt.Errorf("%s: %w", p.what, err)
			}
			switch round {
			case 0:
				checkRise(r, "first: "+p.what, rise, firstRise)
			case rounds - 1:
				checkRise(r, "last: "+p.what, rise, lastRise)
			}
		}
	}
	return nil
}

func checkRise(r *report, what string, rise, most int64) {
	r.check(rise <= most, what, fmt.Sprintf("%+.1f MB", float64(rise)/MB), fmt.Sprintf("≤ %.0f MB", float64(most)/MB))
}

// measurePassage sends a body and returns by how much workerd's memory rises meanwhile.
func (w *world) measurePassage(ctx context.Context, p passage, size int64, r *report) (rise int64, err error) {
	pid := w.stack.Places[0].PID
	if err := process.ResetPeak(pid); err != nil {
		return 0, err
	}
	before, err := process.ResidentBytes(pid)
	if err != nil {
		return 0, err
	}
	used, err := process.CPUTime(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := w.pass(ctx, p, size); err != nil {
		return 0, err
	}
	took := time.Since(began)
	usedNow, err := process.CPUTime(pid)
	if err != nil {
		return 0, err
	}
	peak, err := process.PeakBytes(pid)
	if err != nil {
		return 0, err
	}
	r.say("%s: %.0f MB in %.1f s, %.1f s of CPU, memory from %.0f to %.0f MB at most", p.what,
		float64(size)/MB, took.Seconds(), (usedNow - used).Seconds(), float64(before)/MB, float64(peak)/MB)
	return peak - before, nil
}

// pass sends a body and checks what the upstream got.
func (w *world) pass(ctx context.Context, p passage, size int64) error {
	filler := size - int64(len(p.head)+len(p.tail))
	w.upstream.ClearLog()
	r, err := send(ctx, call{
		method: http.MethodPost, url: w.stack.Places[0].URL + p.path,
		headers: map[string]string{"content-type": p.contentType, "x-perch-service": p.service, "prefer": "wait"},
		body:    filled(p.head, filler, p.tail), length: size,
	})
	if err != nil {
		return err
	}
	if r.status != http.StatusOK && r.status != http.StatusCreated {
		return fmt.Errorf("status %d: %.200s", r.status, r.body)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, filled(p.wantHead, filler, p.wantTail)); err != nil {
		return err
	}
	log := w.upstream.Log()
	if len(log) != 1 || log[0].BodySHA256 != hex.EncodeToString(hash.Sum(nil)) {
		return fmt.Errorf("the upstream got %d requests, and not this body: %+v", len(log), log)
	}
	return nil
}

// filled is a body of which only a piece is in memory.
func filled(head string, filler int64, tail string) io.Reader {
	return io.MultiReader(bytes.NewReader([]byte(head)), io.LimitReader(&endless{}, filler), bytes.NewReader([]byte(tail)))
}

// endless reads as the alphabet, over and over.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a' + byte((e.n+i)%26)
	}
	e.n += len(b)
	return len(b), nil
}
