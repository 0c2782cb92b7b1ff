package reactor

import (
	"perch/shared/document"
	"perch/worker/breaker"
)

// maxBreakers bounds the breakers of targets that failed lately. They belong to a
// rollout's target, not to a document, which is read anew all the time.
const maxBreakers = 64

// syncMS is the longest that a synchronous create waits, in milliseconds.
const syncMS = 70_000

type guarded struct {
	breaker.Breaker
	service         document.Service
	rollout, target string
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
	i := r.breakerOf(d, target)
	switch {
	case i < 0 || d.FallbackOf(target) < 0:
		return true
	case preview:
		return r.breakers[i].Allows(settings(d, target), now)
	}
	return r.breakers[i].Ask(settings(d, target), now)
}

//go:noinline
func (r *Reactor) breakerOf(d *document.Document, target int) int {
	for i, g := range r.breakers {
		if g.target == d.Targets[target].Name && g.rollout == d.Rollout && g.service == d.Service {
			return i
		}
	}
	return -1
}

func (r *Reactor) report(d *document.Document, target int, failed bool, now int64) {
	i := r.breakerOf(d, target)
	switch {
	case d.FallbackOf(target) < 0, i < 0 && !failed:
		return
	case i < 0:
		if len(r.breakers) == maxBreakers {
			r.forget(0)
		}
		i = len(r.breakers)
		r.breakers = append(r.breakers, &guarded{service: d.Service, rollout: d.Rollout, target: d.Targets[target].Name})
	}
	g := r.breakers[i]
	g.Report(settings(d, target), failed, now)
	if g.Closed() {
		r.forget(i)
	}
}

//go:noinline
func (r *Reactor) forget(i int) {
	last := len(r.breakers) - 1
	copy(r.breakers[i:], r.breakers[i+1:])
	r.breakers[last] = nil
	r.breakers = r.breakers[:last]
}
