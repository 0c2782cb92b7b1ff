package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"perch/orchestrator/judge/next"
)

// metrics are all that can be judged, in the order in which they are shown.
var metrics = []judge.Metric{
	judge.Errors, judge.ClientErrors, judge.Feedback, judge.LatencyP50, judge.LatencyP95, judge.TotalP50, judge.TotalP95,
	judge.FirstTokenP50, judge.FirstTokenP95, judge.CostP50, judge.CostP95,
}

// off takes a metric out of judgement.
const off = "off"

// defaultBounds are the limits of a metric where a policy gives none.
func defaultBounds(m judge.Metric) judge.Bounds {
	switch m {
	case judge.Errors:
		return bounds(0.01, 1.5, 0.005, 1.2)
	case judge.ClientErrors:
		return bounds(0.02, 2, 0.01, 1.5)
	case judge.Feedback:
		return bounds(0.10, 1.5, 0.05, 1.2)
	}
	b := bounds(0, 1.5, 0, 1.2)
	b.Observe = m == judge.CostP50 || m == judge.CostP95
	return b
}

func bounds(rollback, rollbackRelative, promote, promoteRelative float64) judge.Bounds {
	return judge.Bounds{Rollback: judge.Limit{Absolute: rollback, Relative: rollbackRelative}, Promote: judge.Limit{Absolute: promote, Relative: promoteRelative}}
}

// defaultLimits leave out feedback, which few clients give.
func defaultLimits() judge.Limits {
	limits := judge.Limits{}
	for _, m := range metrics {
		if m != judge.Feedback {
			limits[m] = defaultBounds(m)
		}
	}
	return limits
}

// isRate reports that a metric is a fraction, not a time.
func isRate(m judge.Metric) bool {
	return m == judge.Errors || m == judge.ClientErrors || m == judge.Feedback
}

// format writes a metric's value as a policy has it: "1.25 %" or "200ms".
func format(m judge.Metric, value float64) string {
	if isRate(m) {
		return fmt.Sprintf("%.3g %%", value*100)
	}
	return fmt.Sprintf("%gms", value)
}

// metrics reads limits over those that are there already. A metric is taken
// out by off where that may be.
func (r *reader) metrics(limits judge.Limits, base judge.Limits, mayBeOff bool) func(string, *yaml.Node) {
	fields := make([]field, len(metrics))
	for i, m := range metrics {
		fields[i] = field{string(m), func(path string, value *yaml.Node) {
			if value.Kind == yaml.ScalarNode && value.Value == off {
				if !mayBeOff {
					r.add(value, path, "cannot be off in a step: give observe: true")
				}
				delete(limits, m)
				return
			}
			b, given := base[m]
			if !given {
				b = defaultBounds(m)
			}
			r.bounds(m, &b)(path, value)
			limits[m] = b
		}}
	}
	return func(path string, node *yaml.Node) { r.mapping(path, node, fields) }
}

func (r *reader) bounds(m judge.Metric, b *judge.Bounds) func(string, *yaml.Node) {
	value := r.milliseconds
	if isRate(m) {
		value = r.percentage
	}
	limit := func(l *judge.Limit) func(string, *yaml.Node) {
		return func(path string, node *yaml.Node) {
			r.mapping(path, node, []field{{"absolute", value(&l.Absolute)}, {"relative", r.ratio(&l.Relative)}})
		}
	}
	return func(path string, node *yaml.Node) {
		r.mapping(path, node, []field{
			{"rollback", limit(&b.Rollback)}, {"promote", limit(&b.Promote)},
			{"floor", value(&b.Floor)}, {"ceiling", value(&b.Ceiling)}, {"observe", r.truth(&b.Observe)},
		})
	}
}

// moved refuses a section of limits of all metrics, and says how to write what
// it holds.
func (r *reader) moved(aim string) func(string, *yaml.Node) {
	return func(path string, node *yaml.Node) {
		var parts []string
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if name := node.Content[i].Value; slices.Contains(metrics, judge.Metric(name)) {
				parts = append(parts, fmt.Sprintf("%s: {%s: %s}", name, aim, flow(node.Content[i+1])))
			}
		}
		if len(parts) == 0 {
			parts = []string{fmt.Sprintf("errors: {%s: {absolute: 1, relative: 1.5}}", aim)}
		}
		r.problems = append(r.problems, fmt.Sprintf("line %d: %s: limits stand with their metric: write metrics: {%s}", r.lines[path], path, strings.Join(parts, ", ")))
	}
}

// flow writes a node in one line.
func flow(node *yaml.Node) string {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return node.Value
	}
	var members []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		members = append(members, node.Content[i].Value+": "+node.Content[i+1].Value)
	}
	return "{" + strings.Join(members, ", ") + "}"
}
