package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
	"perch/orchestrator/simulate/figures"
)

// TestTable: a short version of what make figures simulates reaches the published
// figures, within what so few rollouts can tell.
func TestTable(t *testing.T) {
	l := &lab{ctx: context.Background(), effort: 0.06}
	for i, s := range simulate.Table() {
		t.Run(s.Key(), func(t *testing.T) {
			require.Equal(t, published[i].scenario, s.Key())
			for _, method := range methods {
				r, err := l.row(s, method, 1_000)
				require.NoError(t, err)
				want := published[i].fixed
				if method == judge.Evidence {
					want = published[i].evidence
					require.False(t, r.Bad && s.Worse > 0 && r.Promoted > 0, "a worse canary was promoted: %s", r)
					require.False(t, !r.Bad && r.RolledBack > 1, "healthy canaries were rolled back: %s", r)
				}
				require.False(t, differs(r, want), "%s: %s, published %s", method, cell(r), want)
			}
		})
	}
}

// TestDiffers: it tells figures apart that are not the same.
func TestDiffers(t *testing.T) {
	row := func(rolledBack, promoted int, minute float64) figures.Row {
		return figures.Row{Tally: simulate.Tally{Runs: 2_000, RolledBack: rolledBack, Promoted: promoted, RollbackMinute: minute}}
	}
	tests := []struct {
		name string
		row  figures.Row
		want figure
		is   bool
	}{
		{"the same", row(200, 0, 33), figure{10, 33, 0}, false},
		{"within the error", row(240, 0, 34.5), figure{10, 33, 0}, false},
		{"more rollbacks", row(340, 0, 33), figure{10, 33, 0}, true},
		{"later", row(200, 0, 45), figure{10, 33, 0}, true},
		{"later by less where more were rolled back", row(2_000, 0, 9), figure{100, 5, 0}, true},
		{"promoted", row(200, 60, 33), figure{10, 33, 0}, true},
		{"rounded", row(1_992, 0, 5), figure{100, 5, 0}, false},
		{"never rolled back", row(0, 2_000, 0), figure{100, 5, 0}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.is, differs(test.row, test.want)) })
	}
}

// TestRun: one section is written into the page, and others stay as they are.
func TestRun(t *testing.T) {
	folder := t.TempDir()
	page := filepath.Join(folder, "figures.md")
	require.NoError(t, os.WriteFile(page, []byte("<!-- table -->\nold\n<!-- end -->\n<!-- users -->\nold\n<!-- end -->\n"), 0o600))
	require.NoError(t, run(context.Background(), folder, "table", 0.001))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(text), "| errors+20 | 10 | ")
	require.Contains(t, string(text), "<!-- users -->\nold\n<!-- end -->")
	require.FileExists(t, filepath.Join(folder, "figures.svg"))
	require.ErrorContains(t, run(context.Background(), folder, "luck", 1), `section "luck" is not known`)
}
