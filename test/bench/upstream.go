package main

import (
	"bufio"
	"context"
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
