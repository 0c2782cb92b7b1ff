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
)

// judged asks analytics and judges the state once.
func (x *session) judged(ctx context.Context, s rollout.State) (judge.Verdict, judge.Evidence, error) {
	method, err := s.Policy.Judge()
	if err != nil {
		return judge.Verdict{}, judge.Evidence{}, err
	}
	now := x.app.clock.Now()
	step := judge.Step{BasisPoints: s.Document.BasisPoints, Since: s.StepSince, Bake: time.Duration(s.Policy.StepAt(s.Document.BasisPoints).Bake)}
	if s.Phase == rollout.Running {
		step.Deadline = s.Deadline
	}
	evidence := x.evidence(ctx, s, step, now)
	rollback, promote := s.Policy.FormerLimits(s.Document.BasisPoints)
	return method.Judge(judge.Input{
		Now: now, Lag: time.Duration(s.Policy.Lag), Step: step, MinRequests: s.Policy.MinRequests,
		Rollback: rollback, Promote: promote, Evidence: evidence,
	}), evidence, ctx.Err()
}

// evidence measures both windows. That nothing was written yet is no problem,
// but no data.
func (x *session) evidence(ctx context.Context, s rollout.State, step judge.Step, now time.Time) judge.Evidence {
	recent, whole := judge.Spans(now, step, time.Duration(s.Policy.Window), time.Duration(s.Policy.Lag))
	e := judge.Evidence{Recent: judge.Window{Span: recent}, Step: judge.Window{Span: whole}}
	for _, w := range []*judge.Window{&e.Recent, &e.Step} {
		if err := x.measure(ctx, w, s); err != nil {
			e.Problem = err.Error()
			return e
		}
	}
	return e
}

// measure fills in a window's arms. Requests that made no prediction and
// predictions are counted apart, as a prediction ends in its own time.
func (x *session) measure(ctx context.Context, w *judge.Window, s rollout.State) error {
	from, to := wholeSeconds(w.Span)
	if from >= to {
		return nil
	}
	u := units{
		dataset: x.settings.cloudflare.Dataset, service: x.service.String(), rollout: s.ID(), from: from, to: to,
		began: min(from, s.StartedAt.Unix()) - clockSlack,
	}
	if strings.ContainsAny(u.service+u.rollout, `'\`) {
		return fmt.Errorf("query analytics: rollout id %q holds a quote", u.rollout)
	}
	for _, part := range []struct {
		sql  string
		read func(cloudflare.Row, *judge.Arm) error
	}{{u.requestsQuery(), addRequests}, {u.predictionsQuery(), addPredictions}} {
		if err := x.addUnits(ctx, w, part.sql, part.read); err != nil {
			return err
		}
	}
	return nil
}

func (x *session) addUnits(ctx context.Context, w *judge.Window, sql string, add func(cloudflare.Row, *judge.Arm) error) error {
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
		arm := map[string]*judge.Arm{document.Canary: &w.Canary, document.Stable: &w.Stable}[variant]
		if arm == nil {
			continue
		}
		if err := add(row, arm); err != nil {
			return err
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
