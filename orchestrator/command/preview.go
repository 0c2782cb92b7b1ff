package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/measure"
	"perch/orchestrator/plan"
	"perch/orchestrator/policy"
	"perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/shared/telemetry"
)

// preview says what a new rollout can be expected to show, and lays its steps
// where the policy leaves that to the traffic.
func (x *session) preview(ctx context.Context, n *rollout.New) (plan.Plan, error) {
	traffic, err := x.traffic(ctx, *n)
	if ctx.Err() != nil {
		return plan.Plan{}, ctx.Err()
	}
	if err == nil && traffic.Awaited > 0 {
		err = tooYoung(traffic.Awaited, n.Policy)
	}
	switch {
	case err != nil && n.Policy.Auto:
		return plan.Plan{}, refused("give them: start --steps 5,20,50,100", "steps cannot be laid without the traffic: %w", err)
	case err != nil:
		return plan.Unknown(n.Policy, err.Error()), nil
	case n.Policy.Auto:
		n.Policy, _ = plan.Lay(traffic, n.Policy)
		if err := checkSteps(n.Policy); err != nil {
			return plan.Plan{}, err
		}
	}
	return plan.For(traffic, n.Policy), nil
}

// tooYoung reports that a service has not served for a whole interval yet.
func tooYoung(awaited int64, p policy.Policy) error {
	seen := time.Unix(0, (awaited+1)*int64(p.Interval)+int64(p.Lag)).UTC()
	return fmt.Errorf("stable has served for less than a whole interval of %s: try again at %s UTC", p.Interval, seen.Add(59*time.Second).Format("15:04"))
}

// checkSteps refuses steps that do not go with the rest of the policy.
func checkSteps(p policy.Policy) error {
	problems := p.Validate()
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.String()
	}
	return invalid("change the policy or --steps", "steps do not go with the policy: %s", strings.Join(texts, "; "))
}

// previewUserShare is the part of users that the intervals tell apart; nothing
// here asks for them.
const previewUserShare = 1.0 / 4096

// traffic measures what stable served in the time before the rollout that the
// policy calls its history.
func (x *session) traffic(ctx context.Context, n rollout.New) (plan.Traffic, error) {
	now, p := x.app.clock.Now(), n.Policy
	interval := time.Duration(p.Interval)
	through := measure.Closed(now, time.Duration(p.Lag), interval)
	from := max(0, through+1-int64(p.History/p.Interval))
	// Up to now, though what has not closed is not counted: has it just begun?
	q := measure.Query{
		Dataset: x.settings.cloudflare.Dataset, Interval: interval, Expire: time.Duration(p.Expire), Through: measure.Closed(now, 0, interval) + 1, UserShare: previewUserShare,
		Subjects: []measure.Subject{{Service: x.service.String(), Rollout: n.Rollout, Began: now.Add(interval), From: from}},
	}
	measured, err := measure.Ask(q, func(sql string) ([]cloudflare.Row, error) { return x.rows(ctx, sql) })
	if err != nil {
		return plan.Traffic{}, err
	}
	t := plan.Observe(measured[x.service.String()], from, through, interval)
	rows, err := x.rows(ctx, crowdSQL(q.Dataset, x.service, from*int64(interval/time.Second), (through+1)*int64(interval/time.Second)))
	if err != nil {
		return plan.Traffic{}, err
	}
	err = readCrowd(rows, &t)
	return t, err
}

// rows asks analytics; that nothing was ever written is no rows.
func (x *session) rows(ctx context.Context, sql string) ([]cloudflare.Row, error) {
	rows, err := x.source.Query(ctx, sql)
	if errors.Is(err, cloudflare.ErrNoData) {
		return nil, nil
	}
	return rows, err
}

// crowdSQL asks how many users stable had in some seconds, and how many requests
// the one with the most made.
func crowdSQL(dataset string, service document.Service, from, to int64) string {
	return fmt.Sprintf("SELECT count() AS users, sum(made) AS requests, max(made) AS most FROM ("+
		"SELECT %s AS who, sum(%s) AS made FROM %s WHERE %s = '%s' AND %s = '%s' AND %s = '%s' AND %s IN ('%s', '%s', '%s') AND %s != '' "+
		"AND timestamp >= toDateTime(%d) AND timestamp < toDateTime(%d) GROUP BY who)",
		telemetry.User, telemetry.SampleInterval, dataset, telemetry.Service, service, telemetry.Kind, telemetry.KindRequest, telemetry.Variant, document.Stable,
		telemetry.Reason, telemetry.ReasonPercentage, telemetry.ReasonHalted, telemetry.ReasonUnattended, telemetry.User, from, to)
}

// readCrowd reads crowdSQL's answer.
func readCrowd(rows []cloudflare.Row, t *plan.Traffic) error {
	if len(rows) == 0 {
		return nil
	}
	users, err := rows[0].Float("users")
	if err != nil || users == 0 {
		return err
	}
	requests, err := rows[0].Float("requests")
	if err != nil {
		return err
	}
	most, err := rows[0].Float("most")
	if err != nil {
		return err
	}
	t.Users = users
	if requests > 0 {
		t.TopUser = most / requests
	}
	return nil
}
