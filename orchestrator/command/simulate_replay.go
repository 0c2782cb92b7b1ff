package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/measure"
	"perch/orchestrator/policy"
	"perch/orchestrator/rollout"
	"perch/orchestrator/simulate"
	"perch/shared/document"
)

// replayed is what simulate --replay found, in JSON.
type replayed struct {
	Service string       `json:"service"`
	From    time.Time    `json:"from"`
	To      time.Time    `json:"to"`
	Rollout string       `json:"rollout,omitempty"` // that was recorded, or ""
	Method  judge.Method `json:"method"`
	Events  []verdictAt  `json:"events"`
	simulated
}

// verdictAt is a verdict that the policy would have come to.
type verdictAt struct {
	At         time.Time          `json:"at"`
	Percentage rollout.Percentage `json:"percentage"`
	Decision   judge.Decision     `json:"decision"`
	Reason     string             `json:"reason"`
}

// recording is what is known of a service in a time.
type recording struct {
	from, to  time.Time
	rollout   string
	changes   []simulate.Change
	intervals []judge.Interval
	stable    []judge.Interval // of the time asked for, without a gap
	through   int64
}

// longestReplay bounds what is read at once.
const longestReplay = 7 * 24 * time.Hour

func (a *app) replay(c *cli.Context) error {
	x, err := a.session(c)
	if err != nil {
		return err
	}
	p, err := a.policy(x.settings)
	if err != nil {
		return err
	}
	o, err := simulateOptions(c, p.Method)
	if err != nil {
		return err
	}
	r, err := x.record(c, p)
	if err != nil {
		return err
	}
	plan := simulate.PlanOf(p)
	result := replayed{Service: x.service.String(), From: r.from, To: r.to, Rollout: r.rollout, Method: p.Method, Events: []verdictAt{}}
	if r.rollout != "" {
		for _, e := range simulate.Replay(plan, p.Method, r.changes, r.intervals, r.through) {
			result.Events = append(result.Events, verdictAt{e.At, rollout.Percentage(e.BasisPoints), e.Verdict.Decision, e.Verdict.Reason})
		}
	}
	for i, s := range o.scenarios {
		o.makers = append(o.makers, simulate.Recording{Intervals: r.stable, Worse: s.Worse, Slower: s.Slower})
		o.scenarios[i].Rate = r.rate(time.Duration(p.Interval))
	}
	if result.Rows, err = a.rollouts(c.Context, plan, o); err != nil {
		return err
	}
	result.Runs, result.Seed = o.runs, o.seed
	return a.printReplayed(c, x.settings, result)
}

func (a *app) printReplayed(c *cli.Context, s settings, result replayed) error {
	if s.json {
		if err := writeChart(c, result.Rows); err != nil {
			return err
		}
		return a.printJSON(result)
	}
	fmt.Fprintf(a.stdout, "%s from %s to %s\n", result.Service, result.From.Format(time.RFC3339), result.To.Format(time.RFC3339))
	switch {
	case result.Rollout == "":
		fmt.Fprintln(a.stdout, "no rollout began in this time")
	case len(result.Events) == 0:
		fmt.Fprintf(a.stdout, "rollout %s: method %s would have held all the time\n", result.Rollout, result.Method)
	default:
		fmt.Fprintf(a.stdout, "rollout %s, at the percentages that it had, would have had by method %s:\n", result.Rollout, result.Method)
		for _, e := range result.Events {
			fmt.Fprintf(a.stdout, "  %s  %s at %s %%: %s\n", e.At.UTC().Format(time.RFC3339), e.Decision, e.Percentage, e.Reason)
		}
	}
	fmt.Fprintln(a.stdout, "\nstable's traffic of this time, divided at random between both arms, the canary made worse:")
	return a.printSimulated(c, s, result.simulated)
}

// record reads the time that --from and --to name: the last rollout that began in
// it, and what the edge measured.
func (x *session) record(c *cli.Context, p policy.Policy) (recording, error) {
	r, err := recordedTime(c, x.now(), time.Duration(p.Lag))
	if err != nil {
		return r, err
	}
	entries, err := x.history(c.Context)
	if err != nil {
		return r, err
	}
	r.changes, r.rollout = changesOf(entries, r.from, r.to)
	if err := x.readRecording(c.Context, p, &r); err != nil {
		return r, err
	}
	if r.rate(time.Duration(p.Interval)) == 0 {
		return r, refused("name a time with traffic by --from and --to; analytics keep three months", "stable of %s had no traffic from %s to %s",
			x.service, r.from.Format(time.RFC3339), r.to.Format(time.RFC3339))
	}
	return r, nil
}

// recordedTime is from --from, by default a day before --to, to --to, by default
// now, up to what has arrived.
func recordedTime(c *cli.Context, now time.Time, lag time.Duration) (recording, error) {
	var r recording
	latest := now.Add(-lag)
	for _, end := range []struct {
		flag     string
		target   *time.Time
		fallback func() time.Time
	}{{"to", &r.to, func() time.Time { return latest }}, {"from", &r.from, func() time.Time { return r.to.Add(-24 * time.Hour) }}} {
		*end.target = end.fallback()
		if text := c.String(end.flag); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return r, invalid("give a time such as 2026-11-20T12:00:00Z", "--%s %q is not allowed", end.flag, text)
			}
			*end.target = at.UTC()
		}
	}
	if r.to.After(latest) {
		r.to = latest
	}
	if span := r.to.Sub(r.from); span <= 0 || span > longestReplay {
		return r, invalid("give a --from before --to, seven days before at most", "the time from %s to %s cannot be replayed", r.from.Format(time.RFC3339), r.to.Format(time.RFC3339))
	}
	return r, nil
}

// changesOf returns the percentages of the last rollout that began in a time, and
// its id, "" where none did.
func changesOf(entries []rollout.Entry, from, to time.Time) (changes []simulate.Change, id string) {
	for _, e := range entries {
		if e.Action == rollout.ActionStart && !e.Time.Before(from) && e.Time.Before(to) {
			changes, id = nil, e.Rollout
		}
		if e.Rollout != id || id == "" || !e.Time.Before(to) {
			continue
		}
		at := simulate.Change{At: e.Time, BasisPoints: int(e.To)}
		if e.Action == rollout.ActionPromote { // nothing is left to compare with
			at.BasisPoints = 0
		}
		if len(changes) == 0 || changes[len(changes)-1].BasisPoints != at.BasisPoints {
			changes = append(changes, at)
		}
	}
	return changes, id
}

// readRecording asks analytics for all intervals of the time, and for the history
// before the rollout.
func (x *session) readRecording(ctx context.Context, p policy.Policy, r *recording) error {
	length := time.Duration(p.Interval)
	began := r.to // so that all of stable counts where no rollout began
	first := r.from
	if r.rollout != "" {
		began = r.changes[0].At
		if before := began.Add(-time.Duration(p.History)); before.Before(first) {
			first = before
		}
	}
	r.through = r.to.UnixNano()/int64(length) - 1
	service := x.service.String()
	found, err := measure.Ask(measure.Query{
		Dataset: x.settings.cloudflare.Dataset, Interval: length, Expire: time.Duration(p.Expire), Through: r.through,
		Subjects: []measure.Subject{{Service: service, Rollout: rolloutOrNone(r.rollout), Began: began, From: first.UnixNano() / int64(length)}},
	}, func(statement string) ([]cloudflare.Row, error) {
		rows, err := x.source.Query(ctx, statement)
		if errors.Is(err, cloudflare.ErrNoData) {
			return nil, nil
		}
		return rows, err
	})
	r.intervals = found[service]
	r.stable = simulate.Contiguous(r.intervals, r.from.UnixNano()/int64(length), r.through)
	return err
}

// rolloutOrNone is a rollout's id, or a text that is none.
func rolloutOrNone(id string) string {
	if id == "" {
		return document.Stable
	}
	return id
}

// rate is stable's mean traffic, requests a minute.
func (r recording) rate(interval time.Duration) float64 {
	sum := 0.0
	for _, i := range r.stable {
		sum += i.Stable.Weight
	}
	return sum / (float64(max(1, len(r.stable))) * interval.Minutes())
}
