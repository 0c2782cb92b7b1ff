package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// askHeader asks the upstream for another answer than a prediction that has output, or points.ts for other settings.
const askHeader = "x-bench"

// What it asks for.
const (
	askEcho      = "echo"      // what the upstream saw
	askStarting  = "starting"  // a prediction that has not begun
	askRunning   = "running"   // one that goes on
	askSucceeded = "succeeded" // one that has ended
	askEvents    = "events"    // an event stream
	askBytes     = "bytes"     // the same bytes at the same times, as a file
	askLog       = "log"       // of points.ts: a line for the request
)

// brokenPath is part of the path of a deployment that answers 503.
const brokenPath = "/acme/broken/"

// seen is what the upstream saw of a request.
type seen struct {
	Path          string `json:"path"`
	Version       string `json:"version"` // of the body
	Prompt        string `json:"prompt"`  // of the body's input
	Webhook       string `json:"webhook,omitempty"`
	Authorization string `json:"authorization,omitempty"` // if it is not the client's own token
}

var made atomic.Int64 // predictions

func answer(w http.ResponseWriter, r *http.Request) {
	ask := r.Header.Get(askHeader)
	if ask == askEcho {
		echo(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	switch {
	case strings.Contains(r.URL.Path, brokenPath):
		http.Error(w, `{"detail":"no server is free"}`, http.StatusServiceUnavailable)
	case ask == askEvents || ask == askBytes:
		writeEvents(w, ask)
	default:
		writePrediction(w, r, ask, webhookOf(body))
	}
}

// writePrediction answers as Replicate does, in size and shape. A poll's id is the path's.
func writePrediction(w http.ResponseWriter, r *http.Request, ask, webhook string) {
	id := fmt.Sprintf("c%025d", made.Add(1))
	if _, last, isPoll := strings.Cut(r.URL.Path, "/predictions/"); isPoll {
		id = last
	}
	status, output := "processing", `["https://delivery.example/5c7d/out-0.webp"]`
	switch ask {
	case askStarting:
		status, output = "starting", "null"
	case askSucceeded:
		status = "succeeded"
	}
	w.Header().Set("content-type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = io.WriteString(w, `{"id":"`+id+`","model":"acme/flux","version":"`+stableID+`","input":{"prompt":"`+prompt+`"},`+
		`"logs":"Using seed: 12345\n100%|##########| 28/28\n","output":`+output+`,"error":null,"status":"`+status+`",`+
		`"created_at":"2026-11-20T10:00:00.000Z","started_at":"2026-11-20T10:00:00.120Z","completed_at":"2026-11-20T10:00:02.820Z",`+
		`"metrics":{"predict_time":2.7,"total_time":2.82},"data_removed":false,`+webhook+
		`"urls":{"cancel":"`+replicate+`/v1/predictions/`+id+`/cancel","get":"`+replicate+`/v1/predictions/`+id+`",`+
		`"stream":"https://stream.replicate.com/v1/files/bcwr-`+id+`","web":"https://replicate.com/p/`+id+`"}}`)
}

const replicate = "https://api.replicate.com"

// webhookOf is the webhook of a create as a member of its answer.
func webhookOf(body []byte) string {
	var create struct{ Webhook string }
	if !bytes.Contains(body, []byte(`"webhook"`)) || json.Unmarshal(body, &create) != nil || create.Webhook == "" {
		return ""
	}
	return `"webhook":"` + create.Webhook + `",`
}

const (
	events = 200
	// eventPause is what lies between two tokens of a fast language model.
	eventPause = time.Millisecond
)

// writeEvents sends each event by itself, as Replicate's tokens come.
func writeEvents(w http.ResponseWriter, ask string) {
	contentType := "text/event-stream; charset=utf-8"
	if ask == askBytes {
		contentType = "application/octet-stream"
	}
	w.Header().Set("content-type", contentType)
	flusher := http.NewResponseController(w)
	for i := range events {
		_, _ = fmt.Fprintf(w, "event: output\nid: 1763632800:%d\ndata: token\n\n", i)
		if i == events-1 {
			_, _ = io.WriteString(w, "event: done\nid: 1763632800:200\ndata: {}\n\n")
		}
		if flusher.Flush() != nil {
			return // the client went away
		}
		time.Sleep(eventPause)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Version, Webhook string
		Input            struct{ Prompt string }
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	saw := seen{Path: r.URL.Path, Version: body.Version, Prompt: body.Input.Prompt, Webhook: body.Webhook}
	if authorization := r.Header.Get("authorization"); authorization != "Bearer "+clientToken {
		saw.Authorization = authorization
	}
	_ = json.NewEncoder(w).Encode(saw)
}
