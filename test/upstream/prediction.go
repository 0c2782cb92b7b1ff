package upstream

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
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

// prediction is planned in full when it is created, so that its state is a function of the time and costs no timer.
// Only a cancel changes the plan.
type prediction struct {
	id, secret string // secret completes the stream's URL
	version    *version
	shown      string // version property
	deployment string
	input      json.RawMessage
	tokens     []string
	created    time.Time
	deadline   time.Time // zero without Cancel-After
	run        time.Duration
	begins     time.Time // when it starts, unless it ends before

	mu      sync.Mutex
	ends    time.Time
	outcome string
	changed chan struct{} // closed by a cancel
}

// plan decides when and how p ends.
func (p *prediction) plan(f fate) {
	p.run = f.run
	p.begins = p.created.Add(f.queue)
	p.ends = p.begins.Add(f.run)
	p.outcome = statusSucceeded
	if f.outcome == outcomeFailed {
		p.outcome = statusFailed
		p.tokens = p.tokens[:len(p.tokens)/2]
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

// tokenAt spreads the tokens evenly over the run: the last one comes with its end.
func (p *prediction) tokenAt(i, of int) time.Time {
	return p.begins.Add(p.run * time.Duration(i+1) / time.Duration(of))
}

// emitted counts the tokens out by now.
func (p *prediction) emitted(now time.Time) int {
	ends, _, _ := p.end()
	if now.After(ends) {
		now = ends
	}
	n := 0
	for n < len(p.tokens) && !p.tokenAt(n, len(p.tokens)).After(now) {
		n++
	}
	return n
}

// outputAt is the output property: null until there is something.
func (p *prediction) outputAt(now time.Time) json.RawMessage {
	null := json.RawMessage("null")
	if p.version.Streams {
		n := p.emitted(now)
		if n == 0 {
			return null
		}
		return encode(p.tokens[:n])
	}
	if p.statusAt(now) != statusSucceeded {
		return null
	}
	return encode(strings.Join(p.tokens, ""))
}

func encode(value any) json.RawMessage {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and string lists always encode
	}
	return b
}

const maxEcho = 1000

// outputTokens names the version and repeats the prompt, so that a test sees who answered whom.
func outputTokens(v *version, input json.RawMessage, size int) []string {
	var known struct{ Prompt, Text any }
	// Input was parsed as an object before; a prompt of another type is not repeated.
	_ = json.Unmarshal(input, &known)
	prompt, ok := known.Prompt.(string)
	if !ok {
		prompt, _ = known.Text.(string)
	}
	if len(prompt) > maxEcho {
		prompt = prompt[:maxEcho]
		for !utf8.ValidString(prompt) {
			prompt = prompt[:len(prompt)-1]
		}
	}
	tokens := []string{v.Model + ":" + v.ID + ":"}
	length := len(tokens[0])
	for _, word := range strings.Fields(prompt) {
		tokens = append(tokens, " "+word)
		length += 1 + len(word)
	}
	if length < size {
		tokens = append(tokens, strings.Repeat(".", size-length))
	}
	return tokens
}
