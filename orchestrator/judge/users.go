package judge

import (
	"math"
	"slices"

	"perch/orchestrator/judge/pack"
	"perch/orchestrator/judge/ratio"
)

const (
	// prints is the number of fingerprints that there are.
	prints = 1 << 32
	// mostSeen and mostFailing are how many of them a sketch keeps.
	mostSeen, mostFailing = 256, 128
)

// sketch is the set of users that were seen, by their fingerprints. When it is
// full it keeps those that the next power of two divides, so that it shows an
// even part of all.
type sketch struct {
	level  uint8    // it holds multiples of 1<<level alone
	prints []uint32 // rising; never changed in place
}

// add returns the set with the fingerprints below a bound, and how many of them
// were new to it; it counts by the level from before, and keeps at most a number.
func (s sketch) add(seen []uint32, bound uint64, most int) (sketch, float64) {
	mask := uint32(1)<<s.level - 1
	fresh := 0
	for i, print := range seen {
		if print&mask == 0 && uint64(print) < bound && (i == 0 || seen[i-1] != print) {
			if _, known := slices.BinarySearch(s.prints, print); !known {
				fresh++
			}
		}
	}
	if fresh == 0 {
		return s, 0
	}
	union := make([]uint32, 0, len(s.prints)+len(seen))
	union = append(union, s.prints...)
	for _, print := range seen {
		if print&mask == 0 && uint64(print) < bound {
			union = append(union, print)
		}
	}
	slices.Sort(union)
	s.prints = slices.Compact(union)
	for len(s.prints) > most && s.level < 31 {
		s.level++
		mask = uint32(1)<<s.level - 1
		s.prints = slices.DeleteFunc(s.prints, func(print uint32) bool { return print&mask != 0 })
	}
	return s, float64(fresh)
}

// below returns the set without what is not below a bound.
func (s sketch) below(bound uint64) sketch {
	end := len(s.prints)
	for end > 0 && uint64(s.prints[end-1]) >= bound {
		end--
	}
	s.prints = s.prints[:end:end]
	return s
}

// exposure returns which part of the users the set shows, (0, 1].
func (s sketch) exposure() float64 { return 1 / float64(uint64(1)<<s.level) }

// users estimates how many users were seen.
func (s sketch) users() float64 { return float64(len(s.prints)) / s.exposure() }

func (s sketch) append(to []byte) []byte {
	to = pack.Int(pack.Int(to, int64(s.level)), int64(len(s.prints)))
	before := uint32(0)
	for _, print := range s.prints {
		to = pack.Float(to, float64((print-before)>>s.level))
		before = print
	}
	return to
}

func readSketch(from *pack.Reader) sketch {
	s := sketch{level: uint8(from.Int()) & 31}
	n := from.Len(1)
	if n == 0 {
		return s
	}
	s.prints = make([]uint32, n)
	before := uint32(0)
	for i := range s.prints {
		before += uint32(from.Float()) << s.level
		s.prints[i] = before
	}
	return s
}

// alike reports that of both arms about as large a part was recorded: of the one that
// is sampled more, fewer users are seen, and fewer of those that fail.
func alike(all *[arms]arm) bool {
	part := all[canary].kish() / all[stable].kish()
	return part > 0.99 && part < 1/0.99
}

// crowd is who was seen in a step. A user counts once: with a sticky split one
// user whose every call fails looks like many errors.
type crowd struct {
	bound                        uint64 // fingerprints below it are of seen; 0: no user is known
	seen, failing, clientFailing [arms]sketch
	check                        ratio.Check
}

// fresh are the users that an interval brought; zero where users are unknown.
type fresh struct {
	known           bool
	failing, client freshUsers
}

// freshUsers are those that had an event of a rate for the first time in the step.
type freshUsers struct {
	k    [arms]float64 // their number, of the part that the sketches show
	n    [arms]float64 // part of all users among which they were looked for
	part float64       // part of the canary's users that the sketch shows
}

// of returns the users of a rate.
func (f *fresh) of(m Metric) *freshUsers {
	if m == Errors {
		return &f.failing
	}
	return &f.client
}

// add returns the crowd with an interval more; share is the canary's part of new
// users, counting whether the interval counts in the sample-ratio check.
func (c crowd) add(iv *Interval, share float64, counting bool) (crowd, fresh) {
	var f fresh
	if bound := max(1, uint64(math.Round(min(1, iv.UserShare)*prints))); c.bound == 0 || bound < c.bound {
		c.bound = bound
		for i := range c.seen {
			c.seen[i] = c.seen[i].below(bound)
		}
	}
	shares := [arms]float64{share, 1 - share}
	f.failing.part, f.client.part = c.failing[canary].exposure(), c.clientFailing[canary].exposure()
	var come, expected [arms]float64
	for i, counts := range [arms]*Counts{&iv.Canary, &iv.Stable} {
		expected[i] = shares[i] * c.seen[i].exposure()
		f.failing.n[i] = shares[i] * c.failing[i].exposure()
		f.client.n[i] = shares[i] * c.clientFailing[i].exposure()
		c.seen[i], come[i] = c.seen[i].add(counts.Users, c.bound, mostSeen)
		c.failing[i], f.failing.k[i] = c.failing[i].add(counts.FailingUsers, prints, mostFailing)
		c.clientFailing[i], f.client.k[i] = c.clientFailing[i].add(counts.ClientFailingUsers, prints, mostFailing)
	}
	if counting && share > 0 && share < 1 {
		c.check = c.check.Add(come[canary], come[stable], expected[canary]/(expected[canary]+expected[stable]))
	}
	return c, f
}

// of returns the sketches of a rate's failing users.
func (c *crowd) of(m Metric) *[arms]sketch {
	if m == Errors {
		return &c.failing
	}
	return &c.clientFailing
}

// users returns the distinct users of an arm in the step, and which part of them
// had an event of a rate; 0 where none is known.
func (c *crowd) users(m Metric, arm int) (seen, part float64) {
	if c.bound == 0 {
		return 0, 0
	}
	if seen = c.seen[arm].users() * prints / float64(c.bound); seen == 0 {
		return 0, 0
	}
	return seen, min(1, c.of(m)[arm].users()/seen)
}

func (c crowd) append(to []byte) []byte {
	to = pack.Int(to, int64(c.bound))
	for _, pair := range []*[arms]sketch{&c.seen, &c.failing, &c.clientFailing} {
		to = pair[stable].append(pair[canary].append(to))
	}
	return c.check.Append(to)
}

func readCrowd(from *pack.Reader) crowd {
	c := crowd{bound: uint64(from.Int())}
	for _, pair := range []*[arms]sketch{&c.seen, &c.failing, &c.clientFailing} {
		pair[canary] = readSketch(from)
		pair[stable] = readSketch(from)
	}
	c.check = ratio.Read(from)
	return c
}
