package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/histogram"
)

// TestBinsAgree: SQL puts a time into the bucket that histogram.Bucket names, but
// for times that are an edge as exactly as a float can be.
func TestBinsAgree(t *testing.T) {
	r := &chance{Rand: rand.New(rand.NewPCG(5, 1))}
	times := []float64{0, 0.5, 1, 1.01, 2, 100, 1e6, 7.5e7, 7.6e7, 1e9, 1e15, math.MaxFloat64}
	for range 5000 {
		times = append(times, r.ms())
	}
	for ms := range 2000 { // what a clock of whole milliseconds tells
		times = append(times, float64(ms))
	}
	for bucket := range histogram.Buckets { // beside each edge
		edge := histogram.Edge(bucket)
		times = append(times, edge*(1-1e-12), edge*(1+1e-12))
	}
	e := newEngine(t)
	var points []point
	for i, ms := range times {
		points = append(points, point{at: at(0), number: fmt.Sprint(i), firstByte: ms})
	}
	e.write(points)
	rows, err := e.ask("SELECT blob8 AS number, " + binWhere("double2 >= 0", "double2") + " AS bin FROM " + dataset)
	require.NoError(t, err)
	require.Len(t, rows, len(times))
	used := map[int]bool{}
	for _, row := range rows {
		number, err := row.Float("number")
		require.NoError(t, err)
		bin, err := row.Float("bin")
		require.NoError(t, err)
		ms := times[int(number)]
		require.Equal(t, histogram.Bucket(ms), int(bin), "%g ms", ms)
		used[int(bin)] = true
	}
	require.Len(t, used, histogram.Buckets)
}
