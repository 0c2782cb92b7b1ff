// Command upstream runs the stand-in upstream. Once it listens it prints one line of JSON, {"url":…,"control":…,"pid":…},
// and goes on until SIGTERM, SIGINT or the end of its standard input.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"perch/test/upstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "`address` to listen on; port 0 takes a free one")
	catalog := flags.String("catalog", "", "JSON `file` that says what to serve (default: two versions each of acme/flux and acme/chat)")
	seed := flags.Uint64("seed", 1, "seed of latencies, failures and ids")
	scale := flags.Float64("scale", 1, "Replicate's seconds per local second; latencies are not scaled")
	base := flags.String("base-url", "", "what URLs in answers begin with (default: the request's host)")
	streams := flags.String("stream-url", "", "what URLs of streams begin with (default: as base-url)")
	pages := flags.Int("page-size", 0, "entries on a `page` of a list (default 100)")
	insecure := flags.Bool("http-webhooks", false, "accept webhooks without TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := readCatalog(*catalog)
	if err != nil {
		return err
	}
	server, err := upstream.New(upstream.Options{
		Catalog: c, Seed: *seed, Scale: *scale, BaseURL: *base, StreamURL: *streams, PageSize: *pages, AllowHTTPWebhooks: *insecure,
	})
	if err != nil {
		return err
	}
	if err := server.Start(*addr); err != nil {
		return err
	}
	ready := map[string]any{"url": server.URL(), "control": server.URL() + "/_upstream", "pid": os.Getpid()}
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return err
	}
	awaitEnd(ctx, stdin)
	return server.Close()
}

// awaitEnd returns when ctx or stdin ends.
func awaitEnd(ctx context.Context, stdin io.Reader) {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, stdin)
		close(ended)
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	}
}

func readCatalog(file string) (upstream.Catalog, error) {
	if file == "" {
		return upstream.DemoCatalog(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return upstream.Catalog{}, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	var c upstream.Catalog
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("read catalog %s: %w", file, err)
	}
	return c, nil
}
