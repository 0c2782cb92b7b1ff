package upstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFileIsDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		sum := sha256.Sum256([]byte("hello"))
		id := uploadOne(t, s)
		require.Len(t, id, 26)
		require.Equal(t, map[string]any{
			"id": id, "name": "a b.txt", "content_type": "text/plain", "size": 5.0, "etag": hex.EncodeToString(sum[:]),
			"checksums": map[string]any{"sha256": hex.EncodeToString(sum[:])}, "metadata": map[string]any{"customer": 7.0},
			"created_at": "2000-01-01T00:00:00.000000Z", "expires_at": "2000-01-02T00:00:00.000000Z",
			"urls": map[string]any{"get": "http://upstream.test/v1/files/" + id},
		}, ask(s, "GET", "/v1/files/"+id, "").object(t))
		entry := s.Log()[0]
		body := sha256.Sum256([]byte(multipartBody("hello")))
		require.EqualValues(t, len(multipartBody("hello")), entry.BodyBytes)
		require.Equal(t, hex.EncodeToString(body[:]), entry.BodySHA256, "the log has the body as it came")
		time.Sleep(24*time.Hour + time.Second)
		require.Equal(t, 404, ask(s, "GET", "/v1/files/"+id, "").status, "files expire")
	})
}

func TestFileFields(t *testing.T) {
	part := func(disposition, kind, content string) string {
		return "--XX\r\nContent-Disposition: form-data; " + disposition + "\r\n" + kind + "\r\n" + content + "\r\n"
	}
	content := part(`name="content"; filename="a.zip"`, "", "zip")
	tests := []struct {
		name, form string
		status     int
		want       map[string]any
	}{
		{"defaults", content, 201, map[string]any{"name": "a.zip", "content_type": "application/octet-stream", "metadata": map[string]any{}}},
		{"fields after the content", content + part(`name="type"`, "", "application/zip") + part(`name="filename"`, "", "b.zip"), 201,
			map[string]any{"name": "b.zip", "content_type": "application/zip"}},
		{"no content", part(`name="filename"`, "", "b.zip"), 422, map[string]any{"detail": "- content is required"}},
		{"no name", part(`name="content"`, "", "x"), 422, map[string]any{"detail": "- filename is required"}},
		{"long name", content + part(`name="filename"`, "", strings.Repeat("n", 256)), 422, map[string]any{"detail": "- filename: must be UTF-8 of at most 255 bytes"}},
		{"metadata", content + part(`name="metadata"`, "", "[]"), 422, map[string]any{"detail": "- metadata: Invalid type. Expected: object"}},
		{"long field", content + part(`name="metadata"`, "", strings.Repeat("n", 65537)), 422, map[string]any{"detail": "- metadata: longer than 64 KB"}},
		{"twice", content + content, 422, map[string]any{"detail": "- content: given twice"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			got := ask(s, "POST", "/v1/files", tt.form+"--XX--\r\n", "Content-Type: "+multipartType)
			require.Equal(t, tt.status, got.status, "%s", got.body)
			for key, value := range tt.want {
				require.Equal(t, value, got.object(t)[key])
			}
			left, err := os.ReadDir(s.files.dir)
			if s.files.dir != "" {
				require.NoError(t, err)
				require.Equal(t, tt.status == 201, len(left) == 1, "a refused upload leaves nothing")
			}
		})
	}
	s := demo(t)
	require.Equal(t, 400, ask(s, "POST", "/v1/files", "{}", "Content-Type: application/json").status)
	require.Equal(t, 400, ask(s, "POST", "/v1/files", content, "Content-Type: "+multipartType).status, "cut short")
}

func TestFileDownload(t *testing.T) {
	s := demo(t)
	path, err := s.DownloadPath(uploadOne(t, s))
	require.NoError(t, err)
	whole := ask(s, "GET", path, "", "Authorization: ")
	etag := whole.header.Get("ETag")
	tests := []struct {
		name, header string
		status       int
		body         string
	}{
		{"all", "", 200, "hello"},
		{"range", "Range: bytes=1-3", 206, "ell"},
		{"end", "Range: bytes=-2", 206, "lo"},
		{"range that is not there", "Range: bytes=9-", 416, "invalid range: failed to overlap\n"},
		{"not modified", "If-None-Match: " + etag, 304, ""},
		{"not modified since", "If-Modified-Since: " + time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 304, ""},
		{"precondition", `If-Match: "other"`, 412, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := []string{}
			if tt.header != "" {
				headers = append(headers, tt.header)
			}
			got := ask(s, "GET", path, "", headers...)
			require.Equal(t, tt.status, got.status)
			require.Equal(t, tt.body, string(got.body))
		})
	}
	require.Equal(t, "bytes 1-3/5", ask(s, "GET", path, "", "Range: bytes=1-3").header.Get("Content-Range"))
	require.Equal(t, `attachment; filename="a b.txt"`, whole.header.Get("Content-Disposition"))
	head := ask(s, "HEAD", path, "")
	require.Equal(t, 200, head.status)
	require.Equal(t, "5", head.header.Get("Content-Length"))
}

func TestFileDownloadURLIsACapability(t *testing.T) {
	s := demo(t)
	id, other := uploadOne(t, s), uploadOne(t, s)
	path, err := s.DownloadPath(id)
	require.NoError(t, err)
	for name, wrong := range map[string]string{
		"another file":  strings.Replace(path, id, other, 1),
		"another owner": strings.Replace(path, "owner=acme", "owner=evil", 1),
		"later expiry":  strings.Replace(path, "expiry=1", "expiry=2", 1),
		"no signature":  path[:strings.Index(path, "&signature")],
		"nothing":       "/v1/files/" + id + "/download",
	} {
		require.Equal(t, 404, ask(s, "GET", wrong, "").status, name)
	}
	_, err = s.DownloadPath("nobody")
	require.EqualError(t, err, "find file nobody: none was uploaded, or it was deleted")
	require.Equal(t, 204, ask(s, "DELETE", "/v1/files/"+id, "").status)
	require.Equal(t, 404, ask(s, "DELETE", "/v1/files/"+id, "").status)
	require.Equal(t, 404, ask(s, "GET", path, "").status)
}

// upload streams n bytes over the network.
func upload(t *testing.T, s *Server, n int64) reply {
	read, write := io.Pipe()
	form := multipart.NewWriter(write)
	go func() {
		part, err := form.CreateFormFile("content", "big.bin")
		if err == nil {
			_, err = io.Copy(part, io.LimitReader(zeros{}, n))
		}
		if err == nil {
			err = form.Close()
		}
		write.CloseWithError(err)
	}()
	r, err := http.NewRequest("POST", s.URL()+"/v1/files", read)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer r8_test")
	r.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return reply{answer.StatusCode, answer.Header, body}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestLargeUploadsStayOutOfMemory(t *testing.T) {
	s := demo(t)
	require.NoError(t, s.Start(""))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := upload(t, s, maxBody)
	runtime.ReadMemStats(&after)
	require.Equal(t, 201, got.status)
	require.EqualValues(t, maxBody, got.object(t)["size"])
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(10<<20), "bytes allocated for 100 MB, client included")

	got = upload(t, s, maxBody+1)
	require.Equal(t, 413, got.status)
	require.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
	dir := s.files.dir
	require.NoError(t, s.Close())
	require.NoDirExists(t, dir)
}

func TestFilesByTheOfficialClientsForm(t *testing.T) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	require.NoError(t, w.WriteField("metadata", `{"a":1}`))
	part, err := w.CreateFormFile("content", "ünï \"q\".bin")
	require.NoError(t, err)
	fmt.Fprint(part, "\x00\r\n--")
	require.NoError(t, w.Close())
	got := ask(demo(t), "POST", "/v1/files", form.String(), "Content-Type: "+w.FormDataContentType())
	require.Equal(t, 201, got.status)
	require.Equal(t, "ünï \"q\".bin", got.object(t)["name"])
	require.Equal(t, 5.0, got.object(t)["size"])
}
