package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// description is Replicate's own description of its API, which is not part of this tree.
const description = "../../../shared/replicate/openapi.json"

// readDescription skips the test, aloud, where there is none. The table itself is tested without it.
func readDescription(t *testing.T) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(description)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is absent: the stand-in was not compared with Replicate's own description", description)
	}
	require.NoError(t, err)
	// The schema library's decoder keeps numbers exact, as it wants them.
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return parsed.(map[string]any)
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func TestTableIsReplicates(t *testing.T) {
	documented := map[string][]int{}
	for path, item := range readDescription(t)["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			o := operation.(map[string]any)
			key := strings.ToUpper(method) + " " + parameter.ReplaceAllString(path, "{}") + " " + o["operationId"].(string)
			for status := range o["responses"].(map[string]any) {
				n, err := strconv.Atoi(status)
				require.NoError(t, err)
				documented[key] = append(documented[key], n)
			}
			slices.Sort(documented[key])
		}
	}
	listed := map[string][]int{}
	for _, o := range Operations() {
		listed[o.Method+" "+parameter.ReplaceAllString(o.Path, "{}")+" "+o.ID] = o.Statuses
	}
	require.Equal(t, documented, listed)
}

// TestAnswersAreReplicates holds every answer's required properties, types, formats and enum values to the description,
// and lets no property through that it does not know.
func TestAnswersAreReplicates(t *testing.T) {
	schemas := compile(t, readDescription(t))
	for _, o := range Operations() {
		if o.Empty() || answerTypes[o.ID] != "" {
			continue // not JSON
		}
		t.Run(o.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				e, err := s.Example(o)
				require.NoError(t, err)
				got := askExample(s, e, "Prefer: wait")
				schemas.check(t, o, got)
				if strings.HasSuffix(o.ID, ".list") && o.ID != "hardware.list" {
					require.NotEmpty(t, got.object(t)["results"], "an empty list proves nothing")
				}
			})
		})
	}
}

// TestEveryStateIsReplicates looks at predictions in every state, as created and as read.
func TestEveryStateIsReplicates(t *testing.T) {
	schemas := compile(t, readDescription(t))
	get, create := operation(t, "predictions.get"), operation(t, "predictions.create")
	tests := []struct {
		name, version string
		failed        float64
		headers       []string
		cancel        bool
		states        []string // at 0, 6 and 30 s
	}{
		{"success", fluxStable, 0, nil, false, []string{"starting", "processing", "succeeded"}},
		{"stream", chatStable, 0, nil, false, []string{"starting", "processing", "succeeded"}},
		{"failure", fluxStable, 1, nil, false, []string{"starting", "processing", "failed"}},
		{"aborted", fluxStable, 0, []string{"Cancel-After: 5s"}, false, []string{"starting", "aborted", "aborted"}},
		{"canceled", fluxStable, 0, nil, true, []string{"canceled", "canceled", "canceled"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				require.NoError(t, s.SetBehavior(tt.version, Behavior{
					Queue: Fixed(5500 * time.Millisecond), Latency: Fixed(10 * time.Second), FailedRate: tt.failed,
				}))
				made := ask(s, "POST", "/v1/predictions", createBodyOf(tt.version), tt.headers...)
				schemas.check(t, create, made)
				path := "/v1/predictions/" + made.object(t)["id"].(string)
				if tt.cancel {
					schemas.check(t, operation(t, "predictions.cancel"), ask(s, "POST", path+"/cancel", ""))
				}
				for i, pause := range []time.Duration{0, 6 * time.Second, 24 * time.Second} {
					time.Sleep(pause)
					got := ask(s, "GET", path, "")
					require.Equal(t, tt.states[i], got.object(t)["status"])
					schemas.check(t, get, got)
				}
				time.Sleep(time.Hour)
				schemas.check(t, get, ask(s, "GET", path, ""))
			})
		})
	}
}

// The description has problems for files only; all of the stand-in's have that shape.
func TestProblemsAreReplicates(t *testing.T) {
	schemas := compile(t, readDescription(t))
	s := demo(t)
	require.NoError(t, s.SetRateLimit(RateLimit{Creates: 1}))
	for status, got := range map[int]reply{
		401: ask(s, "GET", "/v1/account", "", "Authorization: "),
		404: ask(s, "GET", "/v1/predictions/nobody", ""),
		422: ask(s, "POST", "/v1/predictions", "{}"),
		429: ask(s, "POST", "/v1/predictions", "{}"),
		403: ask(s, "DELETE", "/v1/models/acme/flux", ""),
	} {
		require.Equal(t, status, got.status)
		schemas.validate(t, "#/paths/~1files/post/responses/413/content/application~1problem+json/schema", got.body)
	}
}

func operation(t *testing.T, id string) Operation {
	for _, o := range Operations() {
		if o.ID == id {
			return o
		}
	}
	t.Fatalf("no operation %s", id)
	return Operation{}
}

type schemaSet struct {
	compiler *jsonschema.Compiler
	paths    map[string]any
}

func compile(t *testing.T, doc map[string]any) schemaSet {
	tighten(doc)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	require.NoError(t, c.AddResource("openapi.json", doc))
	return schemaSet{c, doc["paths"].(map[string]any)}
}

// tighten turns nullable, which JSON Schema does not know, into a type, and closes the prediction against unknown
// properties. Only webhook, which real answers have, is missing in the description.
func tighten(node any) {
	switch node := node.(type) {
	case map[string]any:
		if kind, ok := node["type"].(string); ok && node["nullable"] == true {
			node["type"] = []any{kind, "null"}
		}
		properties, ok := node["properties"].(map[string]any)
		if ok && properties["data_removed"] != nil {
			node["additionalProperties"] = false
			properties["webhook"] = map[string]any{"type": "string", "format": "uri"}
		}
		for _, child := range node {
			tighten(child)
		}
	case []any:
		for _, child := range node {
			tighten(child)
		}
	}
}

// check validates an answer against the schema of its operation and status.
func (s schemaSet) check(t *testing.T, o Operation, got reply) {
	t.Helper()
	for path, item := range s.paths {
		for method, operation := range item.(map[string]any) {
			if operation.(map[string]any)["operationId"] != o.ID {
				continue
			}
			at := "#/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method + "/responses/" + strconv.Itoa(got.status) +
				"/content/application~1json/schema"
			s.validate(t, at, withOutput(t, o, got.body))
			return
		}
	}
	t.Fatalf("%s is not described", o.ID)
}

// withOutput adds the one required property that asynchronous creates were seen to lack.
func withOutput(t *testing.T, o Operation, body []byte) []byte {
	if !o.Creates {
		return body
	}
	object := reply{body: body}.object(t)
	if _, has := object["output"]; !has && object["status"] == "starting" {
		object["output"] = nil
	}
	changed, err := json.Marshal(object)
	require.NoError(t, err)
	return changed
}

func (s schemaSet) validate(t *testing.T, at string, body []byte) {
	t.Helper()
	schema, err := s.compiler.Compile("openapi.json" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(at))
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(value), "%s", body)
}
