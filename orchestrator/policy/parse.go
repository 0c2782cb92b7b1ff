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
	if len(r.problems) == 0 {
		for _, problem := range p.Validate() {
			if p.Auto && problem.Path == "deadline" {
				continue // of steps that are still to be laid
			}
			r.conflict(problem)
		}
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
	steps := func() {}
	r.mapping("", node, []field{
		{"method", func(path string, value *yaml.Node) {
			p.Method = judge.Method(r.choice(path, value, string(judge.Evidence), string(judge.Thresholds)))
		}},
		{"steps", func(path string, value *yaml.Node) { steps = func() { r.steps(path, value, p) } }},
		{"interval", r.duration(&p.Interval)},
		{"look", r.duration(&p.Look)},
		{"bake", r.duration(&p.Bake)},
		{"window", r.duration(&p.Window)},
		{"reference", r.duration(&p.Reference)},
		{"history", r.duration(&p.History)},
		{"cold_start", r.duration(&p.ColdStart)},
		{"spread", r.duration(&p.Spread)},
		{"lag", r.duration(&p.Lag)},
		{"expire", r.duration(&p.Expire)},
		{"holdback", func(path string, value *yaml.Node) { p.Holdback = r.basisPoints(path, value) }},
		{"deadline", r.duration(&p.Deadline)},
		{"on_inconclusive", func(path string, value *yaml.Node) {
			p.OnInconclusive = r.choice(path, value, InconclusiveHold, InconclusiveRollback)
		}},
		{"unattended_after", r.duration(&p.UnattendedAfter)},
		{"min_requests", func(path string, value *yaml.Node) { p.MinRequests = r.count(path, value, 1_000_000_000) }},
		{"failures", func(path string, value *yaml.Node) { p.Failures = int(r.count(path, value, 1_000)) }},
		{"metrics", r.metrics(p.Limits, p.Limits, true)},
		{"edge", r.edge(&p.Edge)},
		{"rollback", r.moved("rollback")},
		{"promote", r.moved("promote")},
	})
	steps() // the limits of a step are read over those of the policy
	_, p.ownDeadline = r.lines["deadline"]
	*p = p.Laid(p.Steps)
	p.ownDeadline = p.ownDeadline && p.Auto
}

// steps reads a list of percentages or mappings, or auto.
func (r *reader) steps(path string, list *yaml.Node, p *Policy) {
	if p.Auto = list.Kind == yaml.ScalarNode && list.Value == "auto"; p.Auto {
		return
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.add(list, path, "give auto or a list of percentages, such as [5, 20, 50, 100]")
		return
	}
	p.Steps = make([]Step, len(list.Content))
	for i, item := range list.Content {
		r.step(stepPath(i), item, &p.Steps[i], p.Limits)
	}
}

// stepPath names a step, from 0 on.
func stepPath(i int) string { return fmt.Sprintf("steps[%d]", i) }

// step reads a percentage, or a mapping of it and what is the step's own.
func (r *reader) step(path string, node *yaml.Node, step *Step, limits judge.Limits) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	r.lines[path] = node.Line
	if node.Kind == yaml.ScalarNode {
		step.BasisPoints = r.basisPoints(path, node)
		return
	}
	r.mapping(path, node, []field{
		{"percentage", func(path string, value *yaml.Node) { step.BasisPoints = r.basisPoints(path, value) }},
		{"bake", r.duration(&step.Bake)},
		{"approve", func(path string, value *yaml.Node) { step.Approve = r.approval(path, value) }},
		{"pause", r.duration(&step.Pause)},
		{"metrics", func(path string, value *yaml.Node) {
			step.Limits = judge.Limits{}
			r.metrics(step.Limits, limits, false)(path, value)
		}},
	})
	if node.Kind == yaml.MappingNode && r.lines[path+".percentage"] == 0 {
		r.add(node, path, "has no percentage: write {percentage: 5, …}")
	}
}

func (r *reader) approval(path string, value *yaml.Node) Approval {
	switch value.Value {
	case "true", string(ApproveAlso):
		return ApproveAlso
	case string(ApproveInstead):
		return ApproveInstead
	case "false":
		return ApproveNone
	}
	r.add(value, path, fmt.Sprintf("%q is not allowed: give true, instead or false", value.Value))
	return ApproveNone
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
		r.add(node, path, "write fields and their values here, such as "+example(path, fields))
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
			r.add(key, member, "is not known here; the fields are "+names(path, fields))
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

// example is a mapping with the first of the fields.
func example(path string, fields []field) string {
	switch last := path[strings.LastIndex(path, ".")+1:]; {
	case last == "metrics":
		return "{errors: {rollback: {absolute: 1}}}"
	case fields[0].name == "absolute":
		return "{absolute: 1}, or {relative: 1.5}"
	case fields[0].name == "rollback":
		return "{rollback: {relative: 2}}"
	}
	return "{" + fields[0].name + ": …}"
}

// names lists the fields, without those of the policy that are only told where
// their values belong.
func names(path string, fields []field) string {
	var list []string
	for _, f := range fields {
		if moved := path == "" && (f.name == "rollback" || f.name == "promote"); !moved {
			list = append(list, f.name)
		}
	}
	return strings.Join(list, ", ")
}

func (r *reader) add(node *yaml.Node, path, problem string) {
	if path == "" {
		path = "policy"
	}
	r.problems = append(r.problems, fmt.Sprintf("line %d: %s: %s", node.Line, path, problem))
}

// choice returns one of the allowed values.
func (r *reader) choice(path string, value *yaml.Node, allowed ...string) string {
	if !slices.Contains(allowed, value.Value) {
		r.add(value, path, fmt.Sprintf("%q is not allowed: give %s", value.Value, strings.Join(allowed, " or ")))
	}
	return value.Value
}

func (r *reader) truth(target *bool) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) { *target = r.choice(path, value, "true", "false") == "true" }
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

func (r *reader) basisPoints(path string, value *yaml.Node) int {
	basisPoints, err := document.ParsePercentage(value.Value)
	if err != nil {
		r.add(value, path, err.Error())
	}
	return basisPoints
}

func (r *reader) count(path string, value *yaml.Node, most int64) int64 {
	n, err := strconv.ParseInt(value.Value, 10, 64)
	if err != nil || n < 1 || n > most {
		r.add(value, path, fmt.Sprintf("%q is not allowed: give a whole number from 1 to %d", value.Value, most))
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

// ratio reads a multiple of stable's value; 0 is no limit of this kind.
func (r *reader) ratio(target *float64) func(string, *yaml.Node) {
	return func(path string, value *yaml.Node) {
		if *target = 0; value.Value != "0" {
			*target = r.number(path, value, 1, 1000)
		}
	}
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
