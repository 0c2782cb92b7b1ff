package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"perch/orchestrator/judge"
	"perch/orchestrator/rollout"
)

// Progress shows a rollout while it runs.
type Progress interface {
	// Look shows the outcome of one look; next is when the following one is due.
	Look(s Status, next time.Time)
	// Note shows what went wrong with a look.
	Note(now time.Time, text string)
	// Tick is called now and then between two looks.
	Tick(now time.Time)
	// Close leaves the last outcome standing.
	Close()
}

// heartbeat is the longest silence of Plain.
const heartbeat = 5 * time.Minute

// Plain writes a line for each look that changed something, and a heartbeat.
type Plain struct {
	W       io.Writer
	last    string // what the last line said, apart from its time
	lastAt  time.Time
	written bool
}

// Look implements Progress.
func (p *Plain) Look(s Status, _ time.Time) {
	for _, note := range s.Notes {
		p.Note(s.Time, note)
	}
	key := s.Phase + " " + s.Percentage.String()
	if s.Verdict != nil {
		key += " " + string(s.Verdict.Decision)
	}
	if p.written && key == p.last && !s.Changed() && s.Time.Sub(p.lastAt) < heartbeat {
		return
	}
	p.last, p.lastAt, p.written = key, s.Time, true
	fmt.Fprintln(p.W, s.Line())
}

// Note implements Progress.
func (p *Plain) Note(now time.Time, text string) {
	fmt.Fprintln(p.W, now.UTC().Format(clock)+text)
}

// Tick implements Progress.
func (p *Plain) Tick(time.Time) {}

// Close implements Progress.
func (p *Plain) Close() {}

// Changed reports that the command changed the rollout, renewals apart.
func (s Status) Changed() bool { return s.Action != "" && s.Action != "none" && s.Action != "renew" }

// JSONLines writes each look as one line of JSON.
type JSONLines struct{ W io.Writer }

// Look implements Progress.
func (p JSONLines) Look(s Status, _ time.Time) {
	text, _ := json.Marshal(s)
	fmt.Fprintln(p.W, string(text))
}

// Note implements Progress.
func (p JSONLines) Note(now time.Time, text string) {
	line, _ := json.Marshal(map[string]any{"time": now.UTC(), "note": text})
	fmt.Fprintln(p.W, string(line))
}

// Tick implements Progress.
func (p JSONLines) Tick(time.Time) {}

// Close implements Progress.
func (p JSONLines) Close() {}

// Live redraws one region at the bottom of a terminal. What changed scrolls by
// above it.
type Live struct {
	W     io.Writer
	lines int // drawn, to be erased
	last  *Status
	next  time.Time
}

// Look implements Progress.
func (l *Live) Look(s Status, next time.Time) {
	l.erase()
	for _, note := range s.Notes {
		fmt.Fprint(l.W, indented(s.Time.UTC().Format(clock), short(note)))
	}
	if s.Changed() {
		WriteLine(l.W, s)
	}
	l.last, l.next = &s, next
	l.draw(s.Time)
}

// Note implements Progress.
func (l *Live) Note(now time.Time, text string) {
	l.erase()
	fmt.Fprint(l.W, indented(now.UTC().Format(clock), short(text)))
	l.draw(now)
}

// Tick implements Progress.
func (l *Live) Tick(now time.Time) {
	l.erase()
	l.draw(now)
}

// Close implements Progress.
func (l *Live) Close() { l.lines = 0 }

// erase moves to the region's first line and clears from there on.
func (l *Live) erase() {
	if l.lines > 0 {
		fmt.Fprintf(l.W, "\x1b[%dA\x1b[J", l.lines)
	}
	l.lines = 0
}

func (l *Live) draw(now time.Time) {
	if l.last == nil {
		return
	}
	var b bytes.Buffer
	s := *l.last
	s.Time = now
	fmt.Fprintf(&b, "%s  %s  %s\n", s.Service, s.Rollout, PhaseTitle(s.Phase))
	b.WriteString(indented("  ", l.stepLine(s)))
	if s.Verdict != nil {
		writeMetrics(&b, *s.Verdict, s.measuredAt())
	}
	switch {
	case s.Verdict != nil:
		b.WriteString(indented("  ", opinion(*s.Verdict)))
	case s.Reason != "":
		b.WriteString(indented("  ", short(s.Reason)))
	}
	text := b.String()
	l.lines = strings.Count(text, "\n")
	// Lines must not wrap, or the region's height is unknown.
	fmt.Fprint(l.W, "\x1b[?7l"+text+"\x1b[?7h")
}

func (l *Live) stepLine(s Status) string {
	if rollout.Phase(s.Phase).Ended() {
		return s.share()
	}
	text := fmt.Sprintf("step %d of %d, %s %%", s.Step, s.Steps, s.Percentage)
	if s.dropped() {
		return text + " set, but the edge dropped the canary at " + moment(*s.UnattendedAfter)
	}
	if s.Phase != string(rollout.Running) {
		return text
	}
	if left := s.BakeEnds.Sub(s.Time); left > 0 {
		text += ", bakes for another " + judge.FormatDuration(left)
	}
	if left := l.next.Sub(s.Time); left > 0 {
		text += ", next look in " + judge.FormatDuration(left)
	}
	return text
}
