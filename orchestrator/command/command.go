// Package command is the orchestrator's command line: flags, checks and output.
// A command is a function of its arguments, environment and writers; only main
// exits.
package command

import (
	"context"
	"errors"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
)

// Version is what --version prints; releases set it through -ldflags.
var Version = "development"

// Store keeps values by key, as Workers KV does: the last write wins, there is
// no compare-and-set, and a write that failed may have been stored. A read sees
// what was written before it, by anyone. Implementations retry what is worth
// retrying; every write made here may be made twice.
type Store interface {
	// Get returns cloudflare.ErrNotFound for an absent key.
	Get(ctx context.Context, key string) ([]byte, error)
	// GetMany leaves absent keys out of its answer.
	GetMany(ctx context.Context, keys []string) (map[string][]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	// PutMany writes values whose keys differ, in no particular order. Its error is
	// a *cloudflare.Unwritten: what that does not name is stored.
	PutMany(ctx context.Context, pairs []cloudflare.Pair) error
	// Delete of an absent key is no error.
	Delete(ctx context.Context, key string) error
	// List returns the keys that begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Source answers SQL over the points that the edge wrote. It returns
// cloudflare.ErrNoData where nothing was ever written.
type Source interface {
	Query(ctx context.Context, sql string) ([]cloudflare.Row, error)
}

// Clock is the time that commands live in.
type Clock interface {
	Now() time.Time
	// Sleep returns the context's error if that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// app is one invocation: what it may touch. Its commands are methods.
type app struct {
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stdout is a terminal
	hostname       string
	username       string // of the operating system, or ""
	clock          Clock
	connect        func(cloudflare.Config) (Store, Source)
}

// Run executes the command line args, whose first element is the program's
// name, with an environment of NAME=value entries, and returns the exit code.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		env: environment(env), stdin: stdin, stdout: stdout, stderr: stderr,
		terminal: isTerminal(stdout), clock: wallClock{},
		connect: func(c cloudflare.Config) (Store, Source) { return cloudflare.NewKV(c), cloudflare.NewAnalytics(c) },
	}
	a.hostname, _ = os.Hostname()
	if account, err := user.Current(); err == nil {
		a.username = account.Username
	}
	return a.run(ctx, args)
}

// commands lists every command, in the order of the help text.
func (a *app) commands() []*cli.Command {
	return []*cli.Command{
		a.initCommand(),
		a.doctorCommand(),
		a.startCommand(),
		a.stepCommand(),
		a.runCommand(),
		a.followCommand(),
		a.setCommand(),
		a.rollbackCommand(),
		a.promoteCommand(),
		a.pauseCommand(),
		a.resumeCommand(),
		a.approveCommand(),
		a.configureCommand(),
		a.listCommand(),
		a.statusCommand(),
		a.historyCommand(),
		a.traceCommand(),
		a.simulateCommand(),
		a.testerCommand(),
		a.validateCommand(),
		a.completionCommand(),
	}
}

func (a *app) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		args = []string{"orchestrator"}
	}
	err := a.cli().RunContext(ctx, args)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = &failure{code: exitInterrupted, err: errors.New("interrupted"), hint: "the rollout keeps its percentage until its dead man's switch ends it; continue with orchestrator run"}
	}
	return a.report(err)
}

// cli builds the urfave application. Nothing in it may exit the process.
func (a *app) cli() *cli.App {
	commands := a.commands()
	for _, c := range commands {
		c.Flags = append(c.Flags, commonFlags(true)...)
		c.OnUsageError = usage
		c.HideHelpCommand = true
		c.CustomHelpTemplate = cli.CommandHelpTemplate + "\nThe settings that orchestrator --help lists, such as --account, are taken here too.\n"
		if c.BashComplete == nil {
			c.BashComplete = a.complete(nil, c.Flags)
		}
	}
	return &cli.App{
		Name: "orchestrator", HelpName: "orchestrator",
		Usage:           "raise a canary step by step, judge it, promote it or roll it back",
		UsageText:       "orchestrator [global flags] command [flags] [service]",
		Description:     "A service is what clients call, such as acme/flux, deployment:acme/flux or http:qwen.\nSecrets are read from the environment alone: CLOUDFLARE_API_TOKEN, PERCH_SEAL_KEY, REPLICATE_API_TOKEN.",
		Version:         Version,
		Commands:        commands,
		Flags:           commonFlags(false),
		HideHelpCommand: true, EnableBashCompletion: true, BashComplete: a.complete(commands, commonFlags(false)),
		Reader: a.stdin, Writer: a.stdout, ErrWriter: a.stderr,
		OnUsageError:   usage,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowAppHelp(c)
			}
			return a.otherWord(c, commands)
		},
	}
}

func usage(c *cli.Context, err error, _ bool) error {
	text := strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1)
	return &failure{code: exitUsage, err: errors.New(text), hint: c.Command.HelpName + " --help lists the flags"}
}

func environment(entries []string) map[string]string {
	env := make(map[string]string, len(entries))
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
