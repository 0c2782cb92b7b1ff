// Package process looks at another process from outside: its CPU time and its memory.
package process
