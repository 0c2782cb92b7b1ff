package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clients is a process in which the unmodified npm clients run scenarios.
type clients struct {
	mu      sync.Mutex
	in      io.Writer
	next    int
	waiting map[int]chan scenarioAnswer
}

type scenarioAnswer struct {
	ID     int
	Result json.RawMessage
	Error  string
	Asked  []clientCall
}

// clientCall is a request of a client's, and what came back beside the body.
type clientCall struct {
	Method, URL                             string
	Authorized                              bool
	Status                                  int
	Variant, ServedBy, Fallback, RetryAfter string
}

func startClients(t *testing.T) *clients {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../node_modules/.bin/node", "testdata/clients/main.mjs")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	c := &clients{in: in, waiting: map[int]chan scenarioAnswer{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			c.deliver(t, line)
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // which ends the process
		<-ended
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the clients ended badly: %v\n%s", err, &stderr)
		}
	})
	return c
}

func (c *clients) deliver(t *testing.T, line []byte) {
	var answer scenarioAnswer
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Errorf("the clients said %q", line)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[answer.ID] <- answer
}

// run runs a scenario and waits for its end.
func (c *clients) run(t *testing.T, options map[string]any) scenarioAnswer {
	t.Helper()
	waiting := make(chan scenarioAnswer, 1)
	c.mu.Lock()
	c.next++
	options["id"] = c.next
	c.waiting[c.next] = waiting
	line, err := json.Marshal(options)
	require.NoError(t, err)
	_, err = c.in.Write(append(line, '\n'))
	c.mu.Unlock()
	require.NoError(t, err)
	select {
	case answer := <-waiting:
		return answer
	case <-time.After(30 * time.Second):
		require.Fail(t, "the client is still at it", "%s", line)
	}
	return scenarioAnswer{}
}
