package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"perch/orchestrator/judge"
)

// off takes a metric out of judgement.
const off = "off"

// defaultBounds are the limits of a metric where a policy names it without.
func defaultBounds(m judge.Metric) judge.Bounds {
	if m == judge.Feedback {
		return judge.DefaultFeedback()
	}
	return judge.DefaultLimits()[m]
}

// isRate reports that a metric is a fraction, not a time.
func isRate(m judge.Metric) bool {
	_, _, timed := m.Timing()
	return !timed
}

// metrics reads limits over those that are there already. A metric is taken
// out by off where that may be.
func (r *reader) metrics(limits judge.Limits, base judge.Limits, mayBeOff bool) func(string, *yaml.Node) {
	fields := make([]field, len(judge.Metrics))
	for i, m := range judge.Metrics {
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
			if name := node.Content[i].Value; slices.Contains(judge.Metrics[:], judge.Metric(name)) {
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
		return "{absolute: " + node.Value + "}" // a number alone is a limit
	}
	var members []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		members = append(members, node.Content[i].Value+": "+node.Content[i+1].Value)
	}
	return "{" + strings.Join(members, ", ") + "}"
}
