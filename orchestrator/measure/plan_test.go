package measure

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
)

// fleet is a query about n services, all as far behind.
func fleet(n int, behind int64) Query {
	q := asked(100)
	for i := range n {
		s := asked(100, fmt.Sprintf("model:acme/service-%03d", i)).Subjects[0]
		s.From = q.Through - behind + 1
		q.Subjects = append(q.Subjects, s)
	}
	return q
}

func TestClosed(t *testing.T) {
	tests := []struct {
		name          string
		now           string
		lag, interval time.Duration
		want          string // when the last closed interval ends
	}{
		{"just closed", "2026-11-21T10:01:00Z", 0, time.Minute, "2026-11-21T10:01:00Z"},
		{"a nanosecond short", "2026-11-21T10:00:59.999999999Z", 0, time.Minute, "2026-11-21T10:00:00Z"},
		{"lag", "2026-11-21T10:01:59Z", time.Minute, time.Minute, "2026-11-21T10:00:00Z"},
		{"lag, just closed", "2026-11-21T10:02:00Z", time.Minute, time.Minute, "2026-11-21T10:01:00Z"},
		{"short intervals", "2026-11-21T10:01:01.5Z", 200 * time.Millisecond, time.Second, "2026-11-21T10:01:01Z"},
		{"long ones", "2026-11-21T10:01:01.5Z", 0, 7 * time.Second, "2026-11-21T10:00:59Z"},
		{"before 1970", "1969-12-31T23:59:59Z", 0, time.Minute, "1969-12-31T23:59:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339Nano, test.now)
			require.NoError(t, err)
			end := time.Unix((Closed(now, test.lag, test.interval)+1)*int64(test.interval/time.Second), 0).UTC()
			require.Equal(t, test.want, end.Format(time.RFC3339))
		})
	}
}

// TestUserShare: shares are powers of two, and what they leave is bounded.
func TestUserShare(t *testing.T) {
	require.Equal(t, 1.0, UserShare(0, 1), "unknown traffic")
	require.Equal(t, 1.0, UserShare(math.NaN(), 1))
	require.Equal(t, 1.0, UserShare(10_000, 1))
	require.Equal(t, 1.0, UserShare(50, 300), "a small service in a large fleet")
	require.Equal(t, 1.0/32, UserShare(1000, 300))
	require.Equal(t, leastShare, UserShare(1e12, 300))
	require.Equal(t, leastShare, UserShare(math.Inf(1), 1_000_000))
	for services := 1; services < 1000; services *= 3 {
		for units := 1.0; units < 1e6; units *= 1.7 {
			share := UserShare(units, services)
			require.Zero(t, math.Mod(math.Log2(share), 1))
			if share > leastShare {
				require.LessOrEqual(t, share*units*float64(services), float64(mostRows)/4)
			}
			require.True(t, share == 1 || share*units*float64(services) > mostRows/10, "no smaller than it must be: %g", share)
		}
	}
}

// requirePartsOf: the parts ask for each interval of each subject once.
func requirePartsOf(t *testing.T, q Query, parts []Query) {
	t.Helper()
	asks := func(q Query) (all []string) {
		for _, s := range q.Subjects {
			for slot := s.From; slot <= q.Through; slot++ {
				all = append(all, fmt.Sprint(s.Service, slot))
			}
		}
		return all
	}
	var all []string
	for _, part := range parts {
		require.NoError(t, part.Check())
		all = append(all, asks(part)...)
	}
	require.ElementsMatch(t, asks(q), all)
}

func TestSplit(t *testing.T) {
	mixed := fleet(300, 1)
	for i := range 10 {
		mixed.Subjects[i*7].From = first + 40
	}
	slightly := fleet(300, 1)
	for i := range slightly.Subjects {
		slightly.Subjects[i].From -= int64(i % 4)
	}
	long := fleet(900, 1)
	for i := range long.Subjects {
		long.Subjects[i].Service = fmt.Sprintf("model:%s/%03d", strings.Repeat("o", 98), i)
	}
	begun := fleet(4, 60)
	for i := range begun.Subjects {
		begun.Subjects[i].Began = time.Unix(at((98+i/2)*minute+30), 0)
	}
	tests := []struct {
		name  string
		query Query
		want  []int // subjects of each part
	}{
		{"those that began just now", begun, []int{4, 4}},
		{"one", fleet(1, 60), []int{1}},
		{"a fleet that looks each minute", fleet(300, 1), []int{300}},
		{"some looks were missed", slightly, []int{187, 113}},
		{"those that begin are asked about apart", mixed, []int{290, 9, 1}},
		{"a fleet of which all is unknown", fleet(20, 60), []int{9, 9, 2}},
		{"one that was away for long", fleet(1, 90), []int{1}},
		{"one of a week", fleet(1, 1090), []int{1, 1, 1}},
		{"long names", long, []int{405, 405, 90}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.query.Subjects)
			var got []int
			parts := test.query.Split()
			for _, part := range parts {
				got = append(got, len(part.Subjects))
				require.Less(t, len(part.SQL()), mostStatementBytes)
				require.Less(t, len(part.FeedbackSQL()), mostStatementBytes)
			}
			require.Equal(t, before, test.query.Subjects, "the query is left as it was")
			requirePartsOf(t, test.query, parts)
			require.Equal(t, test.want, got)
		})
	}
}

// TestSplitHistory: in what was before a rollout fewer users are told apart.
func TestSplitHistory(t *testing.T) {
	q := fleet(2, 61)
	q.Subjects[0].Began, q.Subjects[1].Began = time.Unix(at(100*minute), 0), time.Unix(at(99*minute+59), 0)
	q.Subjects[1].UserShare = 1.0 / 64
	parts := q.Split()
	require.Len(t, parts, 2)
	require.EqualValues(t, first+98, parts[0].Through)
	require.Equal(t, []float64{1.0 / 16, 1.0 / 64}, []float64{parts[0].Subjects[0].UserShare, parts[0].Subjects[1].UserShare})
	require.EqualValues(t, first+99, parts[1].Subjects[0].From)
	require.EqualValues(t, q.Through, parts[1].Through)
	require.Equal(t, 1.0, parts[1].shareOf(parts[1].Subjects[0]))
}

// TestHalves: halves ask for the same, down to one interval of one service.
func TestHalves(t *testing.T) {
	q := fleet(5, 7)
	parts := []Query{q}
	for i := 0; i < len(parts); i++ {
		if a, b, ok := parts[i].Halves(); ok {
			parts = slices.Replace(parts, i, i+1, a, b)
			requirePartsOf(t, q, parts)
			i--
		}
	}
	require.Len(t, parts, 5*7)
	for _, part := range parts {
		require.Len(t, part.Subjects, 1)
		require.Equal(t, part.Through, part.Subjects[0].From)
	}
	_, _, ok := Query{}.Halves()
	require.False(t, ok)
}

// TestAskHalves: what is too large is asked for in halves, and of one interval
// that is too large fewer users; what fails otherwise fails.
func TestAskHalves(t *testing.T) {
	row := func(service string, slot int64) cloudflare.Row {
		return cloudflare.Row{"service": service, "variant": "canary", "in_rollout": "r1", "slot": fmt.Sprint(slot), "class": "ok", "time_bin": "70",
			"predict_bin": "-1", "token_bin": "-1", "told_user": "", "n": "2", "w": "2", "w2": "2"}
	}
	crowded := func(n int) []cloudflare.Row {
		return slices.Repeat([]cloudflare.Row{row("model:acme/service-000", first+100)}, n)
	}
	q := fleet(3, 4)
	statements := 0
	ask := func(sql string) (rows []cloudflare.Row, err error) {
		statements++
		for _, s := range q.Subjects {
			if !strings.Contains(sql, s.Service) {
				continue
			}
			for slot := s.From; slot <= q.Through; slot++ {
				if strings.Contains(sql, fmt.Sprintf("counted_at >= %d AND", slot*minute)) {
					rows = append(rows, row(s.Service, slot))
				}
			}
		}
		if strings.Count(sql, "service-") > 2 || !strings.Contains(sql, "'1000'") { // each name is there once, and once more with a share of its own
			return crowded(mostRows), nil
		}
		return rows, nil
	}
	found, err := Ask(q, ask)
	require.NoError(t, err)
	require.Greater(t, statements, 12)
	for _, s := range q.Subjects {
		require.Len(t, found[s.Service], 4)
		for i, in := range found[s.Service] {
			require.EqualValues(t, s.From+int64(i), in.Index)
			require.Equal(t, 1.0/16, in.UserShare)
			require.EqualValues(t, 2, in.Canary.Rows)
		}
	}
	_, err = Ask(q, func(string) ([]cloudflare.Row, error) { return crowded(mostRows), nil })
	require.ErrorIs(t, err, ErrTooLarge)
	refused := errors.New("refused")
	_, err = Ask(q, func(string) ([]cloudflare.Row, error) { return nil, refused })
	require.ErrorIs(t, err, refused)
	_, err = Ask(Query{Subjects: q.Subjects, Through: q.Through}, ask)
	require.ErrorContains(t, err, "give whole seconds")
	require.ErrorIs(t, AskFeedback(q, func(string) ([]cloudflare.Row, error) { return nil, refused }, map[string][]judge.Interval{}), refused)
}

// TestAskNothing: what has been asked for already is not asked for again.
func TestAskNothing(t *testing.T) {
	q := fleet(2, 1)
	q.Subjects[1].From = q.Through + 1
	var asked []string
	ask := func(sql string) ([]cloudflare.Row, error) {
		asked = append(asked, sql)
		return nil, nil
	}
	_, err := Ask(q, ask)
	require.NoError(t, err)
	require.Len(t, asked, 1)
	require.NotContains(t, asked[0], q.Subjects[1].Service)
	q.Subjects = q.Subjects[1:]
	found, err := Ask(q, ask)
	require.NoError(t, err)
	require.Empty(t, found)
	require.NoError(t, AskFeedback(q, ask, found))
	require.Len(t, asked, 1)
}

// TestCheck: what is wrong with a query is said.
func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Query)
		want   string
	}{
		{"nothing", func(*Query) {}, ""},
		{"no interval", func(q *Query) { q.Interval = 0 }, "query interval 0s: give whole seconds, at least one"},
		{"a broken one", func(q *Query) { q.Interval = 1500 * time.Millisecond }, "query interval 1.5s: give whole seconds, at least one"},
		{"no expiry", func(q *Query) { q.Expire = 0 }, "query expire 0s: give whole seconds, at least one"},
		{"no data set", func(q *Query) { q.Dataset = "" }, "query dataset: give its name"},
		{"no subjects", func(q *Query) { q.Subjects = nil }, "query subjects: give at least one"},
		{"twice the same", func(q *Query) { q.Subjects[1] = q.Subjects[0] }, `query subject "model:acme/service-000": give it once`},
		{"no rollout", func(q *Query) { q.Subjects[1].Rollout = "" }, `query subject "model:acme/service-001": give its service and its rollout`},
		{"nothing to ask", func(q *Query) { q.Subjects[1].From = q.Through + 1 }, `query subject "model:acme/service-001": intervals 1101 to 1100: give a first that is not past the last`},
		{"no share", func(q *Query) { q.UserShare = -1 }, `query subject "model:acme/service-000": user share -1: give more than 0, at most 1`},
		{"more than all", func(q *Query) { q.Subjects[1].UserShare = 1.5 }, `query subject "model:acme/service-001": user share 1.5: give more than 0, at most 1`},
		{"no number", func(q *Query) { q.Subjects[1].UserShare = math.NaN() }, `query subject "model:acme/service-001": user share NaN: give more than 0, at most 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := fleet(3, 1)
			test.change(&q)
			err := q.Check()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.want)
			_, err = Read(q, []cloudflare.Row{})
			require.EqualError(t, err, "read measurements: "+test.want)
		})
	}
}
