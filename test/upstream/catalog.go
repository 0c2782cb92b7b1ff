package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Catalog is what the stand-in serves.
type Catalog struct {
	Versions    []Version         `json:"versions"`    // of each model the newest first
	Models      []Model           `json:"models"`      // only those that differ from a plain Model{Name}
	Deployments map[string]string `json:"deployments"` // owner/name of the deployment to version id
	HTTP        []HTTPModel       `json:"http"`
}

// Version is one version of a Replicate model.
type Version struct {
	Model    string   `json:"model"`    // owner/name
	ID       string   `json:"id"`       // 64 hex digits
	Streams  bool     `json:"streams"`  // has urls.stream, and a list of tokens as output
	Required []string `json:"required"` // keys that input must have
	Behavior Behavior `json:"behavior"`
}

// Model says what is particular about a Replicate model.
type Model struct {
	Name     string `json:"name"`     // owner/name
	Official bool   `json:"official"` // may be run without naming a version
	Latest   string `json:"latest"`   // id of the version that an official model runs; by default the newest
	Shown    string `json:"shown"`    // what predictions of an official model give as version, e.g. hidden; by default the id
}

// HTTPModel is a plain model server under /http/{name}/.
type HTTPModel struct {
	Name     string   `json:"name"`
	Behavior Behavior `json:"behavior"`
}

// VersionID makes a well-formed version id from any words, the same one each time.
func VersionID(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:])
}

// DemoCatalog has two versions, stable and canary, of the official model acme/flux (one string as output) and of
// acme/chat (which streams), a deployment for each version, and two plain model servers. Version ids are
// VersionID(model, "stable") and VersionID(model, "canary"). All answer in 80 ms (median) without failures.
func DemoCatalog() Catalog {
	quick := Behavior{Latency: Lognormal(80*time.Millisecond, 0.25)}
	c := Catalog{
		Models:      []Model{{Name: "acme/flux", Official: true}, {Name: "acme/chat", Official: true}},
		Deployments: map[string]string{},
	}
	for _, model := range []string{"acme/flux", "acme/chat"} {
		for _, arm := range []string{"stable", "canary"} {
			id := VersionID(model, arm)
			c.Versions = append(c.Versions, Version{
				Model: model, ID: id, Streams: model == "acme/chat", Required: []string{"prompt"}, Behavior: quick,
			})
			c.Deployments[model+"-"+arm] = id
		}
	}
	for _, arm := range []string{"stable", "canary"} {
		c.HTTP = append(c.HTTP, HTTPModel{Name: "qwen-" + arm, Behavior: quick})
	}
	return c
}

type version struct {
	Version
	*actor
	created time.Time
}

type httpModel struct {
	name string
	*actor
}

// catalog is the lookup side of a Catalog. Only the deployments change after it is built.
type catalog struct {
	versions map[string]*version
	models   map[string]*Model
	byModel  map[string][]*version
	http     map[string]*httpModel

	mu          sync.RWMutex
	deployments map[string]string
}

var (
	versionPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	modelPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

func newCatalog(c Catalog, seed uint64, now time.Time) (*catalog, error) {
	cat := &catalog{
		versions: map[string]*version{}, models: map[string]*Model{}, byModel: map[string][]*version{},
		http: map[string]*httpModel{}, deployments: map[string]string{},
	}
	for _, v := range c.Versions {
		if err := cat.addVersion(v, seed, now); err != nil {
			return nil, fmt.Errorf("add version %s: %w", v.ID, err)
		}
	}
	for _, m := range c.Models {
		if err := cat.addModel(m); err != nil {
			return nil, fmt.Errorf("add model %s: %w", m.Name, err)
		}
	}
	for name, id := range c.Deployments {
		if err := cat.setDeployment(name, id); err != nil {
			return nil, fmt.Errorf("add deployment %s: %w", name, err)
		}
	}
	for _, h := range c.HTTP {
		if err := cat.addHTTP(h, seed); err != nil {
			return nil, fmt.Errorf("add plain model %s: %w", h.Name, err)
		}
	}
	return cat, nil
}

func (c *catalog) addVersion(v Version, seed uint64, now time.Time) error {
	if !versionPattern.MatchString(v.ID) {
		return fmt.Errorf("id %q is not 64 hex digits", v.ID)
	}
	if !modelPattern.MatchString(v.Model) {
		return fmt.Errorf("model %q is not owner/name", v.Model)
	}
	if c.versions[v.ID] != nil {
		return fmt.Errorf("id is listed twice")
	}
	if err := v.Behavior.validate(); err != nil {
		return err
	}
	entry := &version{Version: v, actor: newActor(seed, v.ID, v.Behavior), created: now}
	c.versions[v.ID] = entry
	c.byModel[v.Model] = append(c.byModel[v.Model], entry)
	if c.models[v.Model] == nil {
		c.models[v.Model] = &Model{Name: v.Model, Latest: v.ID}
	}
	return nil
}

func (c *catalog) addModel(m Model) error {
	known := c.models[m.Name]
	if known == nil {
		return fmt.Errorf("no version of it is listed")
	}
	if m.Latest == "" {
		m.Latest = known.Latest
	}
	if v := c.versions[m.Latest]; v == nil || v.Model != m.Name {
		return fmt.Errorf("latest %q is none of its versions", m.Latest)
	}
	c.models[m.Name] = &m
	return nil
}

func (c *catalog) addHTTP(h HTTPModel, seed uint64) error {
	if !namePattern.MatchString(h.Name) {
		return fmt.Errorf("name is not made of a-z, 0-9, dot, dash and underscore")
	}
	if err := h.Behavior.validate(); err != nil {
		return err
	}
	c.http[h.Name] = &httpModel{name: h.Name, actor: newActor(seed, "http:"+h.Name, h.Behavior)}
	return nil
}

func (c *catalog) setDeployment(name, id string) error {
	if !modelPattern.MatchString(name) {
		return fmt.Errorf("name is not owner/name")
	}
	if c.versions[id] == nil {
		return fmt.Errorf("version %q is not listed", id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deployments[name] = id
	return nil
}

func (c *catalog) deployment(name string) *version {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.versions[c.deployments[name]]
}

// target is what a create call asks to be run.
type target struct {
	version    *version
	shown      string // the prediction's version property
	deployment string // owner/name, or empty
}

// official finds a model that may be run without a version.
func (c *catalog) official(name string) (target, bool) {
	m := c.models[name]
	if m == nil || !m.Official {
		return target{}, false
	}
	shown := m.Shown
	if shown == "" {
		shown = m.Latest
	}
	return target{version: c.versions[m.Latest], shown: shown}, true
}

// reference finds what a version property names: an id, owner/name:id, or owner/name of an official model.
func (c *catalog) reference(ref string) (target, bool) {
	model, id, qualified := strings.Cut(ref, ":")
	if !qualified {
		if strings.Contains(ref, "/") {
			return c.official(ref)
		}
		id = ref
	}
	v := c.versions[id]
	if v == nil || qualified && v.Model != model {
		return target{}, false
	}
	return target{version: v, shown: v.ID}, true
}
