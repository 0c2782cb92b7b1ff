package upstream

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

type version struct {
	Version
	*actor
	created time.Time
}

type httpModel struct {
	name    string
	version string // id, or empty
	*actor
}

// catalog is the lookup side of a Catalog. What its maps hold is never changed, only replaced.
type catalog struct {
	http map[string]*httpModel // fixed

	mu          sync.RWMutex
	versions    map[string]*version
	models      map[string]*Model
	byModel     map[string][]*version // the newest first
	deployments map[string]*deployment
}

var (
	versionPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	modelPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// catalogMade is when the newest model and version of a catalog came to be: the same for every server, so that their
// answers are.
var catalogMade = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newCatalog(c Catalog, seed uint64) (*catalog, error) {
	cat := &catalog{
		versions: map[string]*version{}, models: map[string]*Model{}, byModel: map[string][]*version{},
		http: map[string]*httpModel{}, deployments: map[string]*deployment{},
	}
	for _, v := range c.Versions {
		if err := cat.addVersion(v, seed); err != nil {
			return nil, fmt.Errorf("add version %s: %w", v.ID, err)
		}
	}
	for _, m := range c.Models {
		if err := cat.addModel(m); err != nil {
			return nil, fmt.Errorf("add model %s: %w", m.Name, err)
		}
	}
	for name, id := range c.Deployments {
		if err := cat.setDeployment(name, id, catalogMade); err != nil {
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

// addVersion makes the version a day older than the model's last.
func (c *catalog) addVersion(v Version, seed uint64) error {
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
	made := catalogMade.AddDate(0, 0, -len(c.byModel[v.Model]))
	entry := &version{Version: v, actor: newActor(seed, v.ID, v.Behavior), created: made}
	c.versions[v.ID] = entry
	c.byModel[v.Model] = append(c.byModel[v.Model], entry)
	if c.models[v.Model] == nil {
		m := Model{Name: v.Model, Latest: v.ID, created: catalogMade.AddDate(0, -1-len(c.models), 0)}
		c.models[v.Model] = m.withDefaults()
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
	m.created = known.created
	c.models[m.Name] = m.withDefaults()
	return nil
}

func (m Model) withDefaults() *Model {
	_, name, _ := strings.Cut(m.Name, "/")
	m.Public = m.Public || m.Official
	if m.Description == "" {
		m.Description = "What " + name + " makes of a prompt"
	}
	if m.Readme == "" {
		m.Readme = "# " + name + "\n\n" + m.Description + ".\n"
	}
	return &m
}

func (c *catalog) addHTTP(h HTTPModel, seed uint64) error {
	if !namePattern.MatchString(h.Name) {
		return fmt.Errorf("name is not made of a-z, 0-9, dot, dash and underscore")
	}
	if err := h.Behavior.validate(); err != nil {
		return err
	}
	if h.Version != "" && c.versions[h.Version] == nil {
		return fmt.Errorf("version %q is not listed", h.Version)
	}
	c.http[h.Name] = &httpModel{name: h.Name, version: h.Version, actor: newActor(seed, "http:"+h.Name, h.Behavior)}
	return nil
}

func (c *catalog) version(id string) *version {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.versions[id]
}

func (c *catalog) model(name string) *Model {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.models[name]
}

// versionsOf are the model's, the newest first.
func (c *catalog) versionsOf(model string) []*version {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.byModel[model])
}

// allModels are in no order.
func (c *catalog) allModels() []*Model {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var all []*Model
	for _, m := range c.models {
		all = append(all, m)
	}
	return all
}

// target is what a create call asks to be run.
type target struct {
	version    *version
	shown      string // the prediction's version property
	deployment string // owner/name, or empty
	server     string // name of the model server, or empty for Replicate
}

// official finds a model that may be run without a version.
func (c *catalog) official(name string) (target, bool) {
	m := c.model(name)
	if m == nil || !m.Official {
		return target{}, false
	}
	latest := c.version(m.Latest)
	if latest == nil {
		return target{}, false
	}
	shown := m.Shown
	if shown == "" {
		shown = m.Latest
	}
	return target{version: latest, shown: shown}, true
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
	v := c.version(id)
	if v == nil || qualified && v.Model != model {
		return target{}, false
	}
	return target{version: v, shown: v.ID}, true
}
