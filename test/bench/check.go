package main

import (
	"context"
	"encoding/json"
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
)

// check proves that every contestant does its job, so that nothing is measured that does not work.
func check(ctx context.Context, all []*contestant, scenarios []scenario) error {
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
		}
		for user, isCanary := range chosen[perch] {
			if chosen[javascript][user] != isCanary {
				return fmt.Errorf("check %s: user-%d is canary %t in Perch but not in JavaScript", scenarios[i].name, user, isCanary)
			}
		}
	}
	return checkUsers(ctx, all)
}

// checkRouting sends one request per user and returns who went to the canary.
func (c *contestant) checkRouting(ctx context.Context, sc *scenario) ([]bool, error) {
	canaries := make([]bool, checkedUsers)
	count := 0
	for user := range checkedUsers {
		a, err := c.client.do(ctx, sc, user, true)
		if err != nil {
			return nil, err
		}
		if a.status != 200 {
			return nil, fmt.Errorf("status %d: %s", a.status, a.body)
		}
		c.routed[a.variant]++
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

// pointsTime is how long points may still be on their way after the last answer.
const pointsTime = 20 * time.Second

// checkUsers holds the points' fingerprints of Perch to those of its shell in JavaScript, which saw the same users.
func checkUsers(ctx context.Context, all []*contestant) error {
	saw := map[string][]map[string]any{}
	for _, c := range all {
		if c.name != perch && c.name != javascript {
			continue
		}
		if err := c.checkPoints(ctx); err != nil {
			return err
		}
		rows, err := c.query(ctx, fmt.Sprintf("SELECT %s AS user, count() AS points FROM %s GROUP BY user ORDER BY user",
			telemetry.User, c.stack.Dataset))
		if err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		saw[c.name] = rows
	}
	if len(saw[perch]) != checkedUsers || !reflect.DeepEqual(saw[perch], saw[javascript]) {
		return fmt.Errorf("check users: %d are in the points of Perch, and %d others or the same in its shell's in JavaScript; want the same %d",
			len(saw[perch]), len(saw[javascript]), checkedUsers)
	}
	return nil
}

// checkPoints holds the points to the answers' headers: one per routed request, under its variant.
func (c *contestant) checkPoints(ctx context.Context) error {
	if !c.routes {
		return nil
	}
	if err := c.awaitPoints(ctx); err != nil {
		return fmt.Errorf("check points of %s: %w", c.name, err)
	}
	rows, err := c.query(ctx, fmt.Sprintf("SELECT %s AS variant, sum(%s) AS points FROM %s GROUP BY variant",
		telemetry.Variant, telemetry.SampleInterval, c.stack.Dataset))
	if err != nil {
		return fmt.Errorf("check points of %s: %w", c.name, err)
	}
	counted := map[string]int{}
	for _, row := range rows {
		points, err := strconv.Atoi(fmt.Sprint(row["points"]))
		if err != nil {
			return fmt.Errorf("check points of %s: %w", c.name, err)
		}
		counted[fmt.Sprint(row["variant"])] = points
	}
	if !maps.Equal(counted, c.routed) {
		return fmt.Errorf("check points of %s: there are %v, but the answers were %v", c.name, counted, c.routed)
	}
	return nil
}

// awaitPoints waits until there is a point for every answer.
func (c *contestant) awaitPoints(ctx context.Context) error {
	answers := 0
	for _, n := range c.routed {
		answers += n
	}
	ctx, cancel := context.WithTimeout(ctx, pointsTime)
	defer cancel()
	for {
		points, err := c.stack.Flush(ctx)
		if err != nil || points >= answers {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("there are %d for %d answers", points, answers)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
