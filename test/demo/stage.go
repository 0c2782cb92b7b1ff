package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"perch/test/stack"
	"perch/test/upstream"
)

const (
	model     = "acme/flux"
	token     = "demo-token"
	timeScale = 30 // KV's 30 s of cache are one here
)

// The versions: what is stable at first, a good successor, and a bad one.
var (
	v1 = upstream.VersionID(model, "v1")
	v2 = upstream.VersionID(model, "v2")
	v3 = upstream.VersionID(model, "v3")
)

// Exit statuses of the orchestrator, as README lists them.
const (
	exitDone       = 0
	exitRolledBack = 4
)

// stage is everything that the demo runs on.
type stage struct {
	upstream       *upstream.Server
	stack          *stack.Stack
	stdout, stderr *os.File
}

func openStage(ctx context.Context, stdout, stderr *os.File) (*stage, error) {
	healthy := upstream.Behavior{Latency: upstream.Lognormal(80*time.Millisecond, 0.3)}
	bad := upstream.Behavior{Latency: upstream.Lognormal(128*time.Millisecond, 0.3), ErrorRate: 0.05}
	up, err := upstream.New(upstream.Options{Seed: uint64(time.Now().UnixNano()), Catalog: upstream.Catalog{
		Models: []upstream.Model{{Name: model, Official: true, Latest: v1}},
		Versions: []upstream.Version{
			{Model: model, ID: v3, Behavior: bad},
			{Model: model, ID: v2, Behavior: healthy},
			{Model: model, ID: v1, Behavior: healthy},
		},
	}})
	if err != nil {
		return nil, err
	}
	if err := up.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	s, err := stack.Start(ctx, stack.Options{Places: 2, TimeScale: timeScale, Vars: map[string]string{
		"REPLICATE_BASE_URL": up.URL() + "/v1",
		"PERCH_REFRESH_MS":   fmt.Sprint(5_000 / timeScale),
		"PERCH_MAX_AGE_MS":   fmt.Sprint(15_000 / timeScale),
	}})
	if err != nil {
		return nil, errors.Join(err, up.Close())
	}
	return &stage{upstream: up, stack: s, stdout: stdout, stderr: stderr}, nil
}

func (s *stage) close() error { return errors.Join(s.stack.Close(), s.upstream.Close()) }

func (s *stage) worker() string { return s.stack.Places[0].URL }

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.stdout, "\n── "+format+"\n", args...)
}

// firstDocument sends everyone to a version. Of what init prints it shows what
// was done; the list of what to set on a real account is left out.
func (s *stage) firstDocument(ctx context.Context, version string) error {
	var printed bytes.Buffer
	err := s.orchestratorTo(ctx, &printed, exitDone, "init", "--stable", "version="+model+":"+version, model)
	done, _, _ := strings.Cut(printed.String(), "\n\n")
	fmt.Fprintln(s.stdout, shortened(done))
	return err
}

// orchestrator runs a command of the real orchestrator, shown as a user would
// type it, and expects its exit status.
func (s *stage) orchestrator(ctx context.Context, exit int, args ...string) error {
	return s.orchestratorTo(ctx, s.stdout, exit, args...)
}

func (s *stage) orchestratorTo(ctx context.Context, stdout io.Writer, exit int, args ...string) error {
	fmt.Fprint(s.stdout, "$ orchestrator")
	for _, arg := range args {
		fmt.Fprint(s.stdout, " ", shortened(arg))
	}
	fmt.Fprintln(s.stdout)
	cmd := exec.CommandContext(ctx, ".build/orchestrator", args...)
	cmd.Env = append(os.Environ(),
		"CLOUDFLARE_BASE_URL="+s.stack.API, "CLOUDFLARE_ACCOUNT_ID="+s.stack.Account, "CLOUDFLARE_API_TOKEN="+s.stack.Token,
		"PERCH_NAMESPACE_ID="+s.stack.Namespace, "PERCH_DATASET="+s.stack.Dataset, "PERCH_WORKER_URL="+s.worker(),
		"PERCH_POLICY=test/demo/perch.yaml", "GITHUB_STEP_SUMMARY=", "GITHUB_OUTPUT=")
	cmd.Stdout, cmd.Stderr = stdout, s.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("run orchestrator: %w", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != exit {
		return fmt.Errorf("orchestrator %s ended with %d instead of %d", args[0], got, exit)
	}
	return nil
}

// npmClient runs the official client until stop, which returns what it counted.
func (s *stage) npmClient(ctx context.Context) (stop func() (map[string]npmArm, error), err error) {
	cmd := exec.CommandContext(ctx, "node_modules/.bin/node", "test/demo/client.mjs", s.stack.Places[1].URL+"/v1", model)
	cmd.Stderr = s.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start npm client: %w", err)
	}
	return func() (map[string]npmArm, error) {
		if err := stdin.Close(); err != nil {
			return nil, err
		}
		var counted map[string]npmArm
		err := json.NewDecoder(stdout).Decode(&counted)
		return counted, errors.Join(err, cmd.Wait())
	}, nil
}
