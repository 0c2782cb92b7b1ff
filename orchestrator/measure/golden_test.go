package measure

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden: the statements as they are sent, but for line breaks.
func TestGolden(t *testing.T) {
	q := Query{Dataset: "perch", Interval: time.Minute, Expire: 5 * time.Minute, Through: 29_000_000}
	for _, s := range []Subject{
		{Service: "model:acme/flux", From: 29_000_000, UserShare: 1},
		{Service: "http:qwen", From: 28_999_998, UserShare: 1},
		{Service: "deployment:acme/whisper", From: 29_000_000, UserShare: 1.0 / 16},
	} {
		s.Rollout, s.Began = "2026-11-20-a", time.Unix(28_999_000*60, 0)
		q.Subjects = append(q.Subjects, s)
	}
	require.NoError(t, q.Check())
	for name, sql := range map[string]string{"units.sql": q.SQL(), "feedback.sql": q.FeedbackSQL()} {
		t.Run(name, func(t *testing.T) {
			require.NotContains(t, sql, "\n")
			path := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(broken(sql)), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), broken(sql))
		})
	}
}

// broken breaks a statement into lines at its clauses and its columns.
func broken(sql string) string {
	var lines strings.Builder
	depth := 0
	for i := 0; i < len(sql); i++ {
		lines.WriteByte(sql[i])
		rest := sql[i+1:]
		switch {
		case sql[i] == '(' && strings.HasPrefix(rest, "SELECT"):
			depth = 0
			lines.WriteByte('\n')
		case sql[i] == '(':
			depth++
		case sql[i] == ')' && depth > 0:
			depth--
		case sql[i] == ',' && depth == 0:
			lines.WriteString("\n ")
		}
		for _, word := range []string{" FROM ", " WHERE ", " GROUP BY ", " LIMIT "} {
			if strings.HasPrefix(rest, word) {
				lines.WriteByte('\n')
				i++ // the space
			}
		}
	}
	return lines.String() + "\n"
}

// TestEscapes: a name cannot end its text.
func TestEscapes(t *testing.T) {
	require.Equal(t, `'it\'s \\'`, text(`it's \`))
}
