package upstream

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnswersAreCompressed(t *testing.T) {
	s := demo(t, func(o *Options) { o.Compress = true })
	plain := ask(s, "GET", "/v1/account", "")
	for header, want := range map[string]bool{
		"gzip": true, "br, gzip;q=0.5": true, "deflate": false, "gzip;q=0": false, "*": false,
	} {
		got := ask(s, "GET", "/v1/account", "", "Accept-Encoding: "+header)
		require.Equal(t, want, got.header.Get("Content-Encoding") == "gzip", header)
		if !want {
			require.Equal(t, plain.body, got.body)
			continue
		}
		r, err := gzip.NewReader(bytes.NewReader(got.body))
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, plain.body, text)
		require.Equal(t, "Accept-Encoding", got.header.Get("Vary"))
	}
	s = demo(t)
	require.Empty(t, ask(s, "GET", "/v1/account", "", "Accept-Encoding: gzip").header.Get("Content-Encoding"), "off by default")
}
