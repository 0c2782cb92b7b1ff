package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// otherWord handles a first argument that is no command: help and version are
// what the flags of that name are.
func (a *app) otherWord(c *cli.Context, commands []*cli.Command) error {
	words := c.Args().Slice()
	switch words[0] {
	case "help":
		for _, command := range commands {
			if len(words) > 1 && command.Name == words[1] {
				return a.cli().RunContext(c.Context, []string{c.App.Name, words[1], "--help"})
			}
		}
		if len(words) > 1 && words[1] != "help" {
			return unknownCommand(words[1], commands)
		}
		return cli.ShowAppHelp(c)
	case "version":
		cli.ShowVersion(c)
		return nil
	}
	return unknownCommand(words[0], commands)
}

// otherNames are words that people try for a command, each far from its name.
var otherNames = map[string]string{
	"stop": "rollback", "abort": "rollback", "halt": "rollback", "undo": "rollback", "revert": "rollback", "freeze": "pause", "hold": "pause", "continue": "resume", "confirm": "approve",
}

func unknownCommand(name string, commands []*cli.Command) error {
	hint := "orchestrator --help lists the commands"
	if near := nearest(name, commands); near != "" {
		hint = fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return &failure{code: exitUsage, err: fmt.Errorf("unknown command %q", name), hint: hint}
}

// nearest returns the command that a word is probably meant for, or "": commands
// act, so a word that is merely somewhat alike names none.
func nearest(word string, commands []*cli.Command) string {
	if name := otherNames[word]; name != "" {
		return name
	}
	best, least := "", min(2, len(word)/3)+1
	for _, c := range commands {
		if d := editDistance(word, c.Name); d < least {
			best, least = c.Name, d
		}
	}
	return best
}

// editDistance returns how many bytes must be inserted, deleted or replaced to
// make one word of the other.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
