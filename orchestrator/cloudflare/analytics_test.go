package cloudflare

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuery: the statement is the body, and both ways to write a number are read.
func TestQuery(t *testing.T) {
	a := newAPI(t, answer{status: 200, body: `{"meta":[{"name":"variant","type":"String"}],"data":[
		{"variant":"canary","n":"18446744073709551615","rate":0.25,"p95":null},
		{"variant":"stable","n":12,"rate":"nan","p95":"1e3"}],"rows":2}`})
	rows, err := a.analytics().Query(t.Context(), "SELECT blob2 AS variant FROM requests")
	require.NoError(t, err)
	require.Equal(t, []call{{
		Method: "POST", Path: "/client/v4/accounts/acct/analytics_engine/sql", ContentType: "text/plain",
		Authorization: "Bearer secret", Body: "SELECT blob2 AS variant FROM requests",
	}}, a.calls)
	require.Len(t, rows, 2)

	variant, err := rows[0].Text("variant")
	require.NoError(t, err)
	require.Equal(t, "canary", variant)
	for _, test := range []struct {
		row  int
		name string
		want float64
	}{
		{0, "n", 18446744073709551615}, {0, "rate", 0.25}, {0, "p95", math.NaN()},
		{1, "n", 12}, {1, "rate", math.NaN()}, {1, "p95", 1000},
	} {
		got, err := rows[test.row].Float(test.name)
		require.NoError(t, err)
		if math.IsNaN(test.want) {
			require.True(t, math.IsNaN(got), "%s of row %d is %v", test.name, test.row, got)
			continue
		}
		require.Equal(t, test.want, got)
	}
}

// TestRowMismatch: a column that is absent or of another type is an error, never 0.
func TestRowMismatch(t *testing.T) {
	row := Row{"text": "x", "flag": true, "empty": ""}
	for name, want := range map[string]string{
		"text":   "read column text: x is not a number",
		"flag":   "read column flag: true is not a number",
		"empty":  "read column empty:  is not a number",
		"absent": "read column absent: it is not in the answer",
	} {
		_, err := row.Float(name)
		require.EqualError(t, err, want)
	}
	_, err := row.Text("flag")
	require.EqualError(t, err, "read column flag: true is not a text")
	_, err = row.Text("absent")
	require.EqualError(t, err, "read column absent: it is not in the answer")
}

// TestNoRows: a dataset that exists and has nothing to say is not ErrNoData.
func TestNoRows(t *testing.T) {
	rows, err := newAPI(t, answer{status: 200, body: `{"meta":[],"data":[],"rows":0}`}).analytics().Query(t.Context(), "SELECT 1")
	require.NoError(t, err)
	require.Empty(t, rows)
}
