package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"perch/shared/telemetry"
)

const (
	checkedUsers = 1000
	// maxDeviation, in standard deviations, is passed by one honest split in 15 million.
	maxDeviation = 5.5
	// pointsTime is how long points may still be on their way after the last answer.
	pointsTime = 20 * time.Second
)

// check proves that every contestant does its job, so that nothing is measured that does not work.
func check(ctx context.Context, all []*contestant, scenarios []scenario) error {
	if len(scenarios) == 0 {
		return nil
	}
	canaryCounts := map[string]int{}
	for i := range scenarios {
		chosen := map[string][]bool{}
		for _, c := range all {
			if !c.routes {
				if err := c.sendAll(ctx, &scenarios[i], connections); err != nil {
					return err
				}
				continue
			}
			canaries, err := c.checkRouting(ctx, &scenarios[i])
			if err != nil {
				return fmt.Errorf("check %s of %s: %w", scenarios[i].name, c.name, err)
			}
			chosen[c.name] = canaries
			for _, isCanary := range canaries {
				if isCanary {
					canaryCounts[c.name]++
				}
			}
		}
		for user, isCanary := range chosen[perch] {
			if chosen[javascript][user] != isCanary {
				return fmt.Errorf("check %s: user-%d is canary %t in Perch but not in JavaScript", scenarios[i].name, user, isCanary)
			}
		}
	}
	return checkPoints(ctx, all, canaryCounts, checkedUsers*len(scenarios))
}

// checkRouting sends one request per user and returns who went to the canary.
func (c *contestant) checkRouting(ctx context.Context, sc *scenario) ([]bool, error) {
	canaries := make([]bool, checkedUsers)
	count := 0
	echoed := *sc
	echoed.header = map[string]string{askHeader: askEcho}
	for user := range checkedUsers {
		a, err := c.client.do(ctx, &echoed, c.client.sent.Add(1), user, true)
		if err != nil {
			return nil, err
		}
		if a.status != 200 {
			return nil, fmt.Errorf("status %d: %s", a.status, a.body)
		}
		want, known := map[string]seen{"stable": sc.stable, "canary": sc.canary}[a.variant]
		var got seen
		err = json.Unmarshal(a.body, &got)
		// Replicate takes a version with and without owner/name.
		got.Version = got.Version[strings.IndexByte(got.Version, ':')+1:]
		if err != nil || !known || got != want {
			return nil, fmt.Errorf("x-perch-variant is %q, and the upstream saw %s", a.variant, a.body)
		}
		if canaries[user] = a.variant == "canary"; canaries[user] {
			count++
		}
	}
	const share = percentage / 100.0
	deviation := math.Abs(float64(count)-checkedUsers*share) / math.Sqrt(checkedUsers*share*(1-share))
	if deviation > maxDeviation {
		return nil, fmt.Errorf("%d of %d users are canary at %d %%", count, checkedUsers, percentage)
	}
	return canaries, nil
}

// checkPoints holds the points that went the whole way to what was answered: one per request under its variant; and
// Perch and its shell in JavaScript must have fingerprinted the same users.
func checkPoints(ctx context.Context, all []*contestant, canaries map[string]int, total int) error {
	users := map[string][]map[string]any{}
	for _, c := range all {
		if !c.routes {
			continue
		}
		if err := c.awaitPoints(ctx, total); err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		rows, err := c.query(ctx, fmt.Sprintf("SELECT sum(%s) AS points FROM %s WHERE %s = 'canary'",
			telemetry.SampleInterval, c.stack.Dataset, telemetry.Variant))
		if err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		if len(rows) != 1 || fmt.Sprint(rows[0]["points"]) != strconv.Itoa(canaries[c.name]) {
			return fmt.Errorf("check points of %s: canary has %v, but %d answers were canary", c.name, rows, canaries[c.name])
		}
		users[c.name], err = c.query(ctx, fmt.Sprintf("SELECT %s AS user, count() AS points FROM %s GROUP BY user ORDER BY user",
			telemetry.User, c.stack.Dataset))
		if err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		if len(users[c.name]) != checkedUsers {
			return fmt.Errorf("check points of %s: there are %d users of %d", c.name, len(users[c.name]), checkedUsers)
		}
	}
	if !reflect.DeepEqual(users[perch], users[javascript]) {
		return errors.New("check points: Perch and its shell in JavaScript have other fingerprints for the same users")
	}
	return nil
}

// awaitPoints waits until there are as many points as answers.
func (c *contestant) awaitPoints(ctx context.Context, answers int) error {
	ctx, cancel := context.WithTimeout(ctx, pointsTime)
	defer cancel()
	for {
		points, err := c.stack.Flush(ctx)
		if err != nil || points == answers {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("there are %d for %d answers", points, answers)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// checkCounted holds the points of timed requests to their answers: the worker counts them itself, and writes them when
// the answer has ended.
func (c *contestant) checkCounted(ctx context.Context) error {
	if !c.routes {
		return nil
	}
	want := maps.Clone(c.routed)
	if !c.ends {
		delete(want, predictionPoints)
	}
	ctx, cancel := context.WithTimeout(ctx, pointsTime)
	defer cancel()
	for {
		counted := map[string]int{}
		a, err := c.client.get(ctx, "/_bench/points")
		if err == nil {
			err = json.Unmarshal(a, &counted)
		}
		if err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		if maps.Equal(counted, want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("check points of %s: there are %v, but the answers were %v", c.name, counted, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
