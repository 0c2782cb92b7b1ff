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
	service         document.Service
	rollout, target string
	breaker         breaker.Breaker
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
	i := r.breakerOf(d, target)
	if i < 0 {
		return true
	}
	if preview {
		return r.breakers[i].breaker.Allows(settings(d, target), now)
	}
	return r.breakers[i].breaker.Ask(settings(d, target), now)
}

func (r *Reactor) breakerOf(d *document.Document, target int) int {
	for i := range r.breakers {
		g := &r.breakers[i]
		if g.target == d.Targets[target].Name && g.rollout == d.Rollout && g.service == d.Service {
			return i
		}
	}
	return -1
}

func (r *Reactor) report(d *document.Document, target int, failed bool, now int64) {
	if d.FallbackOf(target) < 0 {
		return
	}
	i := r.breakerOf(d, target)
	if i < 0 && !failed {
		return
	}
	if i < 0 {
		r.forget(now)
		i = len(r.breakers)
		r.breakers = append(r.breakers, guarded{service: d.Service, rollout: d.Rollout, target: d.Targets[target].Name})
	}
	g := &r.breakers[i]
	g.reportedAt = now
	g.breaker.Report(settings(d, target), failed, now)
	if g.breaker.Closed() {
		r.drop(i)
	}
}

// forget makes room: what is stale goes, and of too many the one that was
// reported on least lately.
func (r *Reactor) forget(now int64) {
	oldest := 0
	for i := len(r.breakers) - 1; i >= 0; i-- {
		if now-r.breakers[i].reportedAt > forgetMS {
			r.drop(i)
		}
	}
	for i := range r.breakers {
		if r.breakers[i].reportedAt < r.breakers[oldest].reportedAt {
			oldest = i
		}
	}
	if len(r.breakers) >= maxBreakers {
		r.drop(oldest)
	}
}

func (r *Reactor) drop(i int) {
	last := len(r.breakers) - 1
	r.breakers[i] = r.breakers[last]
	r.breakers[last] = guarded{}
	r.breakers = r.breakers[:last]
}
