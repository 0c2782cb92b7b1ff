package prediction

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnded(t *testing.T) {
	tests := []struct {
		name        string
		facts       Facts
		status      int
		synchronous bool
		want        string
	}{
		{"a synchronous create that succeeded: 201, processing, output", Facts{Status: "processing", HasOutput: true}, 201, true, "succeeded"},
		{"a synchronous create whose wait ran out: 201, no output yet", Facts{Status: "processing"}, 201, true, ""},
		{"a synchronous create that is still starting", Facts{Status: "starting"}, 201, true, ""},
		{"a synchronous create accepted without its outputs: 202", Facts{Status: "processing", HasOutput: true}, 202, true, ""},
		{"a synchronous create that failed", Facts{Status: "failed", Error: "out of memory"}, 201, true, "failed"},
		{"an error with the output so far", Facts{Status: "processing", HasOutput: true, Error: "x"}, 201, true, ""},
		{"a create that nobody waits for", Facts{Status: "starting"}, 201, false, ""},
		{"a poll with the output so far", Facts{Status: "processing", HasOutput: true}, 200, false, ""},
		{"a poll by somebody who prefers to wait", Facts{Status: "processing", HasOutput: true}, 200, true, ""},
		{"a poll: succeeded", Facts{Status: "succeeded", HasOutput: true}, 200, false, "succeeded"},
		{"a poll after an hour, when the output is gone", Facts{Status: "succeeded"}, 200, false, "succeeded"},
		{"a poll: failed", Facts{Status: "failed"}, 200, false, "failed"},
		{"a poll: canceled while it ran", Facts{Status: "canceled"}, 200, false, "canceled"},
		{"a poll: aborted before it started", Facts{Status: "aborted"}, 200, false, "aborted"},
		{"a status of tomorrow", Facts{Status: "paused", HasOutput: true}, 201, true, ""},
		{"a problem, whose status is a number", Facts{}, 422, true, ""},
		{"a refusal that looks like a prediction", Facts{Status: "failed"}, 500, false, ""},
		{"no answer", Facts{}, 0, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, Ended(tt.facts, tt.status, tt.synchronous))
		})
	}
}
