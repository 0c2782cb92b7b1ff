package figures

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/simulate"
)

var rows = []Row{
	{"healthy", 1_000, false, "evidence", simulate.Tally{Runs: 2_000, RolledBack: 2, Promoted: 1_990, Inconclusive: 8, RollbackMinute: 31, PromoteMinute: 45}},
	{"healthy", 1_000, false, "fixed", simulate.Tally{Runs: 2_000, RolledBack: 240, Promoted: 1_760, RollbackMinute: 20.5, PromoteMinute: 45}},
	{"errors<1>", 100_000, true, "evidence", simulate.Tally{Runs: 2_000, RolledBack: 2_000, RollbackMinute: 5, Hit: 12_345.6}},
}

func TestWriteTable(t *testing.T) {
	var b bytes.Buffer
	WriteTable(&b, rows)
	require.Equal(t, strings.TrimLeft(`
   scenario  per minute    method  rolled back    ±  at minute  promoted    ±  at minute  inconclusive    ±  requests hit
    healthy       1,000  evidence          0.1  0.3         31      99.5  0.4         45           0.4  0.4             0
    healthy       1,000     fixed         12.0  1.5       20.5      88.0  1.5         45             0  0.2             0
  errors<1>     100,000  evidence          100  0.2          5         0  0.2          –             0  0.2        12,346
`, "\n"), b.String())
}

func TestWriteBars(t *testing.T) {
	var b bytes.Buffer
	WriteBars(&b, rows, 60)
	require.Equal(t, strings.TrimLeft(`
healthy      1,000/min  evidence  █▒░░░░░░░░░░░░░░░░░░░░░░░░
healthy      1,000/min  fixed     ███░░░░░░░░░░░░░░░░░░░░░░░
errors<1>  100,000/min  evidence  ██████████████████████████
                                  █ rolled back   ▒ inconclusive   ░ promoted
`, "\n"), b.String())
}

// TestWriteSVG: it is XML, and every part of every row is in it.
func TestWriteSVG(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteSVG(&b, "A & B", rows))
	text := b.String()
	for _, want := range []string{"A &amp; B", "errors&lt;1&gt;", "rolled back 12.0 %", "promoted 99.5 %", "inconclusive 0.4 %", "@ 20.5", "100,000/min"} {
		require.Contains(t, text, want)
	}
	require.Equal(t, 1, strings.Count(text, ">healthy<"), "a scenario is named once")
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.25: "0.2", 9.94: "9.9", 9.96: "10", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, Count(n))
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0", 1: "100", 0.0005: "0.05", 0.9995: "99.95", 0.123: "12.3"} {
		require.Equal(t, want, Percent(share))
	}
}

func TestMinute(t *testing.T) {
	require.Equal(t, "0.3", minute(1, 0.1+0.2))
	require.Equal(t, "0.17", minute(1, 1.0/6))
	require.Equal(t, "12.5", minute(1, 12.5))
}
