package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// variant is one of the workers that are compared.
type variant struct {
	name   string
	title  string
	entry  string // in this directory
	routes bool   // it decides, and so writes points and headers
	ends   bool   // it writes points of predictions' ends
}

const (
	perch      = "perch"
	javascript = "javascript"
	handmade   = "handmade"
	least      = "least"
	passing    = "pass"
	direct     = "direct"
)

// variants are those that run in workerd.
var variants = []variant{
	{perch, "Perch", "perch.ts", true, true},
	{javascript, "Perch's shell, decisions in JavaScript", "shell.ts", true, true},
	{handmade, "router written by hand, the same job", "router.ts", true, false},
	{least, "router written by hand, routing alone", "least.ts", true, false},
	{passing, "worker that passes on", "pass.ts", false, false},
}

// upstreamItself is what requests cost without a worker: the upstream's CPU time, not workerd's.
var upstreamItself = variant{name: direct, title: "no worker (the upstream's own)"}

func (v variant) bundle() string { return ".build/bench/" + v.name }

// bundleAll bundles all variants. Perch's core must have been built.
func bundleAll(ctx context.Context) error {
	return atOnce(len(variants), func(i int) error {
		v := variants[i]
		if err := os.RemoveAll(v.bundle()); err != nil {
			return fmt.Errorf("bundle %s: %w", v.entry, err)
		}
		cmd := exec.CommandContext(ctx, "npm", "run", "--silent", "wrangler", "--", "deploy", "test/bench/"+v.entry,
			"--config", "test/bench/wrangler.toml", "--dry-run", "--outdir", v.bundle())
		cmd.Env = append(cmd.Environ(), "WRANGLER_SEND_METRICS=false")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bundle %s: %w\n%s", v.entry, err, output)
		}
		return nil
	})
}

// atOnce calls do with 0 to n−1, all at the same time, and joins the errors.
func atOnce(n int, do func(i int) error) error {
	var running sync.WaitGroup
	failures := make([]error, n)
	for i := range n {
		running.Go(func() { failures[i] = do(i) })
	}
	running.Wait()
	return errors.Join(failures...)
}
