package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const formType = "multipart/form-data; boundary=perch"

// uploadForm is an upload of a file of that many bytes: a head, the content, a tail.
func uploadForm(bytes int) (size int64, open func() io.Reader) {
	const head = "--perch\r\nContent-Disposition: form-data; name=\"content\"; filename=\"é.bin\"\r\nContent-Type: application/x-own\r\n\r\n"
	const tail = "\r\n--perch--\r\n"
	return int64(len(head) + bytes + len(tail)), func() io.Reader {
		return io.MultiReader(strings.NewReader(head), io.LimitReader(new(pattern), int64(bytes)), strings.NewReader(tail))
	}
}

// pattern is an endless content without the boundary in it.
type pattern struct{ at int }

var block = func() (b [251 * 64]byte) {
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, block[p.at:])
	p.at = (p.at + n) % len(block)
	return n, nil
}

// TestContractFiles: uploads of up to 100 MB and downloads, whole, in part and
// on conditions.
func TestContractFiles(t *testing.T) {
	w := newTwins(t, worldOptions{Models: []string{"acme/flux"}}, asReplicate)
	upload := func(t *testing.T, bytes int, lengthTold bool) (through exchange) {
		w := w.within(t)
		size, open := uploadForm(bytes)
		a := apiCall{Method: "POST", Target: "/v1/files", Header: withToken("content-type", formType, "accept-encoding", "gzip"), Stream: open, Length: size}
		if !lengthTold {
			a.Length = -1
		}
		through, _ = w.requireSame(a)
		require.Equal(t, 201, through.Status, "%s", through.Body)
		require.Equal(t, size, through.Bytes)
		return through
	}
	uploaded := upload(t, 1000, true)
	t.Run("of no stated length", func(t *testing.T) { upload(t, 300_000, false) })

	download := func(t *testing.T, of exchange, header http.Header) exchange {
		w := w.within(t)
		path, err := w.upstream.DownloadPath(idOf(t, of))
		require.NoError(t, err)
		through, _ := w.requireSame(apiCall{Method: "GET", Target: path, Header: header})
		return through
	}
	whole := download(t, uploaded, withToken())
	etag := whole.Answer.Get("etag")
	require.NotEmpty(t, etag)
	require.EqualValues(t, 1000, whole.Length)
	for _, tt := range []struct {
		name, header, value string
		status, bytes       int
	}{
		{"the beginning", "range", "bytes=0-9", 206, 10},
		{"the end", "range", "bytes=-3", 206, 3},
		{"from there on", "range", "bytes=990-", 206, 10},
		{"beyond the end", "range", "bytes=1000-", 416, -1},
		{"a range of another unit", "range", "lines=1-2", 416, -1},
		{"unchanged", "if-none-match", etag, 304, 0},
		{"changed", "if-none-match", `"other"`, 200, 1000},
		{"not as it should be", "if-match", `"other"`, 412, 0},
		{"unchanged since", "if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 304, 0},
		{"changed since", "if-modified-since", "Mon, 01 Jan 2001 00:00:00 GMT", 200, 1000},
		{"changed since then", "if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT", 412, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := download(t, uploaded, withToken(tt.header, tt.value))
			require.Equal(t, tt.status, got.Status)
			if tt.bytes >= 0 {
				require.Len(t, got.Body, tt.bytes)
			}
		})
	}
	t.Run("if it is the same still", func(t *testing.T) {
		require.Equal(t, 206, download(t, uploaded, withToken("range", "bytes=0-0", "if-range", etag)).Status)
		require.Equal(t, 200, download(t, uploaded, withToken("range", "bytes=0-0", "if-range", `"other"`)).Status)
	})
	t.Run("HEAD", func(t *testing.T) {
		w := w.within(t)
		path, err := w.upstream.DownloadPath(idOf(t, uploaded))
		require.NoError(t, err)
		through, _ := w.requireSame(apiCall{Method: "HEAD", Target: path, Header: withToken()})
		require.EqualValues(t, 1000, through.Length)
	})
	t.Run("several ranges", func(t *testing.T) { // the boundary between them is random
		w := w.within(t)
		path, err := w.upstream.DownloadPath(idOf(t, uploaded))
		require.NoError(t, err)
		got := w.through(apiCall{Method: "GET", Target: path, Header: withToken("range", "bytes=0-1,998-")})
		require.Equal(t, 206, got.Status)
		require.Contains(t, got.Answer.Get("content-type"), "multipart/byteranges; boundary=")
		require.Equal(t, got.Entry.AnswerBytes, int64(len(got.Body)))
	})
	t.Run("100 MB", func(t *testing.T) {
		const most = 100 << 20
		size, _ := uploadForm(0)
		large := upload(t, most-int(size), true)
		require.EqualValues(t, most, large.Bytes)
		w := w.within(t)
		path, err := w.upstream.DownloadPath(idOf(t, large))
		require.NoError(t, err)
		got := w.through(apiCall{Method: "GET", Target: path, Header: withToken()})
		require.EqualValues(t, most-size, got.Length)
		require.Equal(t, got.Entry.AnswerSHA256, digest(got.Body))
	})
}

func idOf(t *testing.T, of exchange) string {
	t.Helper()
	var file struct{ ID string }
	require.NoError(t, json.Unmarshal(unzipped(t, of.Body), &file))
	return file.ID
}
