package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// upstreamCommand runs this program as the upstream: a process of its own, so that its CPU time can be told apart.
const upstreamCommand = "upstream"

// echoHeader asks the upstream to answer what it saw.
const echoHeader = "x-bench-echo"

// seen is what the upstream saw of a request.
type seen struct {
	Path    string `json:"path"`
	Version string `json:"version"` // of the body
	Prompt  string `json:"prompt"`  // of the body's input
}

// prediction is what Replicate answers, in size and shape.
const prediction = `{"id":"gm3qorzdhgbfurvjtvhg6dckhu","model":"acme/flux","version":"5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa","input":{"prompt":"an astronaut riding a rainbow unicorn, cinematic, dramatic"},"logs":"Using seed: 12345\n100%|##########| 28/28\n","output":["https://delivery.example/5c7d/out-0.webp"],"error":null,"status":"processing","created_at":"2026-11-20T10:00:00.000Z","data_removed":false,"urls":{"cancel":"https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu/cancel","get":"https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu"}}`

func serveUpstream() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the benchmark does
		_ = listener.Close()
	}()
	if err := http.Serve(listener, http.HandlerFunc(answer)); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(echoHeader) != "" {
		echo(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("content-type", "application/json")
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = io.WriteString(w, prediction)
}

func echo(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Version string
		Input   struct{ Prompt string }
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(seen{r.URL.Path, body.Version, body.Input.Prompt})
}

// upstream is the running process.
type upstream struct {
	url   string
	pid   int
	cmd   *exec.Cmd
	stdin io.Closer
}

func startUpstream(ctx context.Context) (*upstream, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start upstream: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, upstreamCommand)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start upstream: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start upstream: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start upstream: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start upstream: it ended before it listened: %w", cmd.Wait())
	}
	return &upstream{url: strings.TrimSpace(line), pid: cmd.Process.Pid, cmd: cmd, stdin: stdin}, nil
}

func (u *upstream) stop() {
	_ = u.stdin.Close()
	_ = u.cmd.Wait()
}
