package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perch/shared/document"
)

// Edge is how the edge treats a service's requests, beside how many of them go
// where: the fields of the rollout document that a rollout does not change. It
// is not frozen into a rollout's state: the document holds it from the start on.
type Edge struct {
	fields map[string]json.RawMessage // null takes a field out of the document
	lines  map[string]int             // of each path below edge
}

// edgeFields are the fields of a document that are a person's to set.
var edgeFields = []string{"targets", "rules", "user", "overrides", "timeout_ms", "idle_timeout_ms", "fallback", "outcomes", "access"}

// armFields are those of a target that commands name by --stable and --canary.
var armFields = []string{"version", "deployment", "model", "url", "credentials"}

// IsEmpty reports that nothing was given.
func (e Edge) IsEmpty() bool { return len(e.fields) == 0 }

// Fields are the names of what was given, in a fixed order.
func (e Edge) Fields() []string {
	return slices.DeleteFunc(slices.Clone(edgeFields), func(name string) bool { return e.fields[name] == nil })
}

// Apply returns the document with what is given; what is not stays as it is.
// Settings of stable and canary are added to the targets of that name, other
// targets are set whole. Errors are *Invalid.
func (e Edge) Apply(d *document.Document) (*document.Document, error) {
	if e.IsEmpty() {
		return d, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(d.Encode(), &members); err != nil {
		return nil, err
	}
	for name, value := range e.fields {
		switch {
		case name == "targets":
			members[name] = mergeTargets(members[name], value)
		case string(value) == "null":
			delete(members, name)
		default:
			members[name] = value
		}
	}
	applied, err := document.ParseStrict(encoded(members))
	if err != nil {
		return nil, e.locate(err)
	}
	slices.SortStableFunc(applied.Targets, func(a, b document.Target) int { return place(a) - place(b) })
	return applied, nil
}

// place orders targets as a document has them.
func place(t document.Target) int {
	switch t.Name {
	case document.Stable:
		return 0
	case document.Canary:
		return 1
	}
	return 2
}

// mergeTargets returns the targets with changes. What is no object stays wrong,
// for the document to say.
func mergeTargets(present, given json.RawMessage) json.RawMessage {
	var targets, changes map[string]json.RawMessage
	if json.Unmarshal(present, &targets) != nil || json.Unmarshal(given, &changes) != nil {
		return given
	}
	for name, change := range changes {
		arm := name == document.Stable || name == document.Canary
		switch {
		case arm && targets[name] == nil: // no canary at present
		case arm:
			targets[name] = mergeFields(targets[name], change)
		case string(change) == "null":
			delete(targets, name)
		default:
			targets[name] = change
		}
	}
	return encoded(targets)
}

func mergeFields(present, given json.RawMessage) json.RawMessage {
	var fields, more map[string]json.RawMessage
	if json.Unmarshal(present, &fields) != nil || json.Unmarshal(given, &more) != nil {
		return given
	}
	maps.Copy(fields, more)
	maps.DeleteFunc(fields, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return encoded(fields)
}

// locate adds to each problem of a document the line that caused it.
func (e Edge) locate(err error) error {
	var invalid *document.Invalid
	if !errors.As(err, &invalid) {
		return &Invalid{[]string{"edge: " + err.Error()}}
	}
	located := make([]string, len(invalid.Problems))
	for i, problem := range invalid.Problems {
		located[i] = "edge." + problem
		path, _, _ := strings.Cut(problem, ": ")
		for ; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
			if line := e.lines[path]; line > 0 {
				located[i] = fmt.Sprintf("line %d: edge.%s", line, problem)
				break
			}
		}
	}
	return &Invalid{located}
}

// edge reads the section as it is; what its values may be, a document knows.
func (r *reader) edge(e *Edge) func(string, *yaml.Node) {
	return func(path string, node *yaml.Node) {
		e.fields, e.lines = map[string]json.RawMessage{}, map[string]int{}
		fields := make([]field, len(edgeFields))
		for i, name := range edgeFields {
			fields[i] = field{name, func(_ string, value *yaml.Node) {
				e.lines[name] = r.lines[path+"."+name]
				e.fields[name] = r.json(e, name, value, maxDepth)
			}}
		}
		r.mapping(path, node, fields)
		r.checkArms(node)
		if e.IsEmpty() {
			return
		}
		var invalid *Invalid
		if _, err := e.Apply(sample()); errors.As(err, &invalid) {
			r.problems = append(r.problems, invalid.Problems...)
		}
	}
}

// maxDepth bounds how deep a section may nest.
const maxDepth = 20

// json writes a YAML value as JSON, and notes where it and its parts stand.
func (r *reader) json(e *Edge, path string, node *yaml.Node, depth int) json.RawMessage {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if depth == 0 {
		r.add(node, "edge."+path, "nests too deep")
		return json.RawMessage("null")
	}
	if e.lines[path] == 0 {
		e.lines[path] = node.Line
	}
	switch node.Kind {
	case yaml.MappingNode:
		members := map[string]json.RawMessage{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, member := node.Content[i], path+"."+node.Content[i].Value
			if _, twice := members[key.Value]; twice {
				r.add(key, "edge."+member, "is there twice")
			}
			e.lines[member] = key.Line
			members[key.Value] = r.json(e, member, node.Content[i+1], depth-1)
		}
		return encoded(members)
	case yaml.SequenceNode:
		items := make([]json.RawMessage, len(node.Content))
		for i, item := range node.Content {
			items[i] = r.json(e, path+"["+strconv.Itoa(i)+"]", item, depth-1)
		}
		return encoded(items)
	}
	var value any
	if err := node.Decode(&value); err != nil {
		r.add(node, "edge."+path, err.Error())
	}
	switch value.(type) {
	case nil, bool, int, float64, string:
		if text, err := json.Marshal(value); err == nil {
			return text
		}
	}
	return encoded(node.Value) // dates and the like are texts here
}

func encoded(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encode edge settings: %v", err)) // every part is JSON, or a text
	}
	return text
}

// checkArms refuses to name by file what is named by flag: a file outlives a
// rollout.
func (r *reader) checkArms(edge *yaml.Node) {
	for _, arm := range []string{document.Stable, document.Canary} {
		for _, name := range armFields {
			if node := find(edge, "targets", arm, name); node != nil {
				r.add(node, "edge.targets."+arm+"."+name, "is named by --"+arm+", not here: give headers, timeout_ms or idle_timeout_ms")
			}
		}
	}
}

// find returns the value at a path of mappings, or nil.
func find(node *yaml.Node, path ...string) *yaml.Node {
	for _, name := range path {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		var next *yaml.Node
		for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == name {
				next = node.Content[i+1]
			}
		}
		if next == nil {
			return nil
		}
		node = next
	}
	return node
}

// sample is a document for an edge section to be checked in.
func sample() *document.Document {
	return &document.Document{
		Service: document.Service{Kind: document.KindModel, Name: "owner/name"}, Rollout: "sample", Mode: document.ModeCanary, Salt: "sample",
		Targets: []document.Target{{Name: document.Stable, URL: "https://stable.example"}, {Name: document.Canary, URL: "https://canary.example"}},
		User:    document.User{Header: document.DefaultUserHeader, Cookie: document.DefaultUserCookie},
	}
}
