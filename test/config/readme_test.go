package config

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/policy"
	"perch/shared/document"
)

// block returns the README's only fenced block of a language.
func block(t *testing.T, language string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllSubmatch(readme, -1)
	require.Len(t, found, 1, "blocks of %s in README.md", language)
	return string(found[0][1])
}

// TestReadmePolicy: the policy that README shows is the default one.
func TestReadmePolicy(t *testing.T) {
	shown, err := policy.Parse([]byte(block(t, "yaml")))
	require.NoError(t, err)
	require.Equal(t, policy.Default(), shown)
}

// TestReadmeDocument: the document that README shows is valid to the letter.
func TestReadmeDocument(t *testing.T) {
	text := strings.ReplaceAll(block(t, "json"), "<64 digits>", strings.Repeat("5c7d", 16))
	_, err := document.ParseStrict([]byte(text))
	require.NoError(t, err)
}

// TestReadmeCommands: README lists the commands that there are.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	help, err := exec.CommandContext(t.Context(), "go", "run", "perch/orchestrator", "--help").Output()
	require.NoError(t, err)
	_, commands, _ := strings.Cut(string(help), "COMMANDS:")
	commands, _, _ = strings.Cut(commands, "GLOBAL OPTIONS:")
	names := regexp.MustCompile(`(?m)^ +([a-z]+)  `).FindAllStringSubmatch(commands, -1)
	require.Greater(t, len(names), 10)
	for _, name := range names {
		require.Regexp(t, "`"+name[1]+"[ `]", string(readme), "README.md does not list %s", name[1])
	}
}
