package command

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/replicate"
	"perch/orchestrator/report"
	"perch/shared/telemetry"
)

var (
	isTrace      = regexp.MustCompile(`^[0-9a-f]{32}$`)
	isPrediction = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)
)

func (a *app) traceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "show what happened to a request or a prediction", ArgsUsage: "ID", Category: "see",
		Description: "ID is a trace, 32 hexadecimal digits as in the answer's x-perch-trace, or a prediction's id. Shows\n" +
			"every point of it and, with REPLICATE_API_TOKEN, the predictions' status, error and logs from\n" +
			"Replicate (or REPLICATE_BASE_URL), which keeps them for an hour.\n\nExample:\n  orchestrator trace 0af7651916cd43dd8448eb211c80319c",
		Action: func(c *cli.Context) error {
			if err := refuseStrayArguments(c, 1); err != nil {
				return err
			}
			// Under a held token clients know a prediction by id and seal.
			id, _, _ := strings.Cut(c.Args().First(), "~")
			if !isPrediction.MatchString(id) {
				return invalid("give 32 hexadecimal digits, or a prediction's id", "%q is no id of a trace or a prediction", c.Args().First())
			}
			s, err := a.settings(c)
			if err != nil {
				return err
			}
			t, err := a.trace(c.Context, s, id)
			if err != nil {
				return err
			}
			if s.json {
				return a.printJSON(t)
			}
			report.WriteTrace(a.stdout, t)
			return nil
		},
	}
}

// trace gathers what is known of an id.
func (a *app) trace(ctx context.Context, s settings, id string) (report.Trace, error) {
	if err := s.requireAccount(false); err != nil {
		return report.Trace{}, err
	}
	if err := s.requireDataset(); err != nil {
		return report.Trace{}, err
	}
	_, source := a.connect(s.cloudflare)
	t := report.Trace{ID: id, Kind: "prediction"}
	column := telemetry.Prediction
	if isTrace.MatchString(id) {
		t.Kind, column = "trace", telemetry.Trace
	}
	var err error
	if t.Points, err = points(ctx, source, s.cloudflare.Dataset, column, id); err != nil {
		return t, err
	}
	ids := predictionsOf(t)
	if t.Kind == "trace" && len(ids) > 0 { // their ends may have been seen in other traces
		more, err := points(ctx, source, s.cloudflare.Dataset, telemetry.Prediction, ids...)
		if err != nil {
			return t, err
		}
		t.Points = merged(t.Points, more)
	}
	t.Predictions = a.predictions(ctx, ids)
	known := slices.ContainsFunc(t.Predictions, func(p report.TracedPrediction) bool { return p.Prediction != nil })
	if len(t.Points) == 0 && !known {
		hint := "points can be seen about a minute after the request, and for three months"
		if len(t.Predictions) > 0 {
			hint = strings.TrimSuffix(t.Predictions[0].Problem, ".") + "; " + hint
		}
		return t, &failure{code: exitError, err: fmt.Errorf("nothing is known of %s %s", t.Kind, id), hint: hint}
	}
	return t, nil
}

// predictionsOf lists the predictions that a trace is about, each once.
func predictionsOf(t report.Trace) []string {
	var ids []string
	if t.Kind == "prediction" {
		ids = append(ids, t.ID)
	}
	for _, p := range t.Points {
		if p.Prediction != "" && !slices.Contains(ids, p.Prediction) {
			ids = append(ids, p.Prediction)
		}
	}
	return ids
}

// points reads those of one or several ids, in the order of their times.
func points(ctx context.Context, source Source, dataset string, column telemetry.Column, ids ...string) ([]report.Point, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !isPrediction.MatchString(id) })
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := source.Query(ctx, fmt.Sprintf("SELECT toUnixTimestamp(timestamp) AS at, %s FROM %s WHERE %s IN ('%s') AND timestamp > now() - INTERVAL '90' DAY ORDER BY at LIMIT 1000",
		strings.Join(report.PointColumns(), ", "), dataset, column, strings.Join(ids, "', '")))
	if errors.Is(err, cloudflare.ErrNoData) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]report.Point, len(rows))
	for i, row := range rows {
		seconds, err := row.Float("at")
		if err != nil {
			return nil, err
		}
		list[i].Time = time.Unix(int64(seconds), 0).UTC()
		if err := list[i].Read(row.Text, row.Float); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// merged adds to points those that are not among them.
func merged(points, more []report.Point) []report.Point {
	for _, p := range more {
		if !slices.Contains(points, p) {
			points = append(points, p)
		}
	}
	slices.SortStableFunc(points, func(a, b report.Point) int { return a.Time.Compare(b.Time) })
	return points
}

// predictionsMost is how many predictions of a trace Replicate is asked about.
const predictionsMost = 10

// predictions asks Replicate. What fails is said in its place.
func (a *app) predictions(ctx context.Context, ids []string) []report.TracedPrediction {
	client := replicate.New(replicate.Config{BaseURL: a.env["REPLICATE_BASE_URL"], Token: a.env["REPLICATE_API_TOKEN"]})
	list := make([]report.TracedPrediction, len(ids))
	for i, id := range ids {
		list[i].ID = id
		switch {
		case a.env["REPLICATE_API_TOKEN"] == "":
			list[i].Problem = "set REPLICATE_API_TOKEN to see its status and logs"
		case i >= predictionsMost:
			list[i].Problem = "not asked about: the trace has many"
		default:
			p, err := client.Prediction(ctx, id, nil)
			if err != nil {
				list[i].Problem = err.Error()
				continue
			}
			list[i].Prediction = &p
		}
	}
	return list
}
