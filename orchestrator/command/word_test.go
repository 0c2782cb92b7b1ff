package command

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHelpAndVersionAsWords: both are what their flags are.
func TestHelpAndVersionAsWords(t *testing.T) {
	b := newBench(t)
	require.Equal(t, b.do(0, "--help").stdout, b.do(0, "help").stdout)
	require.Equal(t, b.do(0, "set", "--help").stdout, b.do(0, "help", "set").stdout)
	require.Equal(t, b.do(0, "--version").stdout, b.do(0, "version").stdout)
	require.Contains(t, b.do(2, "help", "promot").stderr, `did you mean "promote"?`)
}

// TestNearest: only a slip of the finger is taken for a command.
func TestNearest(t *testing.T) {
	commands := (&app{}).commands()
	for word, want := range map[string]string{
		"promot": "promote", "lst": "list", "histroy": "history", "rolback": "rollback", "roll-back": "rollback", "statsu": "status",
		"stop": "rollback", "undo": "rollback", "freeze": "pause", "confirm": "approve",
		"reset": "", "s": "", "x": "", "": "", "deploy": "", "create": "", "acme/flux": "",
	} {
		require.Equal(t, want, nearest(word, commands), word)
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"set", "set", 0}, {"kitten", "sitting", 3}, {"step", "stop", 1}} {
		require.Equal(t, c.want, editDistance(c.a, c.b), "%s, %s", c.a, c.b)
		require.Equal(t, c.want, editDistance(c.b, c.a), "%s, %s", c.b, c.a)
	}
}
