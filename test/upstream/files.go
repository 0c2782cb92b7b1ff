package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// file is one upload. Its content lies on disk.
type file struct {
	id, name, contentType string
	size                  int64
	sha256                string
	metadata              json.RawMessage
	created               time.Time
	path                  string
}

const fileKept = 24 * time.Hour

// fileStore keeps files in a directory of its own, which it makes when it is first needed.
type fileStore struct {
	mu     sync.Mutex
	random *rand.Rand
	key    []byte // of download URLs
	dir    string
	files  []*file // oldest first
}

func newFileStore(seed uint64) *fileStore {
	return &fileStore{random: rand.New(rand.NewPCG(seed, 4)), key: []byte(newWebhookSecret(seed, "download"))}
}

// create makes an empty file on disk for an upload to go to.
func (s *fileStore) create() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "upstream-files-")
		if err != nil {
			return nil, err
		}
		s.dir = dir
	}
	return os.CreateTemp(s.dir, "upload-")
}

// add gives f its id.
func (s *fileStore) add(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.id = randomName(s.random)
	s.files = append(s.files, f)
}

// kept are the files that have not expired, newest first.
func (s *fileStore) kept(since time.Time) []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(s.files), func(f *file) bool { return f.created.Before(since) })
	slices.Reverse(kept)
	return kept
}

func (s *fileStore) remove(f *file) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = slices.DeleteFunc(s.files, func(other *file) bool { return other == f })
	return os.Remove(f.path)
}

func (s *fileStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = nil
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// signature is what a download URL has.
func (s *fileStore) signature(id, owner, expiry string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(id + "\x00" + owner + "\x00" + expiry))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

type fileJSON struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	ContentType string            `json:"content_type"`
	Size        int64             `json:"size"`
	ETag        string            `json:"etag"`
	Checksums   map[string]string `json:"checksums"`
	Metadata    json.RawMessage   `json:"metadata"`
	CreatedAt   string            `json:"created_at"`
	ExpiresAt   string            `json:"expires_at"`
	URLs        map[string]string `json:"urls"`
}

func (f *file) describe(origin string) fileJSON {
	return fileJSON{
		ID: f.id, Name: f.name, ContentType: f.contentType, Size: f.size, ETag: f.sha256,
		Checksums: map[string]string{"sha256": f.sha256}, Metadata: f.metadata,
		CreatedAt: timestamp(f.created), ExpiresAt: timestamp(f.created.Add(fileKept)),
		URLs: map[string]string{"get": origin + "/v1/files/" + f.id},
	}
}

func (s *Server) keptFiles(now time.Time) []*file { return s.files.kept(now.Add(-s.scaled(fileKept))) }

// findFile finds the one that the path names. It answers 404 itself where there is none.
func (s *Server) findFile(x *exchange) *file {
	files := s.keptFiles(x.now)
	at := slices.IndexFunc(files, func(f *file) bool { return f.id == x.r.PathValue("file") })
	if at < 0 {
		x.fail(problemNotFound)
		return nil
	}
	return files[at]
}

func (s *Server) listFiles(x *exchange) {
	paginate(s, x, s.keptFiles(x.now), func(f *file) string { return f.id }, func(f *file) fileJSON {
		return f.describe(s.origin(x.r))
	})
}

func (s *Server) getFile(x *exchange) {
	if f := s.findFile(x); f != nil {
		x.answer(http.StatusOK, f.describe(s.origin(x.r)))
	}
}

func (s *Server) deleteFile(x *exchange) {
	f := s.findFile(x)
	if f == nil {
		return
	}
	if err := s.files.remove(f); err != nil {
		x.fail(&problem{Detail: "remove file: " + err.Error(), Status: http.StatusInternalServerError})
		return
	}
	x.w.WriteHeader(http.StatusNoContent)
}

// DownloadPath is the path and query that serve a file's content for an hour, without a token.
func (s *Server) DownloadPath(id string) (string, error) {
	known := slices.ContainsFunc(s.keptFiles(time.Now()), func(f *file) bool { return f.id == id })
	if !known {
		return "", fmt.Errorf("find file %s: none was uploaded, or it was deleted", id)
	}
	expiry := strconv.FormatInt(time.Now().Add(s.scaled(time.Hour)).Unix(), 10)
	query := url.Values{
		"owner": {account.Username}, "expiry": {expiry}, "signature": {s.files.signature(id, account.Username, expiry)},
	}
	return "/v1/files/" + id + "/download?" + query.Encode(), nil
}

// downloadFile needs no token: its URL is a capability. Ranges and conditions are honoured.
func (s *Server) downloadFile(x *exchange) {
	query := x.r.URL.Query()
	expiry, err := strconv.ParseInt(query.Get("expiry"), 10, 64)
	signature := s.files.signature(x.r.PathValue("file"), query.Get("owner"), query.Get("expiry"))
	if err != nil || !x.now.Before(time.Unix(expiry, 0)) || !hmac.Equal([]byte(signature), []byte(query.Get("signature"))) {
		x.fail(problemNotFound)
		return
	}
	f := s.findFile(x)
	if f == nil {
		return
	}
	content, err := os.Open(filepath.Clean(f.path))
	if err != nil {
		x.fail(problemNotFound) // deleted meanwhile
		return
	}
	defer content.Close()
	h := x.w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", `"`+f.sha256+`"`)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	http.ServeContent(x.w, x.r, "", f.created, content)
}
