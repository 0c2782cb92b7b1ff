// Package scenario reads the plain-text cases by which the worker is tested,
// natively and as WASM:
//
//	# One sentence of intent.
//	field: value
//	field: "quoted as in Go, where it has line breaks"
//	-> what must come of it
//
// Blank lines separate cases.
package scenario

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Case is one case of a file.
type Case struct {
	Intent string
	Fields []Field
	Want   string
	Where  string // file:line, for messages
}

// Field is one line of a case.
type Field struct{ Name, Value string }

// Get returns the first field of that name, or "".
func (c Case) Get(name string) string {
	for _, f := range c.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Has reports whether the case has a field of that name.
func (c Case) Has(name string) bool {
	for _, f := range c.Fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// All returns every field of that name.
func (c Case) All(name string) []string {
	var values []string
	for _, f := range c.Fields {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

// Read returns the cases of a file, all of whose fields must be among known.
func Read(t testing.TB, path string, known ...string) []Case {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var cases []Case
	line := 1
	for _, block := range strings.Split(string(text), "\n\n") {
		if strings.TrimSpace(block) != "" {
			where := fmt.Sprintf("%s:%d", path, line+len(block)-len(strings.TrimLeft(block, "\n")))
			c, err := parse(strings.TrimSpace(block), known)
			require.NoError(t, err, where)
			c.Where = where
			cases = append(cases, c)
		}
		line += strings.Count(block, "\n") + 2
	}
	require.NotEmpty(t, cases, path)
	return cases
}

func parse(block string, known []string) (Case, error) {
	var c Case
	wanted := false
	for _, line := range strings.Split(block, "\n") {
		if intent, found := strings.CutPrefix(line, "# "); found {
			c.Intent = strings.TrimSpace(c.Intent + " " + intent)
			continue
		}
		if want, found := strings.CutPrefix(line, "->"); found && !wanted {
			wanted = true
			var err error
			if c.Want, err = unquote(strings.TrimSpace(want)); err != nil {
				return c, fmt.Errorf("read %q: %w", line, err)
			}
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found || wanted || !contains(known, name) {
			return c, fmt.Errorf("%q is no field of this file (%s), or stands behind ->", line, strings.Join(known, ", "))
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return c, fmt.Errorf("read %q: %w", line, err)
		}
		c.Fields = append(c.Fields, Field{name, value})
	}
	if c.Intent == "" || !wanted {
		return c, fmt.Errorf("a case needs a # sentence and a -> line: %q", block)
	}
	return c, nil
}

func unquote(value string) (string, error) {
	if !strings.HasPrefix(value, `"`) {
		return value, nil
	}
	return strconv.Unquote(value)
}

func contains(list []string, text string) bool {
	for _, s := range list {
		if s == text {
			return true
		}
	}
	return false
}
