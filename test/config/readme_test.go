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

// blocks returns the README's fenced blocks of a language.
func blocks(t *testing.T, language string, want int) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var texts []string
	for _, found := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllSubmatch(readme, -1) {
		texts = append(texts, strings.ReplaceAll(string(found[1]), "<64 digits>", strings.Repeat("5c7d", 16)))
	}
	require.Len(t, texts, want, "blocks of %s in README.md", language)
	return texts
}

// TestReadmePolicy: the policy that README shows is the default one, and the
// edge settings are valid.
func TestReadmePolicy(t *testing.T) {
	texts := blocks(t, "yaml", 2)
	shown, err := policy.Parse([]byte(texts[0]))
	require.NoError(t, err)
	require.Equal(t, policy.Default(), shown)
	shown, err = policy.Parse([]byte(texts[1]))
	require.NoError(t, err)
	require.False(t, shown.Edge.IsEmpty())
}

// TestReadmeDocument: the document that README shows is valid to the letter, and
// so is the access.
func TestReadmeDocument(t *testing.T) {
	texts := blocks(t, "json", 2)
	_, err := document.ParseStrict([]byte(texts[0]))
	require.NoError(t, err)
	access, isAccess := strings.CutPrefix(texts[1], `"access": `)
	require.True(t, isAccess)
	_, err = document.ParseAccess([]byte(access))
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
