package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Example is one valid call of an operation.
type Example struct {
	Method string
	Target string // path and query, from /v1 on
	Header http.Header
	Body   string
}

// Example returns a call of the operation that succeeds, on the first model, version and deployment of the catalog and
// with the first valid token. It makes what the call needs, such as a file to be deleted, by calls of its own that the
// log has too; so it may be asked again for the next call.
func (s *Server) Example(o Operation) (Example, error) {
	m := exampleMaker{s: s}
	e := Example{Method: o.Method, Header: m.header()}
	err := m.fill(o, &e)
	if err == nil {
		err = m.err
	}
	if err != nil {
		return Example{}, fmt.Errorf("make example of %s: %w", o.ID, err)
	}
	return e, nil
}

type exampleMaker struct {
	s   *Server
	err error // of make
}

// answer is a ResponseWriter that keeps a small answer.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (m *exampleMaker) header() http.Header {
	token := "r8_example"
	if tokens := m.s.options.Tokens; len(tokens) > 0 {
		token = tokens[0]
	}
	return http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
}

// make calls the server and returns the id in its answer, or the name where there is none.
func (m *exampleMaker) make(path, contentType, body string) string {
	r, err := http.NewRequest(http.MethodPost, "http://example.test/v1"+path, strings.NewReader(body))
	if err != nil {
		m.err = errors.Join(m.err, err)
		return ""
	}
	r.Header = m.header()
	r.Header.Set("Content-Type", contentType)
	w := answer{header: http.Header{}}
	m.s.ServeHTTP(&w, r)
	var made struct{ ID, Name string }
	if err := json.Unmarshal(w.body.Bytes(), &made); err != nil || w.status >= 300 {
		m.err = errors.Join(m.err, fmt.Errorf("POST %s: status %d: %s", path, w.status, w.body.String()))
	}
	if made.ID == "" {
		return made.Name
	}
	return made.ID
}

// nouns are the catalog's first of each.
type nouns struct {
	version    *version
	model      string
	deployment string
	input      string // JSON
}

func (s *Server) nouns() (n nouns, err error) {
	for _, m := range s.options.Catalog.Models {
		if target, ok := s.catalog.official(m.Name); ok {
			n.version, n.model = target.version, m.Name
			break
		}
	}
	if n.version == nil {
		return n, fmt.Errorf("the catalog has no official model")
	}
	for _, d := range s.catalog.allDeployments() {
		if v := s.catalog.version(d.version); v != nil && v.Model == n.model {
			n.deployment = d.name
			break
		}
	}
	if n.deployment == "" {
		return n, fmt.Errorf("the catalog has no deployment of %s", n.model)
	}
	input := map[string]string{"prompt": "an example"}
	for _, name := range n.version.Required {
		input[name] = "an example"
	}
	n.input = string(encode(input))
	return n, nil
}

// fresh is a name that no model or deployment has.
func (s *Server) fresh() string {
	for i := 1; ; i++ {
		name := "example-" + strconv.Itoa(i)
		if s.catalog.model(account.Username+"/"+name) == nil && s.catalog.deployment(account.Username+"/"+name) == nil {
			return name
		}
	}
}

const exampleForm = "--perch\r\nContent-Disposition: form-data; name=\"content\"; filename=\"hello.txt\"\r\n" +
	"Content-Type: text/plain\r\n\r\nhello\r\n--perch\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n" +
	"{\"customer\":7}\r\n--perch--\r\n"

const formType = "multipart/form-data; boundary=perch"

// fill completes a call that has a method and headers.
func (m *exampleMaker) fill(o Operation, e *Example) error {
	n, err := m.s.nouns()
	if err != nil {
		return err
	}
	place := n.model
	if strings.HasPrefix(o.Path, "/deployments/") {
		place = n.deployment
	}
	if o.ID == "models.delete" {
		place = account.Username + "/" + m.make("/models", "application/json", m.model())
	}
	versionID := n.version.ID
	if o.ID == "models.versions.delete" {
		place, versionID = m.s.privateVersion()
	}
	owner, name, _ := strings.Cut(place, "/")
	path := strings.NewReplacer(
		"{owner}", owner, "{name}", name, "{version}", versionID, "{collection}", collections[0].slug,
	).Replace(o.Path)
	for _, thing := range []struct {
		kind, parameter string
		make            func(nouns) string
	}{
		{"predictions.", "{id}", m.makePrediction}, {"trainings.", "{training}", m.makeTraining}, {"files.", "{file}", m.makeFile},
	} {
		if strings.Contains(path, thing.parameter) || o.ID == thing.kind+"list" {
			path = strings.ReplaceAll(path, thing.parameter, thing.make(n))
		}
	}
	e.Target = "/v1" + path
	return m.complete(o, e, n)
}

func (m *exampleMaker) makePrediction(n nouns) string {
	return m.make("/predictions", "application/json", m.prediction(n, true))
}

func (m *exampleMaker) makeTraining(n nouns) string {
	return m.make("/models/"+n.model+"/versions/"+n.version.ID+"/trainings", "application/json", m.training(n))
}

func (m *exampleMaker) makeFile(nouns) string { return m.make("/files", formType, exampleForm) }

// complete adds what is particular about some operations: query, body, headers.
func (m *exampleMaker) complete(o Operation, e *Example, n nouns) (err error) {
	switch o.ID {
	case "search":
		_, name, _ := strings.Cut(n.model, "/")
		e.Target += "?" + url.Values{"query": {name}}.Encode()
	case "files.download":
		e.Target, err = m.s.DownloadPath(strings.Split(e.Target, "/")[3])
	case "files.create":
		e.Body = exampleForm
		e.Header.Set("Content-Type", formType)
	case "models.search":
		_, e.Body, _ = strings.Cut(n.model, "/")
		e.Header.Set("Content-Type", "text/plain")
	case "models.create":
		e.Body = m.model()
	case "models.update":
		e.Body = `{"description":"Updated"}`
	case "deployments.create":
		e.Body = fmt.Sprintf(`{"name":%q,"model":%q,"version":%q,"hardware":"gpu-t4","min_instances":0,"max_instances":2}`,
			m.s.fresh(), n.model, n.version.ID)
	case "deployments.update":
		e.Body = `{"max_instances":3}`
	case "trainings.create":
		e.Body = m.training(n)
	case "predictions.create", "models.predictions.create", "deployments.predictions.create":
		e.Body = m.prediction(n, o.ID == "predictions.create")
	}
	if e.Body == "" {
		e.Header.Del("Content-Type")
	}
	return err
}

func (m *exampleMaker) model() string {
	return fmt.Sprintf(`{"owner":%q,"name":%q,"visibility":"private","hardware":"cpu","description":"An example"}`,
		account.Username, m.s.fresh())
}

func (m *exampleMaker) prediction(n nouns, named bool) string {
	if named {
		return `{"input":` + n.input + `,"version":"` + n.version.ID + `"}`
	}
	return `{"input":` + n.input + `}`
}

// training has a destination of the account, which the catalog's models need not be.
func (m *exampleMaker) training(n nouns) string {
	destination := n.model
	if !strings.HasPrefix(destination, account.Username+"/") {
		destination = account.Username + "/" + m.make("/models", "application/json", m.model())
	}
	return fmt.Sprintf(`{"destination":%q,"input":{"train_data":"https://example.test/data.zip"}}`, destination)
}

// privateVersion adds a version that may be deleted, and returns its model and id.
func (s *Server) privateVersion() (model, id string) {
	model = account.Username + "/" + s.fresh()
	v := Version{Model: model, ID: VersionID("example", model)}
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	if err := s.catalog.addVersion(v, s.options.Seed); err != nil {
		panic(err) // the name is fresh
	}
	return model, v.ID
}

// Empty says whether the operation's answer has no body when it succeeds.
func (o Operation) Empty() bool {
	return slices.Contains([]string{"deployments.delete", "files.delete", "models.delete", "models.versions.delete"}, o.ID)
}
