package many

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
)

var worse = simulate.Scenario{Rate: 100, Errors: 0.001, Worse: 0.05}

// TestRun: outcomes depend on the seed, not on the number of cores.
func TestRun(t *testing.T) {
	run := func(cores int, seed uint64, method judge.Method) []simulate.Outcome {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		var done atomic.Int64
		outcomes, err := Run(context.Background(), simulate.Figures(), method, worse, 40, seed, func() { done.Add(1) })
		require.NoError(t, err)
		require.EqualValues(t, 40, done.Load())
		return outcomes
	}
	for _, method := range []judge.Method{simulate.Fixed, judge.Evidence, judge.Thresholds} {
		one := run(1, 1, method)
		require.Equal(t, one, run(7, 1, method), method)
		require.NotEqual(t, one, run(1, 2, method), method)
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var done atomic.Int64
	_, err := Run(ctx, simulate.Figures(), simulate.Fixed, worse, 1_000_000, 1, func() {
		if done.Add(1) == 10 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, done.Load(), int64(100))
}
