package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/shared/telemetry"
)

// judged asks analytics and judges the state once.
func (x *session) judged(ctx context.Context, s rollout.State) (judge.Verdict, judge.Evidence, error) {
	method, err := s.Policy.Judge()
	if err != nil {
		return judge.Verdict{}, judge.Evidence{}, err
	}
	now := x.app.clock.Now()
	step := judge.Step{BasisPoints: s.Document.BasisPoints, Since: s.StepSince, Bake: time.Duration(s.Policy.Bake)}
	if s.Phase == rollout.Running {
		step.Deadline = s.Deadline
	}
	evidence := x.evidence(ctx, s, step, now)
	return method.Judge(judge.Input{
		Now: now, Lag: time.Duration(s.Policy.Lag), Step: step, MinRequests: s.Policy.MinRequests,
		Rollback: s.Policy.Rollback, Promote: s.Policy.Promote, Evidence: evidence, Memory: s.Memory,
	}), evidence, ctx.Err()
}

// evidence measures both windows. That nothing was written yet is no problem,
// but no data.
func (x *session) evidence(ctx context.Context, s rollout.State, step judge.Step, now time.Time) judge.Evidence {
	recent, whole := judge.Spans(now, step, time.Duration(s.Policy.Window), time.Duration(s.Policy.Lag))
	e := judge.Evidence{Recent: judge.Window{Span: recent}, Step: judge.Window{Span: whole}}
	for _, w := range []*judge.Window{&e.Recent, &e.Step} {
		if err := x.measure(ctx, w, s.ID()); err != nil {
			e.Problem = err.Error()
			return e
		}
	}
	return e
}

func (x *session) measure(ctx context.Context, w *judge.Window, id string) error {
	from, to := wholeSeconds(w.Span)
	if from >= to {
		return nil
	}
	sql, err := armsQuery(x.settings.cloudflare.Dataset, x.service.String(), id, from, to)
	if err != nil {
		return err
	}
	rows, err := x.source.Query(ctx, sql)
	if errors.Is(err, cloudflare.ErrNoData) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, row := range rows {
		variant, err := row.Text("variant")
		if err != nil {
			return err
		}
		arm, err := readArm(row)
		if err != nil {
			return err
		}
		switch variant {
		case document.Canary:
			w.Canary = arm
		case document.Stable:
			w.Stable = arm
		}
	}
	return nil
}

// wholeSeconds returns the seconds that lie wholly within a span: timestamps of
// Analytics Engine have no finer part.
func wholeSeconds(s judge.Span) (from, to int64) {
	from, to = s.From.Unix(), s.To.Unix()
	if s.From.Nanosecond() > 0 {
		from++
	}
	return from, to
}

// armsQuery asks for both variants' numbers, of the users that the percentage
// assigned, in the seconds from ≤ t < to.
func armsQuery(dataset, service, id string, from, to int64) (string, error) {
	if strings.ContainsAny(service+id, `'\`) {
		return "", fmt.Errorf("query analytics: rollout id %q holds a quote", id)
	}
	ok := fmt.Sprintf("%s = '%s'", telemetry.Outcome, telemetry.OutcomeOK)
	quantile := func(q string) string {
		return fmt.Sprintf("quantileExactWeighted(%s)(%s, if(%s, %s, 0))", q, telemetry.FirstByteMS, ok, telemetry.SampleInterval)
	}
	return fmt.Sprintf(`SELECT %s AS variant, count() AS total_rows, countIf(%s) AS ok_rows, sum(%s) AS requests, `+
		`sumIf(%s, %s = '%s') AS errors, %s AS p50, %s AS p95 FROM %s `+
		`WHERE %s = '%s' AND %s = '%s' AND %s = '%s' AND %s = '%s' AND %s != '%s' `+
		`AND timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) GROUP BY variant`,
		telemetry.Variant, ok, telemetry.SampleInterval,
		telemetry.SampleInterval, telemetry.Outcome, telemetry.OutcomeError, quantile("0.5"), quantile("0.95"), dataset,
		telemetry.Service, service, telemetry.Rollout, id, telemetry.Kind, telemetry.KindRequest,
		telemetry.Reason, telemetry.ReasonPercentage, telemetry.Outcome, telemetry.OutcomeExcluded,
		from, to), nil
}

func readArm(row cloudflare.Row) (judge.Arm, error) {
	var a judge.Arm
	var rows, okRows float64
	for _, column := range []struct {
		name string
		into *float64
	}{{"total_rows", &rows}, {"ok_rows", &okRows}, {"requests", &a.Requests}, {"errors", &a.Errors}, {"p50", &a.P50MS}, {"p95", &a.P95MS}} {
		value, err := row.Float(column.name)
		if err != nil {
			return a, err
		}
		*column.into = value
	}
	a.Rows, a.OKRows = int64(rows), int64(okRows)
	if a.OKRows == 0 { // quantiles of nothing
		a.P50MS, a.P95MS = 0, 0
	}
	return a, nil
}
