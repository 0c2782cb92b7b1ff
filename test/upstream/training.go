package upstream

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// training makes a prediction a training: it runs on a version, takes as long, may fail and has webhooks as
// predictions do, and has a version of its destination as output.
type training struct {
	destination string // owner/name
}

type trainingJSON struct {
	ID          string             `json:"id"`
	Model       string             `json:"model"`
	Version     string             `json:"version"`
	Input       json.RawMessage    `json:"input"`
	Logs        string             `json:"logs"`
	Output      *trainedJSON       `json:"output,omitempty"`
	Error       *string            `json:"error"`
	Source      string             `json:"source"`
	Status      string             `json:"status"`
	CreatedAt   string             `json:"created_at"`
	StartedAt   string             `json:"started_at,omitempty"`
	CompletedAt string             `json:"completed_at,omitempty"`
	URLs        trainingURLs       `json:"urls"`
	Webhook     string             `json:"webhook,omitempty"`
	Metrics     *predictionMetrics `json:"metrics,omitempty"`
}

type trainingURLs struct {
	Cancel string `json:"cancel"`
	Get    string `json:"get"`
	Web    string `json:"web"`
}

type trainedJSON struct {
	Version string `json:"version"`
	Weights string `json:"weights"`
}

func (p *prediction) readTraining(now time.Time, origin string, keep time.Duration) trainingJSON {
	j := p.read(now, origin, keep)
	t := trainingJSON{
		ID: j.ID, Model: j.Model, Version: j.Version, Input: j.Input, Logs: j.Logs, Error: j.Error, Source: j.Source,
		Status: j.Status, CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, CompletedAt: j.CompletedAt, Webhook: j.Webhook,
		Metrics: j.Metrics,
		URLs: trainingURLs{
			Cancel: origin + "/v1/trainings/" + p.id + "/cancel", Get: origin + "/v1/trainings/" + p.id, Web: j.URLs.Web,
		},
	}
	if j.Status == statusSucceeded && !j.DataRemoved {
		t.Output = &trainedJSON{
			Version: p.training.destination + ":" + VersionID("training", p.id),
			Weights: "https://replicate.delivery/trainings/" + p.id + "/weights.tar",
		}
	}
	return t
}

type trainingBody struct {
	Destination string          `json:"destination"`
	Input       json.RawMessage `json:"input"`
	Webhook     string          `json:"webhook"`
	Events      []string        `json:"webhook_events_filter"`
}

func (s *Server) createTraining(x *exchange) {
	v := s.findVersion(x)
	if v == nil {
		return
	}
	body, bad := decodeBody[trainingBody](x, "destination", "input")
	if bad == nil {
		bad = s.checkTraining(body)
	}
	if bad != nil {
		x.fail(bad)
		return
	}
	f := v.draw(x.r.Header.Get("x-user-id"))
	if f.outcome == outcomeReset {
		x.reset()
	}
	if bad := f.refusal(); bad != nil {
		x.fail(bad)
		return
	}
	p := &prediction{
		version: v, shown: v.ID, input: body.Input, created: x.now, changed: make(chan struct{}), origin: s.origin(x.r),
		webhook: webhook{url: body.Webhook, events: body.Events}, training: &training{body.Destination},
	}
	p.plan(f)
	s.trainings.add(p)
	s.tell(p)
	x.note(func(e *Entry) { e.Prediction = p.id })
	beforeItBegins := p.created.Add(-1)
	x.answer(http.StatusCreated, p.readTraining(beforeItBegins, p.origin, s.scaled(dataKept)))
}

func (s *Server) checkTraining(body trainingBody) *problem {
	var input map[string]json.RawMessage
	if json.Unmarshal(body.Input, &input) != nil || input == nil {
		return invalidInput("- input: Invalid type. Expected: object")
	}
	if owner, _, _ := strings.Cut(body.Destination, "/"); owner != account.Username || s.catalog.model(body.Destination) == nil {
		return invalidInput("- destination: must be an existing model that you own")
	}
	events := encode(body.Events)
	if message := checkField("webhook_events_filter", events, false); message != "" {
		return invalidInput("- " + message)
	}
	return s.checkWebhook(body.Webhook)
}

func (s *Server) listTrainings(x *exchange) {
	paginate(s, x, s.trainings.between(time.Time{}, time.Time{}), (*prediction).key, func(p *prediction) trainingJSON {
		return p.readTraining(x.now, s.origin(x.r), s.scaled(dataKept))
	})
}

func (s *Server) getTraining(x *exchange) {
	if p := s.findTraining(x); p != nil {
		x.answer(http.StatusOK, p.readTraining(x.now, s.origin(x.r), s.scaled(dataKept)))
	}
}

func (s *Server) cancelTraining(x *exchange) {
	if p := s.findTraining(x); p != nil {
		p.cancel(x.now)
		x.answer(http.StatusOK, p.readTraining(x.now, s.origin(x.r), s.scaled(dataKept)))
	}
}

// findTraining answers 404 itself where there is none.
func (s *Server) findTraining(x *exchange) *prediction {
	p := s.trainings.get(x.r.PathValue("training"))
	if p == nil {
		x.fail(problemNotFound)
		return nil
	}
	x.note(func(e *Entry) { e.Prediction, e.Version, e.Model = p.id, p.version.ID, p.version.Model })
	return p
}
