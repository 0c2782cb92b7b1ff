package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestColumns: Analytics Engine takes 20 blobs, 20 doubles and one index, and no
// two names may share one of them. The names are read from the source, so that a
// new one cannot be left out here.
func TestColumns(t *testing.T) {
	names := map[string]string{} // by column
	for name, column := range declaredColumns(t) {
		require.NotContains(t, names, column, "%s has the column of %s", name, names[column])
		names[column] = name
		if column == string(SampleInterval) {
			continue
		}
		kind := strings.TrimRight(column, "0123456789")
		number, err := strconv.Atoi(strings.TrimPrefix(column, kind))
		require.NoError(t, err, "%s is %s", name, column)
		most, known := map[string]int{"blob": 20, "double": 20, "index": 1}[kind]
		require.True(t, known, "%s is %s", name, column)
		require.LessOrEqual(t, number, most, name)
		require.Positive(t, number, name)
	}
	require.Equal(t, "Service", names["blob1"], "columns.go was not read")
	require.Equal(t, "Status", names["double1"])
}

func declaredColumns(t *testing.T) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "columns.go", nil, 0)
	require.NoError(t, err)
	columns := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Column" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			columns[spec.Names[0].Name] = value
		}
		return true
	})
	require.NotEmpty(t, columns)
	return columns
}

// TestIndexOf: the index tells service and variant, and fits however long the
// service's and the target's names are: 100 bytes a segment, kind and owner too.
func TestIndexOf(t *testing.T) {
	require.Equal(t, "model:acme/flux|canary", IndexOf("model:acme/flux", "canary"))
	fitting := strings.Repeat("s", MaxIndexBytes-len("|canary"))
	require.Equal(t, fitting+"|canary", IndexOf(fitting, "canary"))

	long := "deployment:" + strings.Repeat("o", 100) + "/" + strings.Repeat("n", 100)
	segment := strings.Repeat("v", 100)
	seen := map[string]string{}
	for _, service := range []string{"http:q", fitting, fitting + "s", long, long[:len(long)-1] + "m"} {
		for _, variant := range []string{"stable", "canary", "person", segment, segment[:99], segment[:99] + "w"} {
			index := IndexOf(service, variant)
			require.LessOrEqual(t, len(index), MaxIndexBytes, "%s %s", service, variant)
			require.NotContains(t, seen, index, "%s %s has the index of %s", service, variant, seen[index])
			seen[index] = service + " " + variant
			require.Equal(t, index, IndexOf(service, variant))
		}
	}
}

// TestClassify: which answers count against a variant.
func TestClassify(t *testing.T) {
	tests := []struct {
		name           string
		status         int
		failure        Failure
		outcome, class string
	}{
		{"switching protocols", 101, FailureNone, OutcomeOK, ""},
		{"whole answer", 200, FailureNone, OutcomeOK, ""},
		{"created", 201, FailureNone, OutcomeOK, ""},
		{"redirect", 302, FailureNone, OutcomeOK, ""},
		{"bad request", 400, FailureNone, OutcomeClientError, "http"},
		{"no token", 401, FailureNone, OutcomeExcluded, "http"},
		{"no credit", 402, FailureNone, OutcomeExcluded, "http"},
		{"forbidden", 403, FailureNone, OutcomeExcluded, "http"},
		{"not found", 404, FailureNone, OutcomeClientError, "http"},
		{"unprocessable", 422, FailureNone, OutcomeClientError, "http"},
		{"throttled", 429, FailureNone, OutcomeExcluded, "http"},
		{"failed", 500, FailureNone, OutcomeError, "http"},
		{"overloaded", 599, FailureNone, OutcomeError, "http"},
		{"no connection", 0, FailureConnect, OutcomeError, "connect"},
		{"client gone", 0, FailureClientGone, OutcomeExcluded, "client"},
		{"client gone during an error", 500, FailureClientGone, OutcomeExcluded, "client"},
		{"client gone in an answer", 200, FailureClientGone, OutcomeExcluded, "client"},
		{"no answer and no failure", 0, FailureNone, OutcomeError, "connect"},
		{"reset", 0, FailureReset, OutcomeError, "reset"},
		{"silent", 0, FailureTimeout, OutcomeError, "timeout"},
		{"cut", 200, FailureCut, OutcomeError, "cut"},
		{"cut in an error", 500, FailureCut, OutcomeError, "http"},
		{"cut in a client's error", 422, FailureCut, OutcomeClientError, "http"},
		{"cut in a throttled answer", 429, FailureCut, OutcomeExcluded, "http"},
		{"prediction failed", 201, FailureFailed, OutcomeError, "failed"},
		{"prediction aborted", 200, FailureAborted, OutcomeError, "aborted"},
		{"skipped", 0, FailureBreaker, OutcomeExcluded, "breaker"},
		{"Cloudflare got nothing it understood", 520, FailureNone, OutcomeError, "reset"},
		{"Cloudflare was refused", 521, FailureNone, OutcomeError, "connect"},
		{"Cloudflare could not connect in time", 522, FailureNone, OutcomeError, "connect"},
		{"Cloudflare found no way", 523, FailureNone, OutcomeError, "connect"},
		{"Cloudflare waited in vain", 524, FailureNone, OutcomeError, "timeout"},
		{"Cloudflare's TLS failed", 525, FailureNone, OutcomeError, "connect"},
		{"Cloudflare trusts no certificate", 526, FailureNone, OutcomeError, "connect"},
		{"Cloudflare resolved no name", 530, FailureNone, OutcomeError, "connect"},
		{"none of Cloudflare's", 527, FailureNone, OutcomeError, "http"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			outcome, class := Classify(test.status, test.failure)
			require.Equal(t, test.outcome, outcome)
			require.Equal(t, test.class, class)
		})
	}
}
