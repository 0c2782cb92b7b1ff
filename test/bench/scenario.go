package main

import (
	"net/http"
	"strings"
)

// scenario is a kind of request, with what routes it.
type scenario struct {
	name   string
	title  string
	method string
	path   string
	body   string
	header map[string]string              // beside those that all have
	vary   func(r *http.Request, n int64) // makes request number n another than the others
	kv     map[string]any                 // keys and values, as JSON
	// unrouted requests have no point, though their answer may name a variant; those that end have one of a prediction's.
	unrouted, ends bool
	// stable and canary are what the upstream sees of a request to each side.
	stable, canary seen
}

const (
	percentage = 50 // the canary's: both sides cost alike
	prompt     = "an astronaut riding a rainbow unicorn, cinematic, dramatic"
)

var (
	stableID = strings.Repeat("5c7d", 16)
	canaryID = strings.Repeat("91ab", 16)
)

// scenarios are the three that are measured, for an upstream at url.
func scenarios(url string) []scenario {
	input := `{"input":{"prompt":"` + prompt + `","num_outputs":1,"aspect_ratio":"16:9","output_format":"webp",` +
		`"guidance":3.5,"seed":12345,"loras":[{"path":"acme/style","scale":0.8}]}`
	return []scenario{
		{
			name: "model", title: "POST …/models/acme/flux/predictions, bodies untouched",
			method: "POST", path: "/v1/models/acme/flux/predictions", body: input + "}",
			ends: true,
			kv: rollout("model:acme/flux",
				target{Model: "acme/flux"}, target{Deployment: "acme/flux-next"}),
			stable: seen{Path: "/v1/models/acme/flux/predictions", Prompt: prompt},
			canary: seen{Path: "/v1/deployments/acme/flux-next/predictions", Prompt: prompt},
		},
		{
			name: "version", title: "POST /v1/predictions, version found and replaced",
			method: "POST", path: "/v1/predictions", body: input + `,"version":"` + stableID + `"}`,
			ends: true,
			kv: with(rollout("model:acme/sdxl",
				target{Version: "acme/sdxl:" + stableID}, target{Version: "acme/sdxl:" + canaryID}),
				"alias:version:"+stableID, map[string]string{"service": "model:acme/sdxl", "variant": "stable"}),
			stable: seen{Path: "/v1/predictions", Prompt: prompt, Version: stableID},
			canary: seen{Path: "/v1/predictions", Prompt: prompt, Version: canaryID},
		},
		{
			name: "http", title: "GET of an http service",
			method: "GET", path: "/qwen/v1/models",
			kv: rollout("http:qwen",
				target{URL: url + "/stable"}, target{URL: url + "/canary"}),
			stable: seen{Path: "/stable/v1/models"},
			canary: seen{Path: "/canary/v1/models"},
		},
	}
}

type target struct {
	Version    string `json:"version,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	Model      string `json:"model,omitempty"`
	URL        string `json:"url,omitempty"`
}

const rolloutID = "2026-11-20-a"

func rollout(service string, stable, canary target) map[string]any {
	return map[string]any{"rollout:" + strings.ReplaceAll(service, "/", ":"): map[string]any{
		"schema": 1, "service": service, "rollout": rolloutID, "generation": 7, "mode": "canary",
		"percentage": percentage, "salt": rolloutID, "targets": map[string]target{"stable": stable, "canary": canary},
	}}
}

func with(kv map[string]any, key string, value any) map[string]any {
	kv[key] = value
	return kv
}
