package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// fakeSource answers what the judge asks with traffic that goes on evenly, split
// as the stored states say, of requests that made no prediction.
type fakeSource struct {
	kv             *fakeKV
	canary, stable arm
	turns          time.Time      // from when on the canary fails, or zero
	arms           map[string]arm // of canaries, by service, in place of canary
	err            error
	noRatings      error  // why ratings cannot be had
	flood          string // a service of which there are too many rows, whatever is asked, or ""
	gate           func()
	queries        []string
	open           []cloudflare.Row // predictions without a known end
	pending        float64          // as many of the canary's are made in an interval, and end unseen
	points         []cloudflare.Row // whole rows, for traces
}

// arm is how a variant does.
type arm struct {
	errors float64 // share of its units that fail, each of another user
	ms     float64 // to the first byte, of each
	none   bool    // it has no traffic
}

var (
	healthy = arm{errors: 0.001, ms: 800}
	failing = arm{errors: 0.06, ms: 800}
	nothing = arm{none: true}
)

// perSecond is how many requests both arms have together.
const perSecond = 40

func (f *fakeSource) Query(ctx context.Context, sql string) ([]cloudflare.Row, error) {
	if f.gate != nil {
		f.gate()
	}
	f.queries = append(f.queries, sql)
	if f.err != nil || ctx.Err() != nil {
		return nil, errors.Join(f.err, ctx.Err())
	}
	switch {
	case strings.Contains(sql, "AS at,"):
		return f.traced(sql), nil
	case strings.Contains(sql, "ORDER BY made_at"):
		return f.open, nil
	case strings.Contains(sql, "counted_in"):
		return nil, f.noRatings
	case strings.Contains(sql, "AS users"):
		return nil, nil
	}
	if f.flood != "" && strings.Contains(sql, "'"+f.flood+"'") {
		return make([]cloudflare.Row, 100_000), nil
	}
	return f.measured(sql), nil
}

var (
	askedSpan    = regexp.MustCompile(`counted_at >= (\d+) AND counted_at < (\d+) `)
	askedService = regexp.MustCompile(`'((?:model|deployment|http):[^']+)'`)
)

// measured answers the judge's statement.
func (f *fakeSource) measured(sql string) []cloudflare.Row {
	span := askedSpan.FindStringSubmatch(sql)
	from, _ := strconv.ParseInt(span[1], 10, 64)
	to, _ := strconv.ParseInt(span[2], 10, 64)
	rows, asked := []cloudflare.Row{}, map[string]bool{}
	for _, match := range askedService.FindAllStringSubmatch(sql, -1) {
		if asked[match[1]] {
			continue
		}
		asked[match[1]] = true
		service, _ := document.ParseService(match[1])
		changes := f.kv.changes(service)
		s, err := rollout.Decode(f.kv.value(service.StateKey()))
		if err != nil {
			continue
		}
		length := int64(time.Duration(s.Policy.Interval) / time.Second)
		for slot := from / length; slot < to/length; slot++ {
			rows = append(rows, f.interval(service, changeAt(changes, slot*length), slot, length)...)
		}
	}
	return rows
}

// changes are a service's history and what its state knows of it.
func (f *fakeKV) changes(service document.Service) (changes []rollout.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, text := range f.values {
		var e rollout.Entry
		if strings.HasPrefix(key, service.HistoryPrefix()) && json.Unmarshal(text, &e) == nil {
			changes = append(changes, e)
		}
	}
	if s, err := rollout.Decode(f.values[service.StateKey()]); err == nil {
		changes = append(changes, s.Last)
	}
	slices.SortFunc(changes, func(a, b rollout.Entry) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Generation, b.Generation))
	})
	return changes
}

// changeAt is the last change before a second.
func changeAt(changes []rollout.Entry, second int64) (last rollout.Entry) {
	for _, e := range changes {
		if e.Time.Unix() <= second {
			last = e
		}
	}
	return last
}

// interval is both arms' traffic after a change: stable's alone before a rollout,
// and after a promotion.
func (f *fakeSource) interval(service document.Service, s rollout.Entry, slot, length int64) []cloudflare.Row {
	all := float64(perSecond * length)
	at := tallied{service.String(), s.Rollout, slot}
	if s.Rollout == "" || s.Action == rollout.ActionPromote {
		return f.stable.rows(at, "stable", all)
	}
	does, given := f.arms[service.String()]
	if !given {
		does = f.canary
	}
	if !f.turns.IsZero() && slot*length >= f.turns.Unix() {
		does = failing
	}
	canary := all * float64(s.To) / 10_000
	rows := append(f.stable.rows(at, "stable", all-canary), does.rows(at, "canary", canary)...)
	if f.pending > 0 {
		rows = append(rows, at.row("canary", "open", f.pending, "", -1))
	}
	return rows
}

// rows is an arm's traffic of n units, 20 to each user of whom none comes again.
func (a arm) rows(at tallied, variant string, n float64) (rows []cloudflare.Row) {
	if a.none || n < 1 {
		return nil
	}
	failed := math.Floor(float64(at.slot+1)*n*a.errors) - math.Floor(float64(at.slot)*n*a.errors)
	bin := histogram.Bucket(a.ms)
	for i := 0.0; i < failed; i++ {
		rows = append(rows, at.row(variant, "error", 1, userOf(variant, at.slot, i), -1))
	}
	for i, left := failed, n-failed; left > 0; i, left = i+1, left-20 {
		rows = append(rows, at.row(variant, "ok", min(20, left), userOf(variant, at.slot, i), bin))
	}
	return rows
}

// tallied is what rows of one interval have in common.
type tallied struct {
	service, rollout string
	slot             int64
}

// userOf is the beginning of a user's fingerprint.
func userOf(variant string, slot int64, i float64) string {
	return fmt.Sprintf("%08x", uint32(xxhash.Sum64String(fmt.Sprint(variant, slot, i))))
}

func (t tallied) row(variant, class string, n float64, user string, bin int) cloudflare.Row {
	return cloudflare.Row{
		"service": t.service, "variant": variant, "in_rollout": t.rollout, "slot": number(float64(t.slot)), "class": class, "told_user": user,
		"time_bin": number(float64(bin)), "predict_bin": number(-1), "token_bin": number(-1), "n": number(n), "w": number(n), "w2": number(n),
	}
}

// traced are the points whose column, the one that IN follows, holds one of the texts.
func (f *fakeSource) traced(sql string) (rows []cloudflare.Row) {
	before, list, _ := strings.Cut(sql, " IN (")
	column := before[strings.LastIndex(before, " ")+1:]
	for _, row := range f.points {
		if text, err := row.Text(column); err == nil && text != "" && strings.Contains(list[:strings.Index(list, ")")], "'"+text+"'") {
			rows = append(rows, row)
		}
	}
	return rows
}

func number(n float64) json.Number {
	text, _ := json.Marshal(n)
	return json.Number(text)
}
