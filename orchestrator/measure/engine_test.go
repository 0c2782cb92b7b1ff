package measure

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/shared/telemetry"
)

const dataset = "requests"

// point is one row as the worker writes it.
type point struct {
	at                                          int64 // Unix time
	service, variant, servedBy, kind            string
	outcome, reason, rollout, trace, user       string
	class, id, end                              string
	number                                      string // of the point, in a column that is not read
	status                                      float64
	firstByte, total, predict, firstToken, rate float64
}

func (p point) with(change func(*point)) point {
	change(&p)
	return p
}

func (p point) encoded() map[string]any {
	texts := map[telemetry.Column]string{
		telemetry.Service: p.service, telemetry.Variant: p.variant, telemetry.ServedBy: p.servedBy, telemetry.Kind: p.kind,
		telemetry.Outcome: p.outcome, telemetry.Reason: p.reason, telemetry.Rollout: p.rollout, telemetry.Trace: p.trace,
		telemetry.User: p.user, telemetry.ErrorClass: p.class, telemetry.Prediction: p.id, telemetry.Ended: p.end, telemetry.Colo: p.number,
	}
	numbers := map[telemetry.Column]float64{
		telemetry.Status: p.status, telemetry.FirstByteMS: p.firstByte, telemetry.TotalMS: p.total, telemetry.PredictMS: p.predict,
		telemetry.FirstTokenMS: p.firstToken, telemetry.Score: p.rate,
	}
	blobs, doubles := make([]string, 14), make([]float64, 10)
	for i := range blobs {
		blobs[i] = texts[telemetry.Column("blob"+strconv.Itoa(i+1))]
	}
	for i := range doubles {
		doubles[i] = numbers[telemetry.Column("double"+strconv.Itoa(i+1))]
	}
	return map[string]any{"at": p.at, "index": telemetry.IndexOf(p.service, p.variant), "blobs": blobs, "doubles": doubles}
}

// engine is the local stack's Analytics Engine, over points of any time.
type engine struct {
	testing.TB
	in    io.WriteCloser
	out   *bufio.Reader
	asked int // statements
	rows  int // of all answers
	bytes int
}

func newEngine(t testing.TB) *engine {
	root := filepath.Join("..", "..")
	node := filepath.Join(root, "node_modules", ".bin", "node")
	_, err := os.Stat(node)
	require.NoError(t, err, "run npm ci")
	cmd := exec.Command(node, filepath.Join(root, "test", "stack", "sql_run.ts"))
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait(), "%s", &log)
	})
	return &engine{TB: t, in: in, out: bufio.NewReaderSize(out, 1<<20)}
}

func (e *engine) send(line any) {
	e.Helper()
	text, err := json.Marshal(line)
	require.NoError(e, err)
	_, err = e.in.Write(append(text, '\n'))
	require.NoError(e, err)
}

func (e *engine) sample(n int) { e.send(map[string]any{"sample": n}) }

func (e *engine) write(points []point) {
	for len(points) > 0 {
		n := min(len(points), 1000)
		encoded := make([]map[string]any, n)
		for i := range encoded {
			encoded[i] = points[i].encoded()
		}
		e.send(map[string]any{"dataset": dataset, "points": encoded})
		points = points[n:]
	}
}

// ask answers a statement, by no rows where nothing was written.
func (e *engine) ask(statement string) ([]cloudflare.Row, error) {
	e.Helper()
	e.send(map[string]any{"query": statement})
	line, err := e.out.ReadBytes('\n')
	require.NoError(e, err)
	var reply struct {
		Answer struct{ Data []cloudflare.Row }
		Error  string
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	require.NoError(e, decoder.Decode(&reply))
	if !strings.HasPrefix(reply.Error, "unable to find type of column") {
		require.Empty(e, reply.Error, statement)
	}
	e.asked++
	e.rows, e.bytes = e.rows+len(reply.Answer.Data), e.bytes+len(line)
	return reply.Answer.Data, nil
}
