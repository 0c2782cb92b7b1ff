// Command generate writes the names and columns of package telemetry as
// TypeScript constants, for the worker's shell.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("out", "", "TypeScript `FILE` to write")
	dir := flag.String("dir", ".", "`DIRECTORY` of package telemetry")
	flag.Parse()
	text, err := generate(*dir)
	if err == nil {
		err = os.WriteFile(*out, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate: "+err.Error())
		os.Exit(1)
	}
}
