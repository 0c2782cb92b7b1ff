package upstream

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"
)

const (
	maxField    = 64 << 10
	maxFilename = 255
)

// hashing reads through, and knows what went past.
type hashing struct {
	io.Reader
	hash hash.Hash
	n    int64
}

func newHashing(r io.Reader) *hashing { return &hashing{Reader: r, hash: sha256.New()} }

func (h *hashing) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.hash.Write(b[:n])
	h.n += int64(n)
	return n, err
}

func (h *hashing) sum() string { return hex.EncodeToString(h.hash.Sum(nil)) }

// createFile takes a form with content, and perhaps filename, type and metadata. Only a small part is in memory at once.
func (s *Server) createFile(x *exchange) {
	body := newHashing(x.r.Body)
	defer func() { x.noteBody(body.n, body.sum()) }()
	x.r.Body = io.NopCloser(body)
	form, err := x.r.MultipartReader()
	if err != nil {
		x.fail(&problem{Title: "Bad request", Detail: "The body is not multipart/form-data", Status: http.StatusBadRequest})
		return
	}
	f, bad := s.upload(form)
	if bad == nil {
		// What follows the form belongs to the body all the same.
		_, err = io.Copy(io.Discard, body)
		if err != nil {
			bad = problemForm(err)
		}
	}
	if bad != nil {
		if f != nil && f.path != "" {
			_ = os.Remove(f.path) // the directory goes anyway
		}
		x.fail(bad)
		return
	}
	f.created = x.now
	s.files.add(f)
	x.answer(http.StatusCreated, f.describe(s.origin(x.r)))
}

func problemForm(err error) *problem {
	return &problem{Title: "Bad request", Detail: "read form: " + err.Error(), Status: http.StatusBadRequest}
}

// upload reads the form. The file is not nil even when there is a problem.
func (s *Server) upload(form *multipart.Reader) (*file, *problem) {
	f := &file{metadata: json.RawMessage("{}")}
	fields := map[string]string{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return f, problemForm(err)
		}
		if part.FormName() == "content" {
			if bad := s.storeContent(f, part); bad != nil {
				return f, bad
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, maxField+1))
		if err != nil {
			return f, problemForm(err)
		}
		if len(text) > maxField {
			return f, invalidInput("- " + part.FormName() + ": longer than 64 KB")
		}
		fields[part.FormName()] = string(text)
	}
	return f, f.complete(fields)
}

func (s *Server) storeContent(f *file, part *multipart.Part) *problem {
	if f.path != "" {
		return invalidInput("- content: given twice")
	}
	content, err := s.files.create()
	if err != nil {
		return &problem{Detail: "store file: " + err.Error(), Status: http.StatusInternalServerError}
	}
	defer content.Close()
	f.path, f.name, f.contentType = content.Name(), part.FileName(), part.Header.Get("Content-Type")
	source := newHashing(io.LimitReader(part, maxBody+1))
	if _, err := io.Copy(content, source); err != nil {
		return problemForm(err)
	}
	if source.n > maxBody {
		return &problem{Title: "Payload too large", Detail: "File is larger than 100 MB", Status: http.StatusRequestEntityTooLarge}
	}
	f.size, f.sha256 = source.n, source.sum()
	return nil
}

// complete takes the form's other fields, and checks all.
func (f *file) complete(fields map[string]string) *problem {
	f.name = cmp.Or(fields["filename"], f.name)
	f.contentType = cmp.Or(fields["type"], f.contentType, "application/octet-stream")
	var complaints []string
	if f.path == "" {
		complaints = append(complaints, "- content is required")
	}
	if f.name == "" {
		complaints = append(complaints, "- filename is required")
	}
	if len(f.name) > maxFilename || !utf8.ValidString(f.name) {
		complaints = append(complaints, "- filename: must be UTF-8 of at most 255 bytes")
	}
	if text, ok := fields["metadata"]; ok {
		f.metadata = json.RawMessage(text)
		var object map[string]json.RawMessage
		if json.Unmarshal(f.metadata, &object) != nil || object == nil {
			complaints = append(complaints, "- metadata: Invalid type. Expected: object")
		}
	}
	if len(complaints) > 0 {
		return invalidInput(strings.Join(complaints, "\n"))
	}
	return nil
}
