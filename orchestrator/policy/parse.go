package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"perch/orchestrator/judge"
	"perch/shared/document"
)

// Invalid lists what is wrong with a policy, each with line and field.
type Invalid struct{ Problems []string }

func (e *Invalid) Error() string { return strings.Join(e.Problems, "; ") }

// Parse reads a policy in YAML. What it leaves out has its default. Errors are
// a syntax error or *Invalid.
func Parse(text []byte) (Policy, error) {
	p := Default()
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return p, &Invalid{[]string{strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	r := reader{lines: map[string]int{}}
	if len(root.Content) > 0 {
		r.policy(root.Content[0], &p)
	}
	if _, given := r.lines["deadline"]; !given {
		p.Deadline = p.defaultDeadline()
	}
	if len(r.problems) == 0 {
		r.check(p)
	}
	if len(r.problems) > 0 {
		return p, &Invalid{r.problems}
	}
	return p, nil
}

// reader takes typed fields out of YAML nodes, and notes problems and lines.
type reader struct {
	problems []string
	lines    map[string]int // of each field that is given
}

// field reads one value of a mapping into the policy.
type field struct {
	name string
	read func(path string, value *yaml.Node)
}

func (r *reader) policy(node *yaml.Node, p *Policy) {
	r.mapping("", node, []field{
		{"method", r.choice(&p.Method, MethodThresholds)},
		{"steps", func(path string, value *yaml.Node) { p.Steps = r.steps(path, value) }},
		{"look", r.duration(&p.Look)},
		{"bake", r.duration(&p.Bake)},
		{"window", r.duration(&p.Window)},
		{"lag", r.duration(&p.Lag)},
		{"min_requests", func(path string, value *yaml.Node) { p.MinRequests = r.count(path, value) }},
		{"unattended_after", r.duration(&p.UnattendedAfter)},
		{"deadline", r.duration(&p.Deadline)},
		{"on_inconclusive", r.choice(&p.OnInconclusive, InconclusiveHold, InconclusiveRollback)},
		{"rollback", r.limits(&p.Rollback)},
		{"promote", r.limits(&p.Promote)},
		{"edge", r.edge(&p.Edge)},
	})
}

func (r *reader) limits(l *judge.Limits) func(string, *yaml.Node) {
	return func(path string, node *yaml.Node) {
		r.mapping(path, node, []field{
			{"errors", r.limit(&l.Errors, r.percentage(&l.Errors.Absolute))},
			{"latency_p95", r.limit(&l.LatencyP95, r.milliseconds(&l.LatencyP95.Absolute))},
		})
	}
}

func (r *reader) limit(l *judge.Limit, absolute func(string, *yaml.Node)) func(string, *yaml.Node) {
	return func(path string, node *yaml.Node) {
		r.mapping(path, node, []field{
			{"absolute", absolute},
			{"relative", func(path string, value *yaml.Node) { l.Relative = r.number(path, value, 1, 1000) }},
		})
	}
}

// mapping reads the members of a YAML mapping and refuses all others.
func (r *reader) mapping(path string, node *yaml.Node, fields []field) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return
	}
	if node.Kind != yaml.MappingNode {
		r.add(node, path, "write fields and their values here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		member := key.Value
		if path != "" {
			member = path + "." + key.Value
		}
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		switch {
		case at < 0:
			r.add(key, member, "is not known here; the fields are "+names(fields))
		case seen[key.Value]:
			r.add(key, member, "is there twice")
		default:
			seen[key.Value] = true
			r.lines[member] = key.Line
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			fields[at].read(member, value)
		}
	}
}

func names(fields []field) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return strings.Join(list, ", ")
}

func (r *reader) add(node *yaml.Node, path, problem string) {
	if path == "" {
		path = "policy"
	}
	r.problems = append(r.problems, fmt.Sprintf("line %d: %s: %s", node.Line, path, problem))
}

func (r *reader) choice(target *string, allowed ...string) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) {
		if !slices.Contains(allowed, value.Value) {
			r.add(value, path, fmt.Sprintf("%q is not allowed: give %s", value.Value, strings.Join(allowed, " or ")))
		}
		*target = value.Value
	}
}

func (r *reader) duration(target *Duration) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) {
		d, err := time.ParseDuration(value.Value)
		if err != nil || d < 0 || d > 90*24*time.Hour {
			r.add(value, path, fmt.Sprintf("%q is not allowed: give a duration such as 15m, 90s or 900ms, up to 2160h", value.Value))
		}
		*target = Duration(d)
	}
}

func (r *reader) steps(path string, list *yaml.Node) []int {
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.add(list, path, "give a list of percentages, such as [5, 20, 50, 100]")
		return nil
	}
	var steps []int
	for _, item := range list.Content {
		basisPoints, err := document.ParsePercentage(item.Value)
		if err != nil {
			r.add(item, path, err.Error())
		}
		steps = append(steps, basisPoints)
	}
	return steps
}

func (r *reader) count(path string, value *yaml.Node) int64 {
	n, err := strconv.ParseInt(value.Value, 10, 64)
	if err != nil || n < 1 || n > 1_000_000_000 {
		r.add(value, path, fmt.Sprintf("%q is not allowed: give a whole number from 1 on", value.Value))
	}
	return n
}

func (r *reader) number(path string, value *yaml.Node, least, most float64) float64 {
	n, err := strconv.ParseFloat(value.Value, 64)
	if err != nil || math.IsNaN(n) || n < least || n > most {
		r.add(value, path, fmt.Sprintf("%q is not allowed: give a number from %g to %g", value.Value, least, most))
	}
	return n
}

func (r *reader) percentage(target *float64) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) { *target = r.number(path, value, 0, 100) / 100 }
}

func (r *reader) milliseconds(target *float64) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) {
		var d Duration
		r.duration(&d)(path, value)
		*target = float64(d) / float64(time.Millisecond)
	}
}
