package upstream

import (
	"cmp"
	"encoding/json"
	"math"
	"time"
)

// predictionJSON is a prediction as the API shows it.
type predictionJSON struct {
	ID          string             `json:"id"`
	Model       string             `json:"model"`
	Version     string             `json:"version"`
	Deployment  string             `json:"deployment,omitempty"`
	Input       json.RawMessage    `json:"input"`
	Logs        string             `json:"logs"`
	Output      json.RawMessage    `json:"output,omitempty"`
	DataRemoved bool               `json:"data_removed"`
	Error       *string            `json:"error"`
	Source      string             `json:"source"`
	Status      string             `json:"status"`
	CreatedAt   string             `json:"created_at"`
	StartedAt   string             `json:"started_at,omitempty"`
	CompletedAt string             `json:"completed_at,omitempty"`
	Deadline    string             `json:"deadline,omitempty"`
	URLs        predictionURLs     `json:"urls"`
	Webhook     string             `json:"webhook,omitempty"`
	Metrics     *predictionMetrics `json:"metrics,omitempty"`
}

type predictionURLs struct {
	Cancel string `json:"cancel"`
	Get    string `json:"get"`
	Stream string `json:"stream,omitempty"`
	Web    string `json:"web"`
}

// predictionMetrics are in seconds.
type predictionMetrics struct {
	PredictTime *float64 `json:"predict_time,omitempty"`
	TotalTime   float64  `json:"total_time"`
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e9) / 1e9 }

// read is p as a GET shows it. Data are removed at the given age after the end.
func (p *prediction) read(now time.Time, origin string, keep time.Duration) predictionJSON {
	j := p.base(origin)
	j.Status = p.statusAt(now)
	j.Output, j.Logs = p.outputAt(now), p.logsAt(now)
	ends, _, _ := p.end()
	started := !p.begins.After(now) && !p.begins.After(ends)
	if started {
		j.StartedAt = timestamp(p.begins)
	}
	if j.Status == statusStarting || j.Status == statusProcessing {
		return j
	}
	j.CompletedAt = timestamp(ends)
	j.Metrics = &predictionMetrics{TotalTime: seconds(ends.Sub(p.created))}
	if started {
		run := seconds(ends.Sub(p.begins))
		j.Metrics.PredictTime = &run
	}
	if j.Status == statusFailed {
		text := failureText
		j.Error = &text
	}
	if now.Sub(ends) >= keep {
		j.DataRemoved, j.Input, j.Output = true, json.RawMessage("{}"), json.RawMessage("null")
		j.Logs = ""
	}
	return j
}

// starting is p as a create shows it that did not wait to the end: no output property at all.
func (p *prediction) starting(origin string) predictionJSON {
	j := p.base(origin)
	j.Status = statusStarting
	return j
}

// synchronous is p, ended, as a create shows it that waited: a success still has the status processing and no metrics.
func (p *prediction) synchronous(now time.Time, origin string) predictionJSON {
	j := p.read(now, origin, math.MaxInt64)
	if j.Status == statusSucceeded {
		j.Status, j.CompletedAt, j.Metrics = statusProcessing, "", nil
	}
	return j
}

// show is p as its webhook sees it: as a GET shows it.
func (p *prediction) show(now time.Time, keep time.Duration) any {
	if p.training != nil {
		return p.readTraining(now, p.origin, keep)
	}
	return p.read(now, p.origin, keep)
}

// unfinished is p, all its output there, just before it is known to have ended.
func (p *prediction) unfinished(now time.Time) any {
	if p.training != nil {
		j := p.readTraining(now, p.origin, math.MaxInt64)
		j.Status, j.CompletedAt, j.Metrics = statusProcessing, "", nil
		return j
	}
	return p.synchronous(now, p.origin)
}

func (p *prediction) base(origin string) predictionJSON {
	j := predictionJSON{
		ID: p.id, Model: p.version.Model, Version: p.shown, Deployment: p.deployment, Input: p.input, Source: "api",
		CreatedAt: timestamp(p.created), Webhook: p.webhook.url,
		URLs: predictionURLs{
			Cancel: origin + mount(p.server) + "/predictions/" + p.id + "/cancel",
			Get:    origin + mount(p.server) + "/predictions/" + p.id,
			Web:    origin + "/p/" + p.id,
		},
	}
	if p.version.Streams {
		j.URLs.Stream = cmp.Or(p.streams, origin) + "/v1/streams/" + p.id + "-" + p.secret
	}
	if !p.deadline.IsZero() {
		j.Deadline = timestamp(p.deadline)
	}
	return j
}
