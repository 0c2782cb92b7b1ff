//go:build !wasm && !tinygo.wasm

package main

import "os"

// main explains itself where somebody builds the worker for a machine.
func main() {
	os.Stderr.WriteString("the worker is a WASM module: build it with make worker\n")
	os.Exit(1)
}
