package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/measure"
	"perch/shared/bucket"
	"perch/shared/document"
	"perch/shared/seal"
	"perch/shared/telemetry"
	"perch/test/stack"
	"perch/test/upstream"
)

// rate sends a rating.
func (w *world) rate(body string, headers map[string]string) reply {
	w.Helper()
	return w.do(call{Path: "/_perch/feedback", Body: body, Headers: headers})
}

// ratings are the points of a service's ratings, as soon as there are so many.
func (w *world) ratings(service string, many int) (rows []cloudflare.Row) {
	w.Helper()
	s := w.stack
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	query := fmt.Sprintf("SELECT * FROM %s WHERE %s = '%s' AND %s = '%s' AND %s >= 0 LIMIT 1000",
		s.Dataset, telemetry.Service, service, telemetry.Kind, telemetry.KindFeedback, telemetry.Score)
	require.Eventually(w, func() bool {
		if _, err := s.Flush(w.Context()); err != nil {
			return false
		}
		var err error
		rows, err = analytics.Query(w.Context(), query)
		return err == nil && len(rows) >= many
	}, 5*time.Second, 20*time.Millisecond, "fewer than %d ratings of %s", many, service)
	require.Len(w, rows, many)
	return rows
}

func fingerprint(user string) string { return fmt.Sprintf("%016x", bucket.Fingerprint("r1", user)) }

// TestFeedback: a rating becomes one point, whose trace or prediction leads to
// the request's; what a seal tells of the request stands on it.
func TestFeedback(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	w.alias(model)
	made := w.create(model, map[string]string{"x-user-id": "ann"})
	_, sealed, _ := strings.Cut(made.URLs.Get, "?perch=")
	answer := w.predict(0, model, "ann")
	trace := answer.Header.Get("x-perch-trace")
	w.upstream.ClearLog()
	const service = "model:" + model
	none := map[telemetry.Column]string{
		telemetry.Variant: "", telemetry.ServedBy: "", telemetry.Outcome: "", telemetry.Reason: "", telemetry.ErrorClass: "", telemetry.Ended: "",
	}
	tests := []struct {
		name, body string
		headers    map[string]string
		score      float64
		want       map[telemetry.Column]string
	}{
		{"of an answer, by its trace", `{"trace":"` + trace + `","score":0.25,"service":"` + service + `"}`, map[string]string{"x-user-id": "ann"}, 0.25,
			map[telemetry.Column]string{telemetry.Trace: trace, telemetry.Prediction: "", telemetry.User: fingerprint("ann")}},
		{"good", `{"trace":"` + trace + `","score":true}`, map[string]string{"x-perch-service": model, "x-user-id": "bob"}, 1,
			map[telemetry.Column]string{telemetry.Trace: trace, telemetry.User: fingerprint("bob")}},
		{"bad, by nobody known", ` { "score" : false , "prediction" : "` + made.ID + `", "service": "` + model + `" } `, nil, 0,
			map[telemetry.Column]string{telemetry.Trace: "", telemetry.Prediction: made.ID, telemetry.User: ""}},
		{"by another name of the service", `{"prediction":"x","score":1,"service":"deployment:acme/flux-canary"}`, nil, 1,
			map[telemetry.Column]string{telemetry.Prediction: "x"}},
		{"of a sealed prediction", `{"prediction":"` + made.ID + "~" + sealed + `","score":1e-1}`, map[string]string{"x-user-id": "bob"}, 0.1,
			map[telemetry.Column]string{telemetry.Prediction: made.ID, telemetry.User: fingerprint("ann"), telemetry.Variant: document.Canary, telemetry.Reason: telemetry.ReasonPercentage}},
		{"a seal outranks the service that is named", `{"prediction":"` + made.ID + "~" + sealed + `","score":0,"service":"acme/other"}`, nil, 0,
			map[telemetry.Column]string{telemetry.Prediction: made.ID, telemetry.Variant: document.Canary, telemetry.Reason: telemetry.ReasonPercentage}},
	}
	w.put(document.AliasKey("deployment", "acme/flux-canary"), `{"service":"`+service+`","variant":"canary"}`)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.within(t)
			before := map[string]bool{}
			if i > 0 {
				for _, row := range w.ratings(service, i) {
					before[fmt.Sprint(row)] = true
				}
			}
			r := w.rate(tt.body, tt.headers)
			require.Equal(t, 202, r.Status, r.Body)
			require.JSONEq(t, fmt.Sprintf(`{"service":%q,"score":%v}`, service, tt.score), r.Body)
			require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
			require.Len(t, r.Header.Get("x-perch-trace"), 32)
			require.Empty(t, r.Header.Get("set-cookie"), "nobody is told who they are by rating")
			var row cloudflare.Row
			for _, one := range w.ratings(service, i+1) {
				if !before[fmt.Sprint(one)] {
					row = one
				}
			}
			want := map[telemetry.Column]string{
				telemetry.Service: service, telemetry.Rollout: "r1", telemetry.Colo: "LOC1", telemetry.Index: service + "|feedback",
			}
			for _, columns := range []map[telemetry.Column]string{none, tt.want} {
				for column, value := range columns {
					want[column] = value
				}
			}
			for column, value := range want {
				got, err := row.Text(string(column))
				require.NoError(t, err, column)
				require.Equal(t, value, got, column)
			}
			for column, value := range map[telemetry.Column]float64{
				telemetry.Score: tt.score, telemetry.Status: 0, telemetry.FirstByteMS: 0, telemetry.DurationMS: 0, telemetry.Generation: 1,
			} {
				got, err := row.Float(string(column))
				require.NoError(t, err, column)
				require.Equal(t, value, got, column)
			}
			for column, value := range row {
				require.NotContains(t, fmt.Sprint(value), "p1.", "a seal stands in %s", column)
			}
		})
	}
	require.Empty(t, w.upstream.Log(), "a rating is nobody's but Perch's")
	require.NotContains(t, w.stack.Log(), sealed)
}

// TestFeedbackIsMeasured: the trace of an answer, the id of a prediction, and a
// seal lead from a rating to the variant that gave the answer, as the orchestrator
// measures; a rating counts once, and the answers of a fallback for nobody.
func TestFeedbackIsMeasured(t *testing.T) {
	const service, users = "model:acme/flux", 30
	w := newWorld(t, worldOptions{Models: []string{"acme/flux"}, Places: 2})
	w.write(rollout("acme/flux", 5000))
	w.awaitVariant(0, "acme/flux", "somebody", w.predict(0, "acme/flux", "somebody").variant())
	began := time.Now()
	assigned := map[string]float64{}
	rate := func(i int, r reply, score string) {
		var made links
		require.NoError(t, json.Unmarshal([]byte(r.Body), &made))
		_, sealed, _ := strings.Cut(made.URLs.Get, "?perch=")
		body := []string{
			fmt.Sprintf(`{"trace":%q,"score":%s,"service":"acme/flux"}`, r.Header.Get("x-perch-trace"), score),
			fmt.Sprintf(`{"prediction":%q,"score":%s,"service":"acme/flux"}`, made.ID, score),
			fmt.Sprintf(`{"prediction":%q,"score":%s}`, made.ID+"~"+sealed, score),
		}[i%3]
		rated := w.do(call{Place: 1, Path: "/_perch/feedback", Body: body})
		require.Equal(t, 202, rated.Status, rated.Body)
	}
	for i := range users {
		r := w.predict(0, "acme/flux", fmt.Sprint("user-", i))
		require.Equal(t, 201, r.Status, r.Body)
		assigned[r.variant()]++
		rate(i, r, map[string]string{document.Canary: "0.25", document.Stable: "true"}[r.variant()])
		if i < 3 {
			rate(i, r, map[string]string{document.Canary: "0", document.Stable: "0.5"}[r.variant()]) // a second time
		}
	}
	require.NoError(t, w.upstream.SetBehavior(versionID("acme/flux", document.Canary), upstream.Behavior{ErrorRate: 1}))
	rescued := 0
	for i := range users {
		if r := w.predict(0, "acme/flux", fmt.Sprint("user-", i)); r.Header.Get("x-perch-fallback") != "" {
			rate(i, r, "false")
			rescued++
		}
	}
	require.Equal(t, int(assigned[document.Canary]), rescued)
	ratings := users + 3 + rescued
	w.ratings(service, ratings)

	s := w.stack
	analytics := cloudflare.NewAnalytics(cloudflare.Config{BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset})
	ask := func(statement string) ([]cloudflare.Row, error) { return analytics.Query(t.Context(), statement) }
	last := time.Now()
	var good, bad map[string]float64
	require.Eventually(t, func() bool {
		q := measure.Query{Dataset: s.Dataset, Interval: time.Second, Expire: 5 * time.Minute, Through: measure.Closed(time.Now(), 0, time.Second)}
		q.Subjects = []measure.Subject{{Service: service, Rollout: "r1", Began: began.Add(-time.Second), From: began.Unix() - 1}}
		if q.Through < last.Unix() {
			return false
		}
		intervals, err := measure.Ask(q, ask)
		require.NoError(t, err)
		require.NoError(t, measure.AskFeedback(q, ask, intervals))
		good, bad = map[string]float64{}, map[string]float64{}
		for _, in := range intervals[service] {
			good[document.Stable], bad[document.Stable] = good[document.Stable]+in.Stable.Good, bad[document.Stable]+in.Stable.Bad
			good[document.Canary], bad[document.Canary] = good[document.Canary]+in.Canary.Good, bad[document.Canary]+in.Canary.Bad
		}
		return good[document.Stable]+bad[document.Canary] == users
	}, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, map[string]float64{document.Stable: assigned[document.Stable], document.Canary: 0}, good)
	require.Equal(t, map[string]float64{document.Stable: 0, document.Canary: assigned[document.Canary]}, bad)
}

// TestFeedbackLost: a rating that cannot be recorded is not accepted, and one of
// a service that cannot be known just now is refused as such.
func TestFeedbackLost(t *testing.T) {
	unbound := bundle(t, func(_ string, text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("env.ANALYTICS."), []byte("env.UNBOUND."))
	})
	w := newWorld(t, worldOptions{Worker: unbound, Models: []string{"acme/quiet"}})
	w.write(rollout("acme/quiet", 10_000))
	body := `{"prediction":"x","score":1,"service":"acme/quiet"}`
	r := w.rate(body, nil)
	require.Equal(t, 502, r.Status, r.Body)
	require.Contains(t, r.Body, "Perch failed")
	require.NoError(t, w.stack.SetKV(t.Context(), stack.KVUpdate{Reads: "error"}))
	r = w.rate(strings.Replace(body, "quiet", "unseen", 1), nil)
	require.Equal(t, 503, r.Status, r.Body)
	require.Contains(t, r.Body, "the rollout document of model:acme/unseen cannot be read")
	require.Empty(t, w.upstream.Log())
}

// TestFeedbackRefused: what is no rating is refused with the reason, as a problem
// in JSON, and leaves no point.
func TestFeedbackRefused(t *testing.T) {
	const model = "acme/flux"
	w := newWorld(t, worldOptions{Models: []string{model}})
	w.write(rollout(model, 10_000))
	one, other := w.create(model, nil), w.create(model, nil)
	_, good, _ := strings.Cut(one.URLs.Get, "?perch=")
	_, stream, _ := strings.Cut(one.URLs.Stream, "/_perch/at/")
	stranger, err := newSealKey(9).Seal(seal.Context{Purpose: seal.Prediction, Service: "model:" + model, Prediction: one.ID})
	require.NoError(t, err)
	w.upstream.ClearLog()
	trace := strings.Repeat("ab", 16)
	valid := `{"trace":"` + trace + `","score":1,"service":"acme/flux"}`
	of := func(prediction string) string {
		return `{"prediction":"` + prediction + `","score":1,"service":"acme/flux"}`
	}
	for _, tt := range []struct {
		name, method, body string
		headers            map[string]string
		status             int
		want               string
	}{
		{"another method", "GET", "", nil, 405, "send ratings by POST"},
		{"a preflight", "OPTIONS", "", nil, 405, "send ratings by POST"},
		{"nothing", "", "", nil, 400, "the body must be JSON"},
		{"no JSON", "", "score=1", nil, 400, "the body must be JSON"},
		{"cut off", "", valid[:len(valid)-1], nil, 400, "the body must be JSON"},
		{"no object", "", `[` + valid + `]`, nil, 400, "a JSON object"},
		{"null", "", `null`, nil, 400, "a JSON object"},
		{"compressed", "", zipped(t, valid), map[string]string{"content-encoding": "gzip"}, 415, "without content-encoding"},
		{"too large", "", valid[:len(valid)-1] + strings.Repeat(" ", 4096) + "}", nil, 413, "at most 4096 bytes"},
		{"no score", "", `{"trace":"` + trace + `","service":"acme/flux"}`, nil, 400, "score must be a number from 0 to 1"},
		{"a score that is a text", "", strings.Replace(valid, "1,", `"1",`, 1), nil, 400, "score must be"},
		{"a score that is too high", "", strings.Replace(valid, "1,", "1.01,", 1), nil, 400, "score must be"},
		{"a score that is too low", "", strings.Replace(valid, "1,", "-0.01,", 1), nil, 400, "score must be"},
		{"a score that is no number's", "", strings.Replace(valid, "1,", "1e999,", 1), nil, 400, "score must be"},
		{"no score but null", "", strings.Replace(valid, "1,", "null,", 1), nil, 400, "score must be"},
		{"nothing that is rated", "", `{"score":1,"service":"acme/flux"}`, nil, 400, "either trace or prediction"},
		{"two that are rated", "", `{"trace":"` + trace + `","prediction":"x","score":1,"service":"acme/flux"}`, nil, 400, "either trace or prediction"},
		{"a trace that is a number", "", `{"trace":12,"score":1,"service":"acme/flux"}`, nil, 400, "trace must be a string"},
		{"a trace that is too short", "", strings.Replace(valid, "ab", "", 1), nil, 400, "32 hexadecimal digits"},
		{"a trace in capitals", "", strings.Replace(valid, "ab", "AB", 1), nil, 400, "in lower case"},
		{"an empty prediction", "", of(""), nil, 400, "prediction must be a string that is not empty"},
		{"a prediction with a line break", "", of(`a\nb`), nil, 400, "prediction is no id"},
		{"a long prediction", "", of(pad(257)), nil, 400, "prediction is no id"},
		{"a seal of nothing", "", of("~" + good), nil, 400, "prediction is no id"},
		{"a member that is not known", "", strings.Replace(valid, "score", "rating", 1), nil, 400, "rating is not known: a rating has trace, prediction, score, service"},
		{"no service", "", `{"trace":"` + trace + `","score":1}`, nil, 400, "name the service"},
		{"a service that cannot be", "", strings.Replace(valid, "acme/flux", "flux", 1), nil, 400, "service must be a name"},
		{"a service that is a list", "", strings.Replace(valid, `"acme/flux"`, `["acme/flux"]`, 1), nil, 400, "service must be a string"},
		{"nobody's service", "", strings.Replace(valid, "acme/flux", "acme/nobody", 1), nil, 404, "there is no rollout document for model:acme/nobody"},
		{"not a seal", "", of(one.ID + "~x"), nil, 403, "not a seal"},
		{"an altered seal", "", of(one.ID + "~" + alter(good, 2)), nil, 403, "altered"},
		{"an altered mac", "", of(one.ID + "~" + alter(good, 3)), nil, 403, "altered"},
		{"a stranger's seal", "", of(one.ID + "~" + stranger), nil, 403, "a key that this worker does not hold"},
		{"another prediction's seal", "", of(other.ID + "~" + good), nil, 403, "another prediction"},
		{"a stream's seal", "", of(one.ID + "~" + stream), nil, 403, "another purpose"},
		{"more behind a seal", "", of(one.ID + "~" + good + "~" + good), nil, 403, "not a seal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.within(t).do(call{Method: tt.method, Path: "/_perch/feedback", Body: tt.body, Headers: tt.headers})
			require.Equal(t, tt.status, r.Status, r.Body)
			require.Equal(t, "application/problem+json", r.Header.Get("content-type"))
			var problem struct {
				Title, Detail string
				Status        int
			}
			require.NoError(t, json.Unmarshal([]byte(r.Body), &problem))
			require.Equal(t, tt.status, problem.Status)
			require.NotEqual(t, "Refused", problem.Title)
			require.Contains(t, problem.Detail, tt.want)
			require.Equal(t, "perch", r.Header.Get("x-perch-served-by"))
			require.NotContains(t, r.Body, sealKey.Text())
		})
	}
	t.Run("too large, without saying so", func(t *testing.T) {
		body := strings.NewReader(valid + strings.Repeat(" ", 64<<10))
		response := w.within(t).open(call{Path: "/_perch/feedback"}, &onlyReader{body})
		defer response.Body.Close()
		require.Equal(t, 413, response.StatusCode)
	})
	require.Equal(t, 202, w.rate(valid, nil).Status)
	w.ratings("model:"+model, 1)
	require.Empty(t, w.upstream.Log())
	require.NotContains(t, w.stack.Log(), good)
}

// onlyReader hides a reader's length, so that it is sent in chunks.
type onlyReader struct{ r *strings.Reader }

func (o *onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

// TestFeedbackAccess: who may not make predictions of a service may not rate
// them; a sealed one its maker alone; the rate limit counts both.
func TestFeedbackAccess(t *testing.T) {
	const model = "acme/held"
	w := heldWorld(t, worldOptions{Models: []string{model, "acme/limited"}, Limits: []string{"LIMITER:3:60"}})
	d := rollout(model, 10_000)
	d.Access = heldAccess("mobile", "web")
	w.write(d)
	r := w.enter(model, bearer("mobile-key"))
	require.Equal(t, 201, r.Status, r.Body)
	var made links
	require.NoError(t, json.Unmarshal([]byte(r.Body), &made))
	id, _, isSealed := strings.Cut(made.ID, "~")
	require.True(t, isSealed, made.ID)
	byTrace := `{"trace":"` + r.Header.Get("x-perch-trace") + `","score":1,"service":"` + model + `"}`
	bySeal := `{"prediction":"` + made.ID + `","score":0.5}`
	w.upstream.ClearLog()
	for _, tt := range []struct {
		name, body, key string
		status          int
		want            string
	}{
		{"no key", byTrace, "", 401, "send an API key"},
		{"an unknown key", byTrace, "Bearer guess", 401, "not an API key"},
		{"the held token", byTrace, "Bearer " + heldToken, 401, "not an API key"},
		{"a key", byTrace, "Bearer web-key", 202, `"score":1`},
		{"no key, by a seal", bySeal, "", 401, "send an API key"},
		{"another client's seal", bySeal, "Bearer web-key", 403, "not made through Perch by this client"},
		{"its maker's seal", bySeal, "Bearer mobile-key", 202, `"score":0.5`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.within(t).rate(tt.body, map[string]string{"authorization": tt.key})
			require.Equal(t, tt.status, r.Status, r.Body)
			require.Contains(t, r.Body, tt.want)
			for _, secret := range []string{heldToken, sealKey.Text(), "-key"} {
				require.NotContains(t, r.Body, secret)
			}
		})
	}
	rows := w.ratings("model:"+model, 2)
	for _, row := range rows {
		for column, value := range row {
			for _, secret := range []string{heldToken, "-key", "~", "p1."} {
				require.NotContains(t, fmt.Sprint(value), secret, column)
			}
		}
	}
	variants := map[string]string{}
	for _, row := range rows {
		prediction, err := row.Text(string(telemetry.Prediction))
		require.NoError(t, err)
		variants[prediction], err = row.Text(string(telemetry.Variant))
		require.NoError(t, err)
	}
	require.Equal(t, map[string]string{"": "", id: document.Canary}, variants)
	require.Empty(t, w.upstream.Log())

	limited := rollout("acme/limited", 10_000)
	limited.Access = &document.Access{RateLimit: "LIMITER"}
	w.write(limited)
	rating := strings.Replace(byTrace, model, "acme/limited", 1)
	accepted := 0
	require.Eventually(t, func() bool {
		r = w.rate(rating, map[string]string{"x-user-id": "busy"})
		if r.Status == 202 {
			accepted++
		}
		return r.Status == 429
	}, 10*time.Second, time.Millisecond)
	require.Contains(t, r.Body, "too many requests of this user for model:acme/limited")
	require.GreaterOrEqual(t, accepted, 3)
	require.Equal(t, 202, w.rate(rating, map[string]string{"x-user-id": "idle"}).Status)
	w.ratings("model:acme/limited", accepted+1)
}
