package command

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/replicate"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/shared/seal"
)

const (
	// followMost bounds the polls of one look, well below the 3,000 calls that
	// Replicate allows in a minute.
	followMost = 300
	// followEach is how many are under way at once.
	followEach = 5
	// followRate is how many polls of a second a shorter look is allowed.
	followRate = 10
	// followFor bounds the time that one look spends on polls.
	followFor = 30 * time.Second
	// followBack is for how long a prediction is asked about: Replicate ends it after
	// it has run for 30 minutes, and what a token may not see answers 404 for ever.
	followBack = 2 * time.Hour
	// sealFor is how long a poll's seal opens.
	sealFor = 5 * time.Minute
)

func (a *app) followCommand() *cli.Command {
	return &cli.Command{
		Name: "follow", Usage: "ask about predictions whose end nobody has seen", ArgsUsage: "[service]", Category: "rollout",
		Description: "Polls them through the worker, which records how they ended. step and run do so at each look,\n" +
			"where PERCH_WORKER_URL and REPLICATE_API_TOKEN are set; with PERCH_SEAL_KEY the worker also knows\n" +
			"whose they are. At most 300 at a time, and none that was made more than two hours ago.\n\nExample:\n  orchestrator follow acme/flux",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "older-than", Usage: "leave younger ones `TIME` to be seen", Value: time.Minute},
		},
		Action: func(c *cli.Context) error {
			x, err := a.session(c)
			if err != nil {
				return err
			}
			f, err := x.follower(x.service)
			if err != nil {
				return err
			}
			if err := f.missing(c.Context); err != nil {
				return err
			}
			result, err := f.follow(c.Context, c.Duration("older-than"), followMost)
			if err != nil {
				return err
			}
			return x.printFollowed(result)
		},
	}
}

func (x *session) printFollowed(f report.Followed) error {
	if x.settings.json {
		if err := x.app.printJSON(f); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(x.app.stdout, f.String())
	}
	if f.Asked > 0 && f.Failed == f.Asked {
		return &failure{code: exitError, err: fmt.Errorf("follow predictions: %s", f.Problem),
			hint: "orchestrator doctor checks the worker; REPLICATE_API_TOKEN must be one that may read them"}
	}
	return nil
}

// follower polls services' predictions through the worker.
type follower struct {
	*account
	services []document.Service
	key      *seal.Key // nil without PERCH_SEAL_KEY
	token    string
}

func (a *account) follower(services ...document.Service) (*follower, error) {
	key, err := a.app.sealKey()
	return &follower{a, services, key, a.app.env["REPLICATE_API_TOKEN"]}, err
}

// missing says what a poll needs and the environment lacks. A worker that holds
// the token of every service takes a seal in its place.
func (f *follower) missing(ctx context.Context) error {
	switch {
	case f.settings.workerURL == "":
		return invalid("set PERCH_WORKER_URL or --worker-url", "the worker's URL is not known")
	case f.token == "" && !(f.key != nil && f.isHeld(ctx)):
		return invalid("set REPLICATE_API_TOKEN to a token that may read the predictions", "no token of Replicate's is given")
	}
	return nil
}

func (f *follower) isHeld(ctx context.Context) bool {
	keys := make([]string, len(f.services))
	for i, service := range f.services {
		keys[i] = service.RolloutKey()
	}
	values, err := f.read(ctx, keys...)
	if err != nil {
		return false
	}
	for _, key := range keys {
		d, err := document.Parse(values[key])
		if err != nil || d.Access == nil || d.Access.Token == "" {
			return false
		}
	}
	return true
}

// openPrediction is one whose end no point tells.
type openPrediction struct {
	id, service, variant, rollout, reason, user, trace string
}

// openPredictions lists those that are old enough, the oldest first.
func (f *follower) openPredictions(ctx context.Context, olderThan time.Duration) ([]openPrediction, error) {
	now := f.app.clock.Now()
	inner := eachPrediction(f.settings.cloudflare.Dataset, f.services, now.Add(-followBack).Unix(), now.Unix()+clockSlack)
	rows, err := f.source.Query(ctx, fmt.Sprintf(`SELECT prediction, of_service, variant, in_rollout, reason, of_user, in_trace, made_at FROM (%s) `+
		`WHERE ended_at = %d AND left_out = 0 AND made_at < %d ORDER BY made_at LIMIT 10000`, inner, never, now.Add(-olderThan).Unix()))
	if errors.Is(err, cloudflare.ErrNoData) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]openPrediction, len(rows))
	for i, row := range rows {
		p := &list[i]
		for name, into := range map[string]*string{
			"prediction": &p.id, "of_service": &p.service, "variant": &p.variant, "in_rollout": &p.rollout, "reason": &p.reason, "of_user": &p.user, "in_trace": &p.trace,
		} {
			if *into, err = row.Text(name); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// spread picks at most n of a list, evenly, others with each seed: were the oldest
// first, those that hang would keep the rest waiting, and were the newest first,
// the slow ones would never be asked about.
func spread[T any](list []T, n int, seed uint64) []T {
	if len(list) <= n {
		return list
	}
	picked := make([]T, n)
	offset := rand.New(rand.NewPCG(seed, 0)).IntN(len(list))
	for i := range picked {
		picked[i] = list[(offset+i*len(list)/n)%len(list)]
	}
	return picked
}

// follow polls open predictions, most of them at most. What fails is in its
// result: that a poll fails says nothing of the variants.
func (f *follower) follow(ctx context.Context, olderThan time.Duration, most int) (report.Followed, error) {
	open, err := f.openPredictions(ctx, olderThan)
	result := report.Followed{Open: len(open)}
	if err != nil || len(open) == 0 {
		return result, err
	}
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	client := replicate.New(replicate.Config{BaseURL: strings.TrimRight(f.settings.workerURL, "/") + "/v1", Token: f.token})
	work := make(chan openPrediction)
	var lock sync.Mutex
	var workers sync.WaitGroup
	for range followEach {
		workers.Go(func() {
			for p := range work {
				prediction, err := f.poll(ctx, client, p)
				lock.Lock()
				if result.Add(prediction.Ended(), err); isFutile(err) {
					cancel()
				}
				lock.Unlock()
			}
		})
	}
	for _, p := range spread(open, most, uint64(f.app.clock.Now().UnixNano())) {
		select {
		case work <- p:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	workers.Wait()
	return result, nil
}

// poll asks about one prediction, with all that the worker needs to record its end.
func (f *follower) poll(ctx context.Context, client *replicate.Client, p openPrediction) (replicate.Prediction, error) {
	query := url.Values{}
	if f.key != nil {
		now := f.app.clock.Now()
		sealed, err := f.key.Seal(seal.Context{
			Purpose: seal.Follow, Service: p.service, Variant: p.variant, Rollout: p.rollout, Reason: p.reason,
			User: p.user, Prediction: p.id, Trace: p.trace, IssuedAt: now.Unix(), ExpiresAt: now.Add(sealFor).Unix(),
		})
		if err != nil {
			return replicate.Prediction{}, err
		}
		query.Set("perch", sealed)
	}
	return client.Prediction(ctx, p.id, query)
}

// isFutile reports that further polls of this look would fare the same.
func isFutile(err error) bool {
	var refused *replicate.Error
	return errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusTooManyRequests)
}

// followLook follows at a look of step or run, which it never fails. It returns
// what came of it, or "", and whether that is a problem.
func (x *session) followLook(ctx context.Context, s report.Status) (note string, problem bool) {
	if s.Policy == nil || x.settings.dryRun || rollout.Phase(s.Phase).Ended() {
		return "", false
	}
	f, err := x.follower(x.service)
	if err != nil {
		return notFollowed(err), true
	}
	if f.missing(ctx) != nil {
		note = unfollowed(s)
		return note, note != ""
	}
	return f.look(ctx, time.Duration(s.Policy.Look), time.Duration(s.Policy.Lag))
}

func notFollowed(err error) string { return "predictions are not followed: " + err.Error() }

// look follows as much as the time between two looks allows. It returns what came
// of it, or "", and whether that is a problem.
func (f *follower) look(ctx context.Context, every, lag time.Duration) (note string, problem bool) {
	most := min(followMost, max(followRate, int(every.Seconds()*followRate)))
	result, err := f.follow(ctx, max(time.Second, lag), most)
	switch {
	case ctx.Err() != nil, err == nil && result.Failed+result.Ended == 0:
		return "", false
	case err != nil:
		return notFollowed(err), true
	}
	return result.String(), result.Failed > 0
}

// unfollowed is the note on predictions whose ends would suffice for a verdict,
// or "": some are always under way.
func unfollowed(s report.Status) string {
	v := s.Verdict
	if v == nil || v.Missing == nil || v.Open < max(1, float64(v.Missing.CanaryRequests)) {
		return ""
	}
	open := judge.FormatCount(int64(v.Open), "prediction")
	return "how " + open + " ended is not known: with PERCH_WORKER_URL and REPLICATE_API_TOKEN set they are followed"
}
