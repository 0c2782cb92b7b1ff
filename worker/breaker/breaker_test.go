package breaker

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var settings = Settings{Failures: 3, RetryMS: 100, ProbeMS: 1_000}

// TestBreaker follows one breaker through what can happen to it: "fail" and "ok"
// are reports, "yes" and "no" the answers to somebody who asks.
func TestBreaker(t *testing.T) {
	type step struct {
		at    int64
		event string
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"failures in a row open it", []step{{0, "fail"}, {1, "fail"}, {2, "yes"}, {2, "fail"}, {3, "no"}}},
		{"a success between them does not", []step{{0, "fail"}, {0, "fail"}, {0, "ok"}, {0, "fail"}, {0, "fail"}, {0, "yes"}}},
		{"one probe goes when the wait is over", []step{{0, "fail"}, {0, "fail"}, {0, "fail"}, {99, "no"}, {100, "yes"}, {100, "no"}, {999, "no"}}},
		{"a probe that succeeds closes it", []step{{0, "fail"}, {0, "fail"}, {0, "fail"}, {100, "yes"}, {150, "ok"}, {150, "yes"}, {150, "yes"}}},
		{"closed again it counts from nothing", []step{
			{0, "fail"}, {0, "fail"}, {0, "fail"}, {100, "yes"}, {150, "ok"}, {150, "fail"}, {150, "fail"}, {150, "yes"}, {150, "fail"}, {150, "no"}, {250, "yes"},
		}},
		{"probes that fail double the wait, to eight times", []step{
			{0, "fail"}, {0, "fail"}, {0, "fail"},
			{100, "yes"}, {110, "fail"}, {309, "no"}, {310, "yes"}, {310, "fail"}, {709, "no"}, {710, "yes"}, {710, "fail"},
			{1509, "no"}, {1510, "yes"}, {1510, "fail"}, {2309, "no"}, {2310, "yes"}, {2310, "fail"}, {3109, "no"}, {3110, "yes"},
		}},
		{"requests from before it opened change nothing", []step{
			{0, "fail"}, {0, "fail"}, {0, "fail"}, {50, "ok"}, {51, "fail"}, {99, "no"}, {100, "yes"},
		}},
		{"a probe that nobody reports on is lost in time", []step{{0, "fail"}, {0, "fail"}, {0, "fail"}, {100, "yes"}, {1099, "no"}, {1100, "yes"}, {1101, "no"}}},
		{"a clock set back does not keep it open", []step{{50_000, "fail"}, {50_000, "fail"}, {50_000, "fail"}, {50_001, "no"}, {7, "yes"}, {6, "yes"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b Breaker
			for i, s := range test.steps {
				switch s.event {
				case "fail", "ok":
					b.Report(settings, s.event == "fail", s.at)
				default:
					allowed := b.Allows(settings, s.at)
					require.Equal(t, s.event == "yes", b.Ask(settings, s.at), "step %d", i)
					require.Equal(t, s.event == "yes", allowed, "step %d", i)
				}
			}
		})
	}
}

// TestSwitchedOff: without a number of failures nothing opens, and what was open
// is so no more.
func TestSwitchedOff(t *testing.T) {
	var b Breaker
	for range 10 {
		b.Report(settings, true, 0)
	}
	require.False(t, b.Allows(settings, 1))
	off := Settings{RetryMS: 100, ProbeMS: 1_000}
	require.True(t, b.Allows(off, 1))
	b.Report(off, true, 1)
	require.True(t, b.Closed())
}

// plain is a breaker once more, as a list of all that has happened.
type plain struct {
	s      Settings
	events []event
}

type event struct {
	kind string // fail, ok, or probe
	at   int64
}

// state goes through the list from its beginning.
func (p plain) state() (open bool, next int64, probe bool) {
	failures, wait := int64(0), int64(0)
	for _, e := range p.events {
		switch {
		case !open && e.kind == "fail":
			if failures++; failures == p.s.Failures {
				open, wait, next = true, p.s.RetryMS, e.at+p.s.RetryMS
			}
		case !open:
			failures = 0
		case e.kind == "probe":
			probe, next = true, e.at+p.s.ProbeMS
		case probe && e.kind == "ok":
			open, probe, failures = false, false, 0
		case probe:
			wait = min(2*wait, 8*p.s.RetryMS)
			probe, next = false, e.at+wait
		}
	}
	return open, next, probe
}

func (p *plain) ask(now int64) bool {
	open, next, _ := p.state()
	if open && now < next {
		return false
	}
	if open {
		p.events = append(p.events, event{"probe", now})
	}
	return true
}

// TestAgainstPlain compares the breaker with its second implementation, and sees
// that an open one lets through one at a time.
func TestAgainstPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	skipped, probes := 0, 0
	for range 2_000 {
		s := Settings{Failures: 1 + random.Int64N(4), RetryMS: 1 + random.Int64N(50), ProbeMS: 1 + random.Int64N(500)}
		var b Breaker
		p := plain{s: s}
		now, failing := int64(0), random.IntN(2) == 0
		for range 60 {
			now += random.Int64N(30)
			if random.IntN(15) == 0 {
				failing = !failing
			}
			if random.IntN(2) == 0 {
				kind := map[bool]string{true: "fail", false: "ok"}[failing]
				b.Report(s, failing, now)
				p.events = append(p.events, event{kind, now})
				continue
			}
			before, _, _ := p.state()
			want := p.ask(now)
			require.Equal(t, want, b.Allows(s, now), "%+v at %d: %+v", s, now, p.events)
			require.Equal(t, want, b.Ask(s, now), "%+v at %d: %+v", s, now, p.events)
			if !want {
				skipped++
			} else if before {
				probes++
				require.False(t, b.Allows(s, now), "a second probe beside the first")
			}
			open, _, _ := p.state()
			require.Equal(t, open, b.open)
		}
	}
	require.Greater(t, skipped, 1_000)
	require.Greater(t, probes, 1_000)
}
