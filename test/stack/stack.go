// Package stack starts the local Cloudflare for Go tests, the demo and the benchmarks: the REST API, KV, Analytics
// Engine and one or more workerd processes ("places") that run the bundled worker.
package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stopTime is how long a stack may take to end by itself before it is killed.
const stopTime = 10 * time.Second

// Options are the flags of the stack; the zero value of a field leaves its default.
type Options struct {
	Worker    string            // bundle directory, relative to the repository root; .build/worker
	Config    string            // wrangler.toml, relative to the repository root; wrangler.toml
	Places    int               // workerd processes; 1
	Vars      map[string]string // text bindings of the worker
	Secrets   map[string]string // text bindings that the API lists as secrets
	Limits    []string          // rate-limit bindings, each NAME:LIMIT:PERIOD with a period of 10 or 60 production seconds
	Trust     string            // file of PEM certificates that the worker trusts for https, beside the browsers' own
	TimeScale float64           // production seconds per local second, above 0; 1
	LagMS     int               // age at which analytics points become visible, in milliseconds
	Sample    int               // queries see about 1 point in this many; 1
	Bare      bool              // run the worker without request.cf and the limit of points a request
	Log       io.Writer         // gets the stack's log as it comes; may be nil
}

// Place is one workerd process.
type Place struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// Stack is a running local Cloudflare.
type Stack struct {
	API       string  `json:"api"`     // base URL of Cloudflare's API, without a final slash
	Control   string  `json:"control"` // base URL of the stack's own endpoints
	Places    []Place `json:"places"`
	Account   string  `json:"account"`
	Token     string  `json:"token"`
	Namespace string  `json:"namespace"`
	Dataset   string  `json:"dataset"`

	cancel context.CancelFunc
	ended  chan error // closed after the process has ended
	log    *tail
}

// Start starts a stack and waits until it is ready. It ends with ctx or by Close. A failure to start carries the log.
func Start(ctx context.Context, options Options) (*Stack, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, fmt.Errorf("start stack: %w", err)
	}
	node := filepath.Join(root, "node_modules", ".bin", "node")
	if _, err := os.Stat(node); err != nil {
		return nil, fmt.Errorf("start stack: %s is missing: run npm ci in %s", node, root)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Stack{cancel: cancel, ended: make(chan error, 1), log: &tail{next: options.Log}}
	cmd := exec.CommandContext(ctx, node, append([]string{filepath.Join(root, "test", "stack", "main.ts")}, options.flags()...)...)
	cmd.Dir = root
	cmd.Stderr = s.log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		// The stack ends, with its children, when its standard input does.
		cmd.Cancel, cmd.WaitDelay = stdin.Close, stopTime
		err = s.run(cmd)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start stack: %w\n%s", err, s.log)
	}
	return s, nil
}

func (s *Stack) run(cmd *exec.Cmd) error {
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	if readErr != nil {
		s.cancel()
		return fmt.Errorf("it ended before it was ready: %w", cmd.Wait())
	}
	go func() {
		s.ended <- cmd.Wait()
		close(s.ended)
	}()
	if err := json.Unmarshal(line, s); err != nil {
		s.cancel()
		<-s.ended
		return fmt.Errorf("read ready line %q: %w", line, err)
	}
	return nil
}

func (o Options) flags() []string {
	var flags []string
	add := func(name, value string) { flags = append(flags, "--"+name, value) }
	for name, value := range map[string]string{"worker": o.Worker, "config": o.Config, "trust": o.Trust} {
		if value != "" {
			add(name, value)
		}
	}
	for name, value := range map[string]int{"places": o.Places, "lag-ms": o.LagMS, "sample": o.Sample} {
		if value != 0 {
			add(name, strconv.Itoa(value))
		}
	}
	if o.TimeScale != 0 {
		add("time-scale", strconv.FormatFloat(o.TimeScale, 'g', -1, 64))
	}
	for name, value := range o.Vars {
		add("var", name+"="+value)
	}
	for name, value := range o.Secrets {
		add("secret", name+"="+value)
	}
	for _, limit := range o.Limits {
		add("limit", limit)
	}
	if o.Bare {
		flags = append(flags, "--bare")
	}
	return flags
}

// repositoryRoot is the nearest directory upwards that holds the module's go.mod.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module perch\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no go.mod of module perch in this directory or above")
		}
		dir = parent
	}
}

// Close ends the stack and waits until it has ended. It may be called more than once.
func (s *Stack) Close() error {
	s.cancel()
	err := <-s.ended
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("stop stack: %w\n%s", err, s.log)
	}
	return nil
}

// Log is the end of what the stack has logged, for the report of a failure.
func (s *Stack) Log() string { return s.log.String() }

// AnalyticsUpdate changes the fields that are set.
type AnalyticsUpdate struct {
	LagMS  *int  `json:"lag_ms,omitempty"` // age at which points become visible, in milliseconds
	Sample *int  `json:"sample,omitempty"` // queries see about 1 point in this many, at least 1
	Down   *bool `json:"down,omitempty"`   // the SQL endpoint answers 503
}

// SetAnalytics changes how analytics lags, samples and fails.
func (s *Stack) SetAnalytics(ctx context.Context, update AnalyticsUpdate) error {
	return s.control(ctx, http.MethodPut, "/analytics", update, nil)
}

// Flush waits until every point received so far can be queried (lag aside) and tells how many were ever received.
// Points that were refused since the last flush are an error with the reasons.
func (s *Stack) Flush(ctx context.Context) (points int, err error) {
	var answer struct{ Points int }
	err = s.control(ctx, http.MethodPost, "/analytics/flush", nil, &answer)
	return answer.Points, err
}

// KVUpdate sets how calls of KV end: "ok", "error" or "hang"; "" leaves it.
type KVUpdate struct {
	Reads  string `json:"reads,omitempty"`  // the worker's
	Writes string `json:"writes,omitempty"` // the API's
	API    string `json:"api,omitempty"`    // all of the API's, reads and lists too
}

// SetKV makes KV fail or recover.
func (s *Stack) SetKV(ctx context.Context, update KVUpdate) error {
	return s.control(ctx, http.MethodPut, "/kv", update, nil)
}

// Trip lets the Write-th write of the API from now (1 is the next) and all after it fail. That one takes effect all the
// same if Persist is set, later ones do not.
type Trip struct {
	Write   int    `json:"write"`
	Persist bool   `json:"persist"`
	Then    string `json:"then"` // "error" or "hang"
}

// Trip sets a trip, or removes it with nil.
func (s *Stack) Trip(ctx context.Context, trip *Trip) error {
	return s.control(ctx, http.MethodPut, "/kv", map[string]*Trip{"trip": trip}, nil)
}

// KVValues are all keys and values of the namespace, read past every cache.
func (s *Stack) KVValues(ctx context.Context) (map[string]string, error) {
	var values map[string]string
	err := s.control(ctx, http.MethodGet, "/kv/values", nil, &values)
	return values, err
}

// Calls are the calls that the API has had, by method and what they were of, such as "PUT kv/bulk".
func (s *Stack) Calls(ctx context.Context) (map[string]int, error) {
	var calls map[string]int
	err := s.control(ctx, http.MethodGet, "/calls", nil, &calls)
	return calls, err
}

func (s *Stack) control(ctx context.Context, method, path string, body, answer any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.Control+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("control stack: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("control stack: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("control stack: %s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// tail keeps the end of what is written to it and passes everything on.
type tail struct {
	next io.Writer

	mu   sync.Mutex
	kept []byte
}

const tailBytes = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	if t.next == nil {
		return len(p), nil
	}
	return t.next.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
