package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/replicate"
	"perch/shared/telemetry"
)

// Trace is what is known of a request or a prediction.
type Trace struct {
	ID          string             `json:"id"`
	Kind        string             `json:"kind"` // "trace" or "prediction"
	Points      []Point            `json:"points"`
	Predictions []TracedPrediction `json:"predictions,omitempty"`
}

// TracedPrediction is what Replicate says of a prediction, or why nothing is known.
type TracedPrediction struct {
	ID         string                `json:"id"`
	Prediction *replicate.Prediction `json:"prediction,omitempty"`
	Problem    string                `json:"problem,omitempty"`
}

// Point is one analytics point. Times are in milliseconds, 0 where unknown.
type Point struct {
	Time            time.Time `json:"time"` // of its writing, to the second
	Kind            string    `json:"kind"`
	Service         string    `json:"service"`
	Rollout         string    `json:"rollout"`
	Generation      float64   `json:"generation,omitempty"`
	Variant         string    `json:"variant"`
	ServedBy        string    `json:"served_by"`
	Reason          string    `json:"reason"`
	Outcome         string    `json:"outcome"`
	ErrorClass      string    `json:"error_class,omitempty"`
	Status          float64   `json:"status,omitempty"`
	Prediction      string    `json:"prediction,omitempty"`
	Ended           string    `json:"ended,omitempty"`
	Trace           string    `json:"trace"`
	User            string    `json:"user,omitempty"`
	Colo            string    `json:"colo,omitempty"`
	Country         string    `json:"country,omitempty"`
	FirstByteMS     float64   `json:"first_byte_ms,omitempty"`
	DurationMS      float64   `json:"duration_ms,omitempty"`
	QueueMS         float64   `json:"queue_ms,omitempty"`
	PredictMS       float64   `json:"predict_ms,omitempty"`
	TotalMS         float64   `json:"total_ms,omitempty"`
	FirstTokenMS    float64   `json:"first_token_ms,omitempty"`
	EventsPerSecond float64   `json:"events_per_second,omitempty"`
	Score           float64   `json:"score,omitempty"` // of a rating, 0 to 1, 1 is best
}

// texts and numbers tell where a point's fields stand in Analytics Engine.
func (p *Point) texts() map[telemetry.Column]*string {
	return map[telemetry.Column]*string{
		telemetry.Kind: &p.Kind, telemetry.Service: &p.Service, telemetry.Rollout: &p.Rollout, telemetry.Variant: &p.Variant,
		telemetry.ServedBy: &p.ServedBy, telemetry.Reason: &p.Reason, telemetry.Outcome: &p.Outcome, telemetry.ErrorClass: &p.ErrorClass,
		telemetry.Prediction: &p.Prediction, telemetry.Ended: &p.Ended, telemetry.Trace: &p.Trace, telemetry.User: &p.User,
		telemetry.Colo: &p.Colo, telemetry.Country: &p.Country,
	}
}

func (p *Point) numbers() map[telemetry.Column]*float64 {
	return map[telemetry.Column]*float64{
		telemetry.Generation: &p.Generation, telemetry.Status: &p.Status, telemetry.FirstByteMS: &p.FirstByteMS, telemetry.DurationMS: &p.DurationMS,
		telemetry.QueueMS: &p.QueueMS, telemetry.PredictMS: &p.PredictMS, telemetry.TotalMS: &p.TotalMS,
		telemetry.FirstTokenMS: &p.FirstTokenMS, telemetry.EventsPerSecond: &p.EventsPerSecond,
		telemetry.Score: &p.Score,
	}
}

// PointColumns are the columns that Read reads.
func PointColumns() []string {
	var columns []string
	var p Point
	for i := 1; i <= 20; i++ {
		text, number := telemetry.Column(fmt.Sprintf("blob%d", i)), telemetry.Column(fmt.Sprintf("double%d", i))
		if p.texts()[text] != nil {
			columns = append(columns, string(text))
		}
		if p.numbers()[number] != nil {
			columns = append(columns, string(number))
		}
	}
	return columns
}

// Read fills a point from a row's columns.
func (p *Point) Read(text func(string) (string, error), number func(string) (float64, error)) (err error) {
	for column, into := range p.texts() {
		if *into, err = text(string(column)); err != nil {
			return err
		}
	}
	for column, into := range p.numbers() {
		if *into, err = number(string(column)); err != nil {
			return err
		}
	}
	return nil
}

// WriteTrace writes a timeline, and what Replicate says.
func WriteTrace(w io.Writer, t Trace) {
	fmt.Fprintf(w, "%s %s\n", t.Kind, t.ID)
	for _, name := range distinct(t.Points, func(p Point) string { return p.Service + "  rollout " + p.Rollout }) {
		fmt.Fprintf(w, "  %s\n", name)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range t.Points {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", moment(p.Time), p.Kind, p.who(), p.what(), p.times())
	}
	_ = table.Flush()
	for _, traced := range t.Predictions {
		writePrediction(w, traced)
	}
}

func distinct(points []Point, name func(Point) string) []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range points {
		if n := name(p); !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}

// who says which variant a point is of, and who answered in its place.
func (p Point) who() string {
	who := p.Variant + " (" + dash(p.Reason) + ")"
	if p.ServedBy != p.Variant && p.ServedBy != "" {
		who += ", served by " + p.ServedBy
	}
	return who
}

// what says what became of it.
func (p Point) what() string {
	var parts []string
	if p.Kind == telemetry.KindFeedback {
		parts = append(parts, fmt.Sprintf("score %.3g", p.Score))
	} else {
		parts = append(parts, p.Outcome)
	}
	if p.ErrorClass != "" {
		parts[0] += ": " + p.ErrorClass
	}
	if p.Kind == telemetry.KindRequest {
		parts = append(parts, fmt.Sprintf("status %.0f", p.Status))
	}
	if p.Prediction != "" {
		parts = append(parts, strings.TrimSpace("prediction "+p.Prediction+" "+p.Ended))
	}
	return strings.TrimSpace(strings.Join(parts, ", "))
}

func (p Point) times() string {
	var parts []string
	for _, t := range []struct {
		name string
		ms   float64
	}{
		{"first byte", p.FirstByteMS}, {"first token", p.FirstTokenMS}, {"last byte", p.DurationMS},
		{"queue", p.QueueMS}, {"predict", p.PredictMS}, {"total", p.TotalMS},
	} {
		if t.ms > 0 {
			parts = append(parts, t.name+" "+judge.FormatMetric(judge.LatencyP95, t.ms))
		}
	}
	if p.EventsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.3g events/s", p.EventsPerSecond))
	}
	return strings.Join(parts, ", ")
}

func writePrediction(w io.Writer, traced TracedPrediction) {
	p := traced.Prediction
	if p == nil {
		fmt.Fprintf(w, "\nprediction %s at Replicate: %s\n", traced.ID, traced.Problem)
		return
	}
	fmt.Fprintf(w, "\nprediction %s at Replicate: %s\n", traced.ID, p.Status)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-10s  %s\n", name, value)
		}
	}
	line("model", p.Model)
	line("version", p.Version)
	line("deployment", p.Deployment)
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"created", p.CreatedAt}, {"started", p.StartedAt}, {"completed", p.CompletedAt}} {
		if !t.at.IsZero() {
			line(t.name, t.at.UTC().Format("2006-01-02 15:04:05.000 UTC"))
		}
	}
	line("error", harmless(string(p.Error)))
	if p.DataRemoved {
		line("logs", "removed, as is all data an hour after a prediction")
	}
	if logs := strings.TrimRight(harmless(string(p.Logs)), "\n"); logs != "" {
		fmt.Fprintf(w, "  logs\n    %s\n", strings.ReplaceAll(logs, "\n", "\n    "))
	}
}
