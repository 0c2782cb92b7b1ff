package command

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// complete prints every name that may follow; the shell keeps those that begin
// as typed. urfave/cli's own looks at os.Args.
func (a *app) complete(commands []*cli.Command, flags []cli.Flag) cli.BashCompleteFunc {
	return func(*cli.Context) {
		for _, c := range commands {
			fmt.Fprintln(a.stdout, c.Name)
		}
		for _, f := range flags {
			for _, name := range f.Names() {
				fmt.Fprintln(a.stdout, strings.Repeat("-", min(2, len(name)))+name)
			}
		}
	}
}

const bashCompletion = `_orchestrator() {
  local current="${COMP_WORDS[COMP_CWORD]}" asked=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ "$current" == -* ]] && asked+=("$current")
  mapfile -t COMPREPLY < <(compgen -W "$("${asked[@]}" --generate-bash-completion 2>/dev/null)" -- "$current")
}
complete -o default -F _orchestrator orchestrator
`

const zshCompletion = `#compdef orchestrator
_orchestrator() {
  local -a asked found
  asked=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && asked+=("${words[CURRENT]}")
  found=("${(@f)$("${asked[@]}" --generate-bash-completion 2>/dev/null)}")
  compadd -- "${found[@]%%:*}"
}
compdef _orchestrator orchestrator
`

func (a *app) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell",
		ArgsUsage:   "bash|zsh|fish",
		Description: "Example:\n  source <(orchestrator completion bash)",
		BashComplete: func(*cli.Context) {
			fmt.Fprintln(a.stdout, "bash\nzsh\nfish")
		},
		Action: func(c *cli.Context) error {
			if err := refuseStrayArguments(c, 1); err != nil {
				return err
			}
			script, err := completionScript(c)
			if err == nil {
				fmt.Fprint(a.stdout, script)
			}
			return err
		},
	}
}

func completionScript(c *cli.Context) (string, error) {
	switch shell := c.Args().First(); shell {
	case "bash":
		return bashCompletion, nil
	case "zsh":
		return zshCompletion, nil
	case "fish":
		return c.App.ToFishCompletion()
	default:
		return "", invalid("give bash, zsh or fish", "unknown shell %q", shell)
	}
}
