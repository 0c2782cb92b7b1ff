// Package many simulates many rollouts at once, on all cores.
package many

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
)

// Run simulates a number of rollouts and returns their outcomes in their order,
// which depends on the seed alone: every method meets the same rollouts. done is
// called after each one, from several goroutines; it may be nil. The error is the
// context's.
func Run(ctx context.Context, plan simulate.Plan, method judge.Method, maker simulate.Maker, runs int, seed uint64, done func()) ([]simulate.Outcome, error) {
	outcomes := make([]simulate.Outcome, runs)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(runs) && ctx.Err() == nil; i = next.Add(1) - 1 {
				outcomes[i] = simulate.Run(plan, simulate.MethodOf(method), maker.Traffic(source(seed, i)))
				if done != nil {
					done()
				}
			}
		})
	}
	workers.Wait()
	return outcomes, ctx.Err()
}

// source is the randomness of one rollout. Hashes keep those of neighbours apart.
func source(seed uint64, rollout int64) *rand.PCG {
	text := strconv.FormatUint(seed, 10) + " " + strconv.FormatInt(rollout, 10)
	return rand.NewPCG(xxhash.Sum64String(text), xxhash.Sum64String("perch "+text))
}
