package upstream

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Latency is a lognormal distribution of durations in local time. Sigma 0 makes it the fixed duration MedianMS.
type Latency struct {
	MedianMS float64 `json:"median_ms"` // milliseconds, at least 0
	Sigma    float64 `json:"sigma"`     // standard deviation of the logarithm, in [0,3], e.g. 0.3
}

// Fixed returns the latency that is always d.
func Fixed(d time.Duration) Latency {
	return Latency{MedianMS: float64(d) / float64(time.Millisecond)}
}

// Lognormal returns a latency with the given median and the standard deviation of its logarithm.
func Lognormal(median time.Duration, sigma float64) Latency {
	return Latency{MedianMS: float64(median) / float64(time.Millisecond), Sigma: sigma}
}

// at is the duration that belongs to a standard normal deviate.
func (l Latency) at(normal float64) time.Duration {
	return time.Duration(l.MedianMS * math.Exp(l.Sigma*normal) * float64(time.Millisecond))
}

func (l Latency) validate() error {
	if !(l.MedianMS >= 0 && l.MedianMS <= 3_600_000) {
		return fmt.Errorf("median_ms is %v, use 0 to 3600000", l.MedianMS)
	}
	if !(l.Sigma >= 0 && l.Sigma <= 3) {
		return fmt.Errorf("sigma is %v, use 0 to 3", l.Sigma)
	}
	return nil
}

// Behavior says how fast and how well a version or a plain model server answers. The four rates are shares of all
// requests, each in [0,1] and at most 1 together.
//
// FirstToken is the time from when the model runs to a prediction's first token, at most all of the run; 0 spreads the
// tokens evenly. A plain model server's stream has it between the response headers, which come after Latency, and the
// first event.
type Behavior struct {
	Latency      Latency `json:"latency"`       // time the model runs
	Queue        Latency `json:"queue"`         // time a prediction waits before it runs
	FirstToken   Latency `json:"first_token"`   // of a stream: see below
	ResetRate    float64 `json:"reset_rate"`    // connection closed without an answer
	ErrorRate    float64 `json:"error_rate"`    // answered with ErrorStatus
	ErrorStatus  int     `json:"error_status"`  // 500 to 599; 0 means 500
	RejectRate   float64 `json:"reject_rate"`   // answered with 422
	FailedRate   float64 `json:"failed_rate"`   // prediction ends as failed; a plain model server answers 500
	FailingUsers float64 `json:"failing_users"` // share of users, by x-user-id, whose every call is answered with ErrorStatus, in [0,1]; the same users everywhere
	OutputBytes  int     `json:"output_bytes"`  // a prediction's output is padded to this many bytes
}

func (b Behavior) validate() error {
	if err := b.Latency.validate(); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if err := b.Queue.validate(); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := b.FirstToken.validate(); err != nil {
		return fmt.Errorf("first_token: %w", err)
	}
	sum := 0.0
	for _, rate := range []float64{b.ResetRate, b.ErrorRate, b.RejectRate, b.FailedRate} {
		if !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("rate is %v, use 0 to 1", rate)
		}
		sum += rate
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("rates add up to %v, use at most 1", sum)
	}
	if !(b.FailingUsers >= 0 && b.FailingUsers <= 1) {
		return fmt.Errorf("failing_users is %v, use 0 to 1", b.FailingUsers)
	}
	if b.ErrorStatus != 0 && (b.ErrorStatus < 500 || b.ErrorStatus > 599) {
		return fmt.Errorf("error_status is %d, use 500 to 599", b.ErrorStatus)
	}
	if b.OutputBytes < 0 || b.OutputBytes > 64<<20 {
		return fmt.Errorf("output_bytes is %d, use 0 to %d", b.OutputBytes, 64<<20)
	}
	return nil
}

func (b Behavior) errorStatus() int {
	if b.ErrorStatus == 0 {
		return 500
	}
	return b.ErrorStatus
}

type outcome int

const (
	outcomeServed outcome = iota
	outcomeReset
	outcomeError
	outcomeRejected
	outcomeFailed
)

// fate is what becomes of one request.
type fate struct {
	outcome     outcome
	status      int // of outcomeError
	queue, run  time.Duration
	firstToken  time.Duration
	outputBytes int
	ending      FaultName // one in the prediction's life, or empty
}

// actor draws fates from a behavior that may change at any time.
type actor struct {
	mu       sync.Mutex
	behavior Behavior
	random   *rand.Rand
	tokens   *rand.Rand // of first tokens alone
}

// newActor seeds by name too, so that traffic on one actor does not change what another draws.
func newActor(seed uint64, name string, b Behavior) *actor {
	h := fnv.New64a()
	h.Write([]byte(name))
	name64 := h.Sum64()
	return &actor{behavior: b, random: rand.New(rand.NewPCG(seed, name64)), tokens: rand.New(rand.NewPCG(^seed, name64))}
}

// draw takes the same number of random values whatever the behavior is, so that a change of one rate leaves the
// latencies of a seeded run as they were. The user may be "".
func (a *actor) draw(user string) fate {
	a.mu.Lock()
	defer a.mu.Unlock()
	share, queue, run := a.random.Float64(), a.random.NormFloat64(), a.random.NormFloat64()
	b := a.behavior
	outcome := b.outcomeAt(share)
	if b.fails(user) {
		outcome = outcomeError
	}
	return fate{
		outcome:     outcome,
		status:      b.errorStatus(),
		queue:       b.Queue.at(queue),
		run:         b.Latency.at(run),
		firstToken:  b.FirstToken.at(a.tokens.NormFloat64()),
		outputBytes: b.OutputBytes,
	}
}

// fails tells whether the user is one of those whose every call fails.
func (b Behavior) fails(user string) bool {
	if b.FailingUsers == 0 || user == "" {
		return false
	}
	h := fnv.New64a()
	h.Write([]byte(user))
	share := rand.New(rand.NewPCG(h.Sum64(), 0)).Float64() // names that differ in their last letter alone are far apart
	return share < b.FailingUsers
}

func (b Behavior) outcomeAt(share float64) outcome {
	for _, step := range []struct {
		rate float64
		outcome
	}{
		{b.ResetRate, outcomeReset},
		{b.ErrorRate, outcomeError},
		{b.RejectRate, outcomeRejected},
		{b.FailedRate, outcomeFailed},
	} {
		if share < step.rate {
			return step.outcome
		}
		share -= step.rate
	}
	return outcomeServed
}

func (a *actor) get() Behavior {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.behavior
}

// change replaces the behavior by what f makes of it, unless f or the check of its result fails.
func (a *actor) change(f func(*Behavior) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.behavior
	if err := f(&b); err != nil {
		return err
	}
	if err := b.validate(); err != nil {
		return err
	}
	a.behavior = b
	return nil
}
