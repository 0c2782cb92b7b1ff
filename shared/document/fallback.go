package document

import "perch/shared/jsonstream"

// Causes is a set of reasons for which a request goes to its target's fallback.
type Causes uint8

// The causes.
const (
	OnConnect Causes = 1 << iota // no connection
	OnReset                      // broken off before the answer began
	OnTimeout                    // no answer in time
	On5xx
	OnFailed // a synchronous prediction that failed
)

// causeNames are the causes as a document writes them, in the order of their bits.
var causeNames = [...]string{"connect", "reset", "timeout", "5xx", "failed"}

const causeList = "a list of connect, reset, timeout, 5xx and failed"

func parseCause(name string) Causes {
	for i, known := range causeNames {
		if name == known {
			return 1 << i
		}
	}
	return 0
}

// Limits of Fallback.
const (
	MaxBodyBytes       = 8 << 20
	MaxBreakerFailures = 1000
)

// Fallback says when a request that its target failed is sent to another.
type Fallback struct {
	On Causes
	// MaxBodyBytes is the largest body that is kept for it, 0 to 8 MiB.
	MaxBodyBytes int64
	// ResendCreates sends a Replicate create again even where the first may have
	// been accepted, and billed: after a reset or a timeout.
	ResendCreates bool
	// BreakerFailures is how many failures in a row make an isolate stop asking
	// the target; 0 switches that off. BreakerRetryMS later it asks once more.
	BreakerFailures, BreakerRetryMS int64
}

// DefaultFallback is what a document has unless it says otherwise.
func DefaultFallback() Fallback {
	return Fallback{
		On: OnConnect | OnReset | OnTimeout | On5xx, MaxBodyBytes: 1 << 20, BreakerFailures: 5, BreakerRetryMS: 10_000,
	}
}

// Failover returns the document's Fallback, or the default one.
func (d *Document) Failover() Fallback {
	if d.Fallback != nil {
		return *d.Fallback
	}
	return DefaultFallback()
}

// FallbackOf returns the index of the target that answers where the one at index
// i fails, or −1.
func (d *Document) FallbackOf(i int) int {
	t := &d.Targets[i]
	switch {
	case d.Failover().On == 0 || t.Name == Stable:
		return -1
	case t.Name == Canary:
		return d.Target(Stable)
	}
	return d.Target(t.Fallback)
}

// TimeoutOf returns how long the target at index i has for its answer to begin,
// in milliseconds. 0 is no limit: nobody asked for one, and nobody else could
// answer.
func (d *Document) TimeoutOf(i int) int64 {
	switch {
	case d.Targets[i].TimeoutMS != 0:
		return d.Targets[i].TimeoutMS
	case d.TimeoutMS != 0:
		return d.TimeoutMS
	case d.FallbackOf(i) < 0:
		return 0
	}
	return DefaultTimeMS
}

// IdleTimeoutOf returns how long a stream of the target at index i may be silent,
// in milliseconds.
func (d *Document) IdleTimeoutOf(i int) int64 {
	switch {
	case d.Targets[i].IdleTimeoutMS != 0:
		return d.Targets[i].IdleTimeoutMS
	case d.IdleTimeoutMS != 0:
		return d.IdleTimeoutMS
	}
	return DefaultTimeMS
}

func (r *reader) fallback(root *jsonstream.Value) *Fallback {
	const prefix = "fallback."
	object := r.object(root, "", "fallback")
	if object == nil {
		return nil
	}
	f := DefaultFallback()
	r.read(object, prefix, binding{"on", nil}, binding{"max_body_bytes", &f.MaxBodyBytes}, binding{"resend_creates", &f.ResendCreates},
		binding{"breaker_failures", &f.BreakerFailures}, binding{"breaker_retry_ms", &f.BreakerRetryMS})
	if names, found := r.texts(object, prefix, "on", causeList); found {
		f.On = 0
		for _, name := range names {
			cause := parseCause(name)
			r.c.require(prefix, "on", cause != 0, "give "+causeList)
			f.On |= cause
		}
	}
	return &f
}

func (f *Fallback) check(c *checker) {
	if f == nil {
		return
	}
	c.require("", "fallback.max_body_bytes", f.MaxBodyBytes >= 0 && f.MaxBodyBytes <= MaxBodyBytes, "give 0 to 8388608")
	c.require("", "fallback.breaker_failures", f.BreakerFailures >= 0 && f.BreakerFailures <= MaxBreakerFailures, "give 1 to 1000, or 0 for no breaker")
	c.require("", "fallback.breaker_retry_ms", f.BreakerRetryMS >= 1 && f.BreakerRetryMS <= MaxTimeMS, timeRange)
}

func (w *writer) fallback(f *Fallback) {
	if f == nil {
		return
	}
	w.name("fallback")
	w.open('{')
	w.name("on")
	w.open('[')
	for i, name := range causeNames {
		if f.On&(1<<i) != 0 {
			w.item(name)
		}
	}
	w.close(']')
	w.integer("max_body_bytes", f.MaxBodyBytes)
	w.flag("resend_creates", f.ResendCreates)
	w.integer("breaker_failures", f.BreakerFailures)
	w.integer("breaker_retry_ms", f.BreakerRetryMS)
	w.close('}')
}
