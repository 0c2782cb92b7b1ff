package upstream

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOutputFile: a version of a media type has one file as output, which tells who made it of what.
func TestOutputFile(t *testing.T) {
	s := demo(t, func(o *Options) {
		o.Catalog.Versions[0].MediaType = "image/png"
		o.Catalog.Versions[0].Behavior = Behavior{Latency: Fixed(time.Millisecond)}
	})
	got := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait")
	require.Equal(t, 201, got.status)
	output, ok := got.object(t)["output"].(string)
	require.True(t, ok)
	content, found := strings.CutPrefix(output, "data:image/png;base64,")
	require.True(t, found, output)
	text, err := base64.StdEncoding.DecodeString(content)
	require.NoError(t, err)
	require.Contains(t, string(text), "acme/flux:"+fluxStable+":")
}
