// Package breaker says when to stop asking a target that fails. It is pure, and
// compiles under TinyGo.
package breaker

// Settings are those of a target. Times are in milliseconds.
type Settings struct {
	Failures int64 // in a row that open the breaker; 0 switches it off
	RetryMS  int64 // until the first probe; doubled after each one that fails
	ProbeMS  int64 // after which a probe that nobody reported on counts as lost
}

// maxDoublings bounds the wait between probes: 8 times RetryMS.
const maxDoublings = 3

// Breaker is closed while all is well, which is its zero value. After enough
// failures in a row it is open: nobody may ask, except one probe at a time once
// the wait is over. A probe that succeeds closes it. Times given to it are in
// milliseconds since one fixed moment.
type Breaker struct {
	failures  int64 // in a row, while closed
	open      bool
	probing   bool
	doublings uint8
	at        int64 // when the next probe may go, or the one under way was sent
}

// Closed reports whether there is nothing to remember.
func (b *Breaker) Closed() bool { return *b == Breaker{} }

// Allows reports whether a request would be let through; it takes no probe.
func (b *Breaker) Allows(s Settings, now int64) bool {
	// A clock that was set back must not keep it open.
	switch {
	case !b.open || s.Failures == 0:
		return true
	case b.probing:
		return now-b.at >= s.ProbeMS || now < b.at
	}
	return now >= b.at || b.at-now > s.RetryMS<<b.doublings
}

// Ask is Allows for a request that will be sent, whose end is to be reported: of
// those that an open breaker lets through it is the probe.
func (b *Breaker) Ask(s Settings, now int64) bool {
	allowed := b.Allows(s, now)
	if allowed && b.open {
		b.probing, b.at = true, now
	}
	return allowed
}

// Report takes notice of how a request ended. While the breaker is open and no
// probe is under way, those are requests from before, which tell nothing new.
func (b *Breaker) Report(s Settings, failed bool, now int64) {
	switch {
	case s.Failures == 0, !failed && (!b.open || b.probing):
		*b = Breaker{}
	case !b.open:
		b.failures++
		if b.failures >= s.Failures {
			*b = Breaker{open: true, at: now + s.RetryMS}
		}
	case b.probing:
		b.doublings = min(b.doublings+1, maxDoublings)
		b.probing, b.at = false, now+s.RetryMS<<b.doublings
	}
}
