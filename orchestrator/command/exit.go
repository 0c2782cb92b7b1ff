package command

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"perch/orchestrator/cloudflare"
)

// Exit codes. 3 is left out: urfave/cli uses it by itself.
const (
	exitDone         = 0   // done, or holding
	exitError        = 1   // something failed
	exitUsage        = 2   // the command line or a file is not valid
	exitRolledBack   = 4   // the canary was rolled back
	exitInconclusive = 5   // the deadline passed without a verdict
	exitRefused      = 6   // not possible in the rollout's present state
	exitLostRace     = 7   // someone else changed the rollout meanwhile
	exitInterrupted  = 130 // by a signal
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code int
	err  error
	hint string // a line for the user, or ""
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

func invalid(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

func refused(hint, format string, args ...any) error {
	return &failure{code: exitRefused, err: fmt.Errorf(format, args...), hint: hint}
}

// outcome ends a command that has printed its result with a code other than 0.
type outcome int

func (o outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// report prints an error, and its hint on a second line, and returns the exit code.
func (a *app) report(err error) int {
	var code outcome
	if errors.As(err, &code) {
		return int(code)
	}
	f := &failure{code: exitError, err: err}
	errors.As(err, &f)
	if f.hint == "" {
		f.hint = hintOf(err)
	}
	fmt.Fprintln(a.stderr, "orchestrator: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	if f.hint != "" {
		fmt.Fprintln(a.stderr, "hint: "+f.hint)
	}
	return f.code
}

// hintOf says what to do about an error that names no mend itself.
func hintOf(err error) string {
	var a *ailment
	var api *cloudflare.APIError
	var network net.Error
	switch {
	case errors.As(err, &a):
		return a.mend
	case errors.As(err, &api), errors.As(err, &network):
		return "orchestrator doctor says what to mend"
	}
	return ""
}
