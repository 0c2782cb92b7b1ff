package upstream

import (
	"encoding/json"
	"sync"
	"time"
)

// The statuses of a prediction.
const (
	statusStarting   = "starting"
	statusProcessing = "processing"
	statusSucceeded  = "succeeded"
	statusFailed     = "failed"
	statusCanceled   = "canceled"
	statusAborted    = "aborted"
)

const failureText = "CUDA out of memory. Tried to allocate 2.00 GiB"

const never = 10 * 365 * 24 * time.Hour

// prediction is planned in full when it is created, so that its state is a function of the time and costs no timer.
// Only a cancel changes the plan.
type prediction struct {
	id, secret string // secret completes the stream's URL
	version    *version
	shown      string // version property
	deployment string
	server     string // name of the model server, or empty for Replicate
	input      json.RawMessage
	webhook    webhook
	streams    string    // what URLs of streams begin with; empty for what others do
	training   *training // nil for predictions
	origin     string    // what URLs told to the webhook begin with
	tokens     []string
	created    time.Time
	deadline   time.Time // zero without Cancel-After
	run        time.Duration
	firstToken time.Duration // after begins; 0: as the tokens are spread
	begins     time.Time     // when it starts, unless it ends before

	mu      sync.Mutex
	ends    time.Time
	outcome string
	changed chan struct{} // closed by a cancel
}

// plan decides when and how p ends.
func (p *prediction) plan(f fate) {
	p.run, p.firstToken = f.run, min(f.firstToken, f.run)
	p.begins = p.created.Add(f.queue)
	p.ends = p.begins.Add(f.run)
	p.outcome = statusSucceeded
	if f.outcome == outcomeFailed || f.ending == FaultFailed {
		p.outcome = statusFailed
		p.tokens = p.tokens[:len(p.tokens)/2]
	}
	switch f.ending {
	case FaultStuck:
		p.begins = p.begins.Add(never)
		p.ends = p.begins
	case FaultCanceled:
		p.ends, p.outcome = p.begins.Add(f.run/2), statusCanceled
	case FaultAborted:
		p.ends, p.outcome = p.begins, statusAborted
		p.begins = p.begins.Add(never)
	}
	if p.deadline.IsZero() || !p.deadline.Before(p.ends) {
		return
	}
	p.ends, p.outcome = p.deadline, statusCanceled
	if p.deadline.Before(p.begins) {
		p.outcome = statusAborted
	}
}

// end is when and how p ends as things stand, and a channel that is closed when that changes; nil when it cannot.
func (p *prediction) end() (time.Time, string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ends, p.outcome, p.changed
}

// cancel ends p now unless it has ended already.
func (p *prediction) cancel(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.ends) {
		return
	}
	p.ends, p.outcome = now, statusCanceled
	close(p.changed)
	p.changed = nil
}

func (p *prediction) statusAt(now time.Time) string {
	ends, outcome, _ := p.end()
	switch {
	case !now.Before(ends):
		return outcome
	case now.Before(p.begins):
		return statusStarting
	}
	return statusProcessing
}
