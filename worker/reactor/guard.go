package reactor

import (
	"perch/shared/document"
	"perch/worker/breaker"
)

// The breakers of targets that failed lately. They belong to a rollout's target,
// not to a document, which is read anew all the time.
const (
	maxBreakers = 64
	// forgetMS is how long a breaker is kept of which nobody reports any more.
	forgetMS = 3_600_000
)

// syncMS is the longest that a synchronous create waits, in milliseconds.
const syncMS = 70_000

type guarded struct {
	breaker.Breaker
	service         document.Service
	rollout, target string
	reportedAt      int64
}

func settings(d *document.Document, target int) breaker.Settings {
	f := d.Failover()
	return breaker.Settings{
		Failures: f.BreakerFailures, RetryMS: f.BreakerRetryMS,
		ProbeMS: max(d.TimeoutOf(target), syncMS) + f.BreakerRetryMS,
	}
}

// asks reports whether the target may be asked, and takes the probe of an open
// breaker unless nobody will be sent.
func (r *Reactor) asks(d *document.Document, target int, now int64, preview bool) bool {
	if len(r.breakers) == 0 || d.FallbackOf(target) < 0 {
		return true
	}
	g := r.breakerOf(d, target)
	switch {
	case g == nil:
		return true
	case preview:
		return g.Allows(settings(d, target), now)
	}
	return g.Ask(settings(d, target), now)
}

//go:noinline
func (r *Reactor) breakerOf(d *document.Document, target int) *guarded {
	for _, g := range r.breakers {
		if g.target == d.Targets[target].Name && g.rollout == d.Rollout && g.service == d.Service {
			return g
		}
	}
	return nil
}

func (r *Reactor) report(d *document.Document, target int, failed bool, now int64) {
	if d.FallbackOf(target) < 0 {
		return
	}
	g := r.breakerOf(d, target)
	if g == nil {
		if !failed {
			return
		}
		g = &guarded{service: d.Service, rollout: d.Rollout, target: d.Targets[target].Name}
		r.breakers = append(r.breakers, g)
	}
	g.reportedAt = now
	g.Report(settings(d, target), failed, now)
	r.forget(now)
}

// forget drops what is closed or stale, and of too many the one that was
// reported on least lately.
func (r *Reactor) forget(now int64) {
	var oldest *guarded
	for _, g := range r.breakers {
		if oldest == nil || g.reportedAt < oldest.reportedAt {
			oldest = g
		}
	}
	crowded := len(r.breakers) > maxBreakers
	kept := r.breakers[:0]
	for _, g := range r.breakers {
		if !g.Closed() && now-g.reportedAt <= forgetMS && !(crowded && g == oldest) {
			kept = append(kept, g)
		}
	}
	clear(r.breakers[len(kept):])
	r.breakers = kept
}
