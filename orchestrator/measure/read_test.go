package measure

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
)

// goodRow is a row as Analytics Engine writes it: some numbers are strings.
func goodRow() cloudflare.Row {
	return cloudflare.Row{
		"service": "http:q", "variant": "canary", "in_rollout": "r1", "slot": "1003", "class": "succeeded", "time_bin": json.Number("70"),
		"predict_bin": json.Number("68"), "token_bin": json.Number("-1"), "told_user": "00ff00ff", "n": "2", "w": "20", "w2": "200",
	}
}

func TestRead(t *testing.T) {
	q := asked(9, "http:q")
	found, err := Read(q, []cloudflare.Row{goodRow(), goodRow()})
	require.NoError(t, err)
	require.Len(t, found["http:q"], 1)
	in := found["http:q"][0]
	require.EqualValues(t, 1003, in.Index)
	require.Equal(t, []float64{4, 40, 400}, []float64{in.Canary.Rows, in.Canary.Weight, in.Canary.WeightSquared})
	require.Equal(t, []uint32{0xff00ff}, in.Canary.Users, "distinct")
	require.Equal(t, 40.0, in.Canary.Times[judge.Total].From(70))
	require.Equal(t, 40.0, in.Canary.Times[judge.Predict].From(0))
	require.Zero(t, in.Canary.Times[judge.FirstToken].Total())
	require.Zero(t, in.Stable)
}

// TestReadLeavesOut: what is not asked for is left out, whatever the statement says.
func TestReadLeavesOut(t *testing.T) {
	tests := []struct {
		name    string
		columns cloudflare.Row
		found   bool
	}{
		{"the rollout's canary", cloudflare.Row{}, true},
		{"the target of a rule", cloudflare.Row{"variant": "person"}, false},
		{"another rollout's canary", cloudflare.Row{"in_rollout": "r0"}, false},
		{"another rollout's stable", cloudflare.Row{"in_rollout": "r0", "variant": "stable"}, false},
		{"stable that was halted", cloudflare.Row{"in_rollout": "", "variant": "stable"}, false},
		{"before From", cloudflare.Row{"slot": "1001"}, false},
		{"at From", cloudflare.Row{"slot": "1002"}, true},
		{"the canary in the minute in which the rollout began", cloudflare.Row{"slot": "1002", "service": "http:later"}, false},
		{"stable in it", cloudflare.Row{"slot": "1002", "service": "http:later", "variant": "stable", "in_rollout": "r0"}, true},
		{"stable that was halted in it", cloudflare.Row{"slot": "1002", "service": "http:later", "variant": "stable", "in_rollout": ""}, true},
	}
	q := asked(9, "http:q", "http:later")
	q.Subjects[0].From = first + 2
	q.Subjects[1].Began = time.Unix(at(2*minute), 1)
	q.Subjects = append(q.Subjects, asked(9, "http:behind").Subjects...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row := goodRow()
			maps.Copy(row, test.columns)
			found, err := Read(q, []cloudflare.Row{row})
			require.NoError(t, err)
			require.Equal(t, test.found, len(found) == 1, "%v", found)
		})
	}
}

// TestReadRefuses: what no such statement answers is an error that names it.
func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name, column string
		value        any // nil: the column is missing
		want         string
	}{
		{"no service", "service", nil, "read column service: it is not in the answer"},
		{"a service that was not asked for", "service", "http:other", `service "http:other" was not asked for`},
		{"a number for a text", "variant", json.Number("1"), "read column variant: 1 is not a text"},
		{"an interval after the last", "slot", "1010", "read column slot: 1010 is not a whole number from 1000 to 1009"},
		{"one before the first", "slot", "999", "read column slot: 999 is not a whole number from 1000 to 1009"},
		{"a part of one", "slot", "1003.5", "read column slot: 1003.5 is not a whole number from 1000 to 1009"},
		{"no class", "class", nil, "read column class: it is not in the answer"},
		{"a class that is not known", "class", "best", `class "best" is not known`},
		{"no bucket", "time_bin", nil, "read column time_bin: it is not in the answer"},
		{"a bucket past the last", "time_bin", "200", "read column time_bin: 200 is not a whole number from -1 to 199"},
		{"one before the first", "predict_bin", "-2", "read column predict_bin: -2 is not a whole number from -1 to 199"},
		{"null", "token_bin", any(json.Number("NaN")), "read column token_bin: NaN is not a whole number from -1 to 199"},
		{"no rows", "n", "0", "read column n: 0 is not a whole number from 1 to 9.007199254740992e+15"},
		{"fewer than none", "n", "-3", "read column n: -3 is not a whole number from 1 to 9.007199254740992e+15"},
		{"less weight than rows", "w", "1", "read column w: 1 is not a whole number from 2 to 9.007199254740992e+15"},
		{"infinite weight", "w", "Inf", "read column w: +Inf is not a whole number from 2 to 9.007199254740992e+15"},
		{"a huge one", "w2", "1e300", "read column w2: 1e+300 is not a whole number from 20 to 9.007199254740992e+15"},
		{"a list", "w2", []any{"1"}, "read column w2: [1] is not a number"},
		{"a user that is none", "told_user", "xyzxyzxy", `user "xyzxyzxy" is not the begin of a fingerprint`},
		{"a short one", "told_user", "abc", `user "abc" is not the begin of a fingerprint`},
	}
	q := asked(9, "http:q")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row := goodRow()
			delete(row, test.column)
			if test.value != nil {
				row[test.column] = test.value
			}
			_, err := Read(q, []cloudflare.Row{goodRow(), row})
			require.EqualError(t, err, "read measurements: row 2: "+test.want)
		})
	}
	_, err := Read(q, slices.Repeat([]cloudflare.Row{goodRow()}, q.Limit()))
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorIs(t, ReadFeedback(q, make([]cloudflare.Row, q.Limit()), nil), ErrTooLarge)
	for _, row := range []cloudflare.Row{{}, {"service": "http:q", "variant": "canary", "in_rollout": "r1", "slot": "1000", "class": "ok", "w": "1"},
		{"service": "http:q", "variant": "canary", "in_rollout": "r1", "slot": "1000", "class": "bad", "w": "-1"}} {
		into := map[string][]judge.Interval{}
		require.Error(t, ReadFeedback(q, []cloudflare.Row{row}, into))
		require.Empty(t, into)
	}
}

// FuzzRead: whatever the answer is, it is read into finite counts or refused.
func FuzzRead(f *testing.F) {
	for _, rows := range [][]cloudflare.Row{{goodRow()}, {goodRow(), goodRow()}, {{}}, {{"service": nil, "n": "NaN"}}} {
		text, err := json.Marshal(rows)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`[{"service":"http:q","variant":"stable","in_rollout":"","slot":1000,"class":"expired","time_bin":null,"predict_bin":1e99,"token_bin":-0,"told_user":"ffffffff","n":1,"w":1,"w2":9e15}]`))
	f.Add([]byte(`[{"service":"http:q","variant":"canary","in_rollout":"r1","slot":1000,"class":"bad","w":"9007199254740992"}]`))
	q := asked(9, "http:q")
	f.Fuzz(func(t *testing.T, text []byte) {
		var rows []cloudflare.Row
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&rows) != nil {
			return
		}
		found, err := Read(q, rows)
		if err != nil {
			found = map[string][]judge.Interval{}
		}
		_ = ReadFeedback(q, rows, found)
		for k, n := range told(found) {
			require.True(t, n > 0 && !math.IsInf(n, 0), "%s is %g", k, n)
		}
		for _, intervals := range found {
			require.True(t, slices.IsSortedFunc(intervals, func(a, b judge.Interval) int { return int(a.Index - b.Index) }))
		}
	})
}
