package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
)

// orchestrator is the real command against a world.
type orchestrator struct {
	*world
	directory string // of policy files; a temporary one
}

func newOrchestrator(w *world) (*orchestrator, error) {
	directory, err := os.MkdirTemp("", "perch-soak-")
	return &orchestrator{w, directory}, err
}

func (x *orchestrator) close() { os.RemoveAll(x.directory) }

// run runs a command under a policy, in YAML, and returns what it printed.
func (x *orchestrator) run(ctx context.Context, policy string, args ...string) (string, error) {
	file := filepath.Join(x.directory, "policy.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, ".build/orchestrator", args...)
	cmd.Env = append(os.Environ(),
		"CLOUDFLARE_BASE_URL="+x.stack.API, "CLOUDFLARE_ACCOUNT_ID="+x.stack.Account, "CLOUDFLARE_API_TOKEN="+x.stack.Token,
		"PERCH_NAMESPACE_ID="+x.stack.Namespace, "PERCH_DATASET="+x.stack.Dataset, "PERCH_WORKER_URL="+x.stack.Places[0].URL,
		"PERCH_SEAL_KEY="+sealKey.Text(), "REPLICATE_API_TOKEN="+token, "REPLICATE_BASE_URL="+x.upstream.URL()+"/v1",
		"PERCH_POLICY="+file, "GITHUB_STEP_SUMMARY=", "GITHUB_OUTPUT=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run orchestrator %v: %w\n%s%s", args, err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// judged is what the judge counts of one variant since the step began.
type judged struct {
	Requests, Errors float64
	Open             float64 // of the canary alone
}

// judge asks the judge's own queries, by arm.
func (x *orchestrator) judge(ctx context.Context, policy, service string) (map[string]judged, error) {
	printed, err := x.run(ctx, policy, "status", "--json", service)
	if err != nil {
		return nil, err
	}
	var status struct {
		Verdict struct {
			Problem string
			Open    float64
			Metrics []struct {
				Metric string
				Window struct {
					Canary, Stable float64
					CanaryRows     float64 `json:"canary_rows"`
					StableRows     float64 `json:"stable_rows"`
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(printed), &status); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	v := status.Verdict
	if v.Problem != "" {
		return nil, fmt.Errorf("judge %s: %s", service, v.Problem)
	}
	found := map[string]judged{}
	for _, m := range v.Metrics {
		if n := m.Window; m.Metric == "errors" {
			found["canary"] = judged{n.CanaryRows, math.Round(n.Canary * n.CanaryRows), v.Open}
			found["stable"] = judged{Requests: n.StableRows, Errors: math.Round(n.Stable * n.StableRows)}
		}
	}
	return found, nil
}
