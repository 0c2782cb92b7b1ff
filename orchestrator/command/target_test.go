package command

import (
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		text string
		want document.Target
	}{
		{"version=acme/flux:5c7d", document.Target{Version: "acme/flux:5c7d"}},
		{"deployment=acme/next", document.Target{Deployment: "acme/next"}},
		{"model=acme/flux", document.Target{Model: "acme/flux"}},
		{"url=https://a.example/?b=c", document.Target{URL: "https://a.example/?b=c"}},
		{"url+credentials=https://a.example/", document.Target{URL: "https://a.example/", Credentials: true}},
	} {
		got, err := parseTarget("canary", tt.text)
		require.NoError(t, err, tt.text)
		require.Equal(t, tt.want, got)
	}
	for _, text := range []string{"", "acme/flux", "version=", "version+credentials=acme/flux:5c7d", "Url=https://a.example"} {
		_, err := parseTarget("canary", text)
		require.ErrorContains(t, err, "is not a target", text)
	}
}
