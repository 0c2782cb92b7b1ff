package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// trapUser is whose requests trap in a core that was built with trapTag.
const (
	trapUser = "perch-trap"
	trapTag  = "perch_trap"
	built    = ".build/worker"
)

// trapBundle copies the worker that was built, with a core that traps, into a new directory.
func trapBundle(ctx context.Context) (string, error) {
	files, err := filepath.Glob(built + "/*")
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds nothing: run make bundle", built)
	}
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "perch-soak-")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		to := filepath.Join(dir, filepath.Base(file))
		if strings.HasSuffix(file, ".wasm") {
			err = buildTrapCore(ctx, to)
		} else {
			err = copyFile(file, to)
		}
		if err != nil {
			return dir, err
		}
	}
	return dir, nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

func buildTrapCore(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", trapTag, "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", to, "./worker")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build core that traps: %w\n%s", err, out)
	}
	return nil
}
