package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/test/upstream"
)

func TestRunServesUntilItsInputEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.json")
	catalog, err := json.Marshal(upstream.DemoCatalog())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, catalog, 0o600))
	stdin, hold := io.Pipe()
	read, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), []string{"-catalog", file, "-seed", "7"}, stdin, stdout, io.Discard) }()

	line, err := bufio.NewReader(read).ReadBytes('\n')
	require.NoError(t, err)
	var ready struct {
		URL, Control string
		PID          int
	}
	require.NoError(t, json.Unmarshal(line, &ready))
	require.Equal(t, os.Getpid(), ready.PID)
	answer, err := http.Get(ready.Control + "/health")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, 200, answer.StatusCode)

	require.NoError(t, hold.Close())
	require.NoError(t, <-ended)
	_, err = http.Get(ready.Control + "/health")
	require.ErrorContains(t, err, "connection refused")
}

func TestRunRefuses(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte(`{"models":[{"nmae":"acme/flux"}]}`), 0o600))
	tests := []struct {
		name, want string
		args       []string
	}{
		{"unknown flag", "flag provided but not defined: -nothing", []string{"-nothing"}},
		{"catalog missing", "no such file", []string{"-catalog", filepath.Join(t.TempDir(), "none.json")}},
		{"catalog broken", `read catalog ` + broken + `: json: unknown field "nmae"`, []string{"-catalog", broken}},
		{"scale", "make upstream: scale is -1, use more than 0", []string{"-scale", "-1"}},
		{"address", "start upstream: listen tcp: lookup", []string{"-addr", "127.0.0.1:http-nothing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(context.Background(), tt.args, bytes.NewReader(nil), &stdout, io.Discard)
			require.ErrorContains(t, err, tt.want)
			require.Empty(t, stdout.String())
		})
	}
}
