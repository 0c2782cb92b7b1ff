package upstream

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
)

// acceptsGzip knows gzip by name; clients that mean it by * do not ask here.
func acceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		text, weighted := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		quality, err := strconv.ParseFloat(text, 64)
		return !weighted || err == nil && quality > 0
	}
	return false
}

func gzipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // memory does not fail
	_ = w.Close()
	return b.Bytes()
}
