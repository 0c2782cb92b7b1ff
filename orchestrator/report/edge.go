package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// edgeSettings are the fields of a document that Edge shows, where they are given.
var edgeSettings = []string{"rules", "overrides", "timeout_ms", "idle_timeout_ms", "fallback", "outcomes", "access"}

// Edge is how the edge treats a service's requests, as far as its document says.
type Edge struct {
	fields map[string]json.RawMessage
	lines  []string
}

// NewEdge returns what is not as by default, or nil.
func NewEdge(d *document.Document) *Edge {
	var all map[string]json.RawMessage
	if json.Unmarshal(d.Encode(), &all) != nil {
		return nil
	}
	e := &Edge{fields: map[string]json.RawMessage{}, lines: edgeLines(d)}
	for _, name := range edgeSettings {
		if value, given := all[name]; given {
			e.fields[name] = value
		}
	}
	if len(e.fields) == 0 {
		return nil
	}
	return e
}

// MarshalJSON writes the fields as the document has them.
func (e *Edge) MarshalJSON() ([]byte, error) { return json.Marshal(e.fields) }

// edgeLines says what is not as by default, a phrase each.
func edgeLines(d *document.Document) []string {
	var lines []string
	if d.Fallback != nil {
		lines = append(lines, fallbackLine(d.Failover()))
	}
	if d.TimeoutMS != 0 {
		lines = append(lines, "answers begin within "+milliseconds(d.TimeoutMS))
	}
	if d.IdleTimeoutMS != 0 {
		lines = append(lines, "streams pause for "+milliseconds(d.IdleTimeoutMS)+" at most")
	}
	if d.Outcomes == document.OutcomesWebhook {
		lines = append(lines, "outcomes are learnt by webhook")
	}
	if d.Access != nil {
		lines = append(lines, accessLine(d.Access))
	}
	for _, r := range d.Rules {
		lines = append(lines, fmt.Sprintf("%s: %s goes to %s", r.Header, r.Equals, r.Use))
	}
	if d.Overrides {
		lines = append(lines, "testers may choose their variant")
	}
	return lines
}

func fallbackLine(f document.Fallback) string {
	causes := causeNames(f.On)
	if len(causes) == 0 {
		return "no failing over"
	}
	line := "fails over on " + strings.Join(causes, ", ")
	if f.ResendCreates {
		line += ", creates sent again"
	}
	if f.BreakerFailures == 0 {
		return line + ", without a breaker"
	}
	return line + fmt.Sprintf(", the breaker opens after %s for %s", judge.FormatCount(f.BreakerFailures, "failure"), milliseconds(f.BreakerRetryMS))
}

func accessLine(a *document.Access) string {
	var ways []string
	if len(a.Keys) > 0 {
		ways = append(ways, judge.FormatCount(int64(len(a.Keys)), "API key"))
	}
	if a.JWT != nil {
		ways = append(ways, "JWT")
	}
	line := "clients bring their own Replicate token"
	if a.Token != "" {
		line = "the Replicate token is " + a.Token
	}
	if len(ways) > 0 {
		line += ", clients are known by " + strings.Join(ways, " or ")
	}
	if a.RateLimit != "" {
		line += ", limited by " + a.RateLimit
	}
	return line
}

func milliseconds(ms int64) string { return judge.FormatDuration(time.Duration(ms) * time.Millisecond) }

func causeNames(on document.Causes) []string {
	var names []string
	for _, cause := range []struct {
		bit  document.Causes
		name string
	}{
		{document.OnConnect, "connect"}, {document.OnReset, "reset"}, {document.OnTimeout, "timeout"},
		{document.On5xx, "5xx"}, {document.OnFailed, "failed"},
	} {
		if on&cause.bit != 0 {
			names = append(names, cause.name)
		}
	}
	return names
}
