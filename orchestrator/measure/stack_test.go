package measure

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/test/stack"
)

// TestThroughTheStack: points that a worker writes, asked for by the client that
// the orchestrator uses.
func TestThroughTheStack(t *testing.T) {
	s, err := stack.Start(t.Context(), stack.Options{
		Worker: "test/stack/testdata/worker", Config: "test/stack/testdata/wrangler.toml", TimeScale: 1000,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	ask := func(sql string) ([]cloudflare.Row, error) {
		rows, err := analytics.Query(t.Context(), sql)
		if errors.Is(err, cloudflare.ErrNoData) {
			return nil, nil
		}
		return rows, err
	}
	points, q := random(9, 2, 80, 14)
	began := time.Now()
	q.Dataset, q.Through = s.Dataset, Closed(began, 0, time.Minute)+3
	for i := range q.Subjects {
		q.Subjects[i].From, q.Subjects[i].Began = q.Through-3, began.Add(-time.Hour)
	}
	found, err := Ask(q, ask)
	require.NoError(t, err)
	require.Empty(t, found, "nothing was written yet")

	points = append(points, rated(0, points[0].trace, "", 0).with(func(p *point) { p.service = points[0].service }))
	points[len(points)-1].number = "-1"
	for _, p := range points {
		writeThrough(t, s, p)
	}
	require.Eventually(t, func() bool { // points leave the worker behind its answer's back
		written, err := s.Flush(t.Context())
		return err == nil && written == len(points)
	}, 10*time.Second, 5*time.Millisecond)
	found, err = Ask(q, ask)
	require.NoError(t, err)
	want := recount(q, arrived(t, points, s.Dataset, ask))
	require.Greater(t, len(want), 50)
	requireSame(t, want, told(found))
	require.NoError(t, AskFeedback(q, ask, found))
}

// writeThrough has the worker write a point, whose time is the worker's.
func writeThrough(t *testing.T, s *stack.Stack, p point) {
	t.Helper()
	encoded := p.encoded()
	text, err := json.Marshal(map[string]any{"count": 1, "point": map[string]any{
		"blobs": encoded["blobs"], "doubles": encoded["doubles"], "indexes": []any{encoded["index"]},
	}})
	require.NoError(t, err)
	response, err := http.Get(s.Places[0].URL + "/points?write=" + url.QueryEscape(string(text)))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"written":1}`, string(body))
}

// arrived are the points with the times at which they were written.
func arrived(t *testing.T, points []point, dataset string, ask func(string) ([]cloudflare.Row, error)) []seen {
	t.Helper()
	rows, err := ask("SELECT blob8 AS number, toUnixTimestamp(timestamp) AS written FROM " + dataset)
	require.NoError(t, err)
	require.Len(t, rows, len(points))
	var all []seen
	for _, row := range rows {
		number, err := row.Text("number")
		require.NoError(t, err)
		written, err := row.Float("written")
		require.NoError(t, err)
		p := points[slices.IndexFunc(points, func(p point) bool { return p.number == number })]
		p.at = int64(written)
		all = append(all, seen{p, 1})
	}
	return all
}
