package upstream

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// deployment is one release of a deployment.
type deployment struct {
	name     string // owner/name
	version  string // id
	hardware string
	min, max int // instances
	number   int // of the release, from 1
	created  time.Time
}

// setDeployment releases the version.
func (c *catalog) setDeployment(name, id string, now time.Time) error {
	if !modelPattern.MatchString(name) {
		return fmt.Errorf("name is not owner/name")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions[id] == nil {
		return fmt.Errorf("version %q is not listed", id)
	}
	d := deployment{name: name, hardware: "gpu-t4", min: 0, max: 1}
	if known := c.deployments[name]; known != nil {
		d = *known
	}
	d.version, d.created = id, now
	d.number++
	c.deployments[name] = &d
	return nil
}

func (c *catalog) deployment(name string) *deployment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.deployments[name]
}

func (c *catalog) allDeployments() []*deployment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var all []*deployment
	for _, d := range c.deployments {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *deployment) int { return strings.Compare(a.name, b.name) })
	return all
}

type deploymentJSON struct {
	Owner          string      `json:"owner"`
	Name           string      `json:"name"`
	CurrentRelease releaseJSON `json:"current_release"`
}

type releaseJSON struct {
	Number        int         `json:"number"`
	Model         string      `json:"model"`
	Version       string      `json:"version"`
	CreatedAt     string      `json:"created_at"`
	CreatedBy     accountJSON `json:"created_by"`
	Configuration struct {
		Hardware     string `json:"hardware"`
		MinInstances int    `json:"min_instances"`
		MaxInstances int    `json:"max_instances"`
	} `json:"configuration"`
}

func (c *catalog) describeDeployment(d *deployment) deploymentJSON {
	owner, name, _ := strings.Cut(d.name, "/")
	j := deploymentJSON{Owner: owner, Name: name, CurrentRelease: releaseJSON{
		Number: d.number, Version: d.version, CreatedAt: timestamp(d.created), CreatedBy: account,
	}}
	if v := c.version(d.version); v != nil {
		j.CurrentRelease.Model = v.Model
	}
	configuration := &j.CurrentRelease.Configuration
	configuration.Hardware, configuration.MinInstances, configuration.MaxInstances = d.hardware, d.min, d.max
	return j
}

func (s *Server) listDeployments(x *exchange) {
	paginate(s, x, s.catalog.allDeployments(), func(d *deployment) string { return d.name }, s.catalog.describeDeployment)
}

func (s *Server) getDeployment(x *exchange) {
	d := s.catalog.deployment(x.ownerAndName())
	if d == nil {
		x.fail(problemNotFound)
		return
	}
	x.note(func(e *Entry) { e.Deployment, e.Version = d.name, d.version })
	x.answer(http.StatusOK, s.catalog.describeDeployment(d))
}

// deploymentBody is what creates and updates say; absent properties are nil.
type deploymentBody struct {
	Name         *string `json:"name"`
	Model        *string `json:"model"`
	Version      *string `json:"version"`
	Hardware     *string `json:"hardware"`
	MinInstances *int    `json:"min_instances"`
	MaxInstances *int    `json:"max_instances"`
}

func (s *Server) createDeployment(x *exchange) {
	body, bad := decodeBody[deploymentBody](x, "name", "model", "version", "hardware", "min_instances", "max_instances")
	if bad == nil && !namePattern.MatchString(*body.Name) {
		bad = invalidInput("- name: not made of a-z, 0-9, dot, dash and underscore")
	}
	if bad == nil {
		if v := s.catalog.version(*body.Version); v == nil || v.Model != *body.Model {
			bad = problemVersion
		}
	}
	if bad != nil {
		x.fail(bad)
		return
	}
	d := deployment{name: account.Username + "/" + *body.Name}
	if s.catalog.deployment(d.name) != nil {
		x.fail(invalidInput("- name: a deployment with that name already exists"))
		return
	}
	s.release(x, d, body)
}

func (s *Server) updateDeployment(x *exchange) {
	d := s.catalog.deployment(x.ownerAndName())
	if d == nil {
		x.fail(problemNotFound)
		return
	}
	body, bad := decodeBody[deploymentBody](x)
	if bad == nil && body.Version != nil {
		if v := s.catalog.version(*body.Version); v == nil || v.Model != s.catalog.describeDeployment(d).CurrentRelease.Model {
			bad = problemVersion
		}
	}
	if bad != nil {
		x.fail(bad)
		return
	}
	s.release(x, *d, body)
}

// release changes d as body says, and answers with it.
func (s *Server) release(x *exchange, d deployment, body deploymentBody) {
	for from, to := range map[*string]*string{body.Version: &d.version, body.Hardware: &d.hardware} {
		if from != nil {
			*to = *from
		}
	}
	for from, to := range map[*int]*int{body.MinInstances: &d.min, body.MaxInstances: &d.max} {
		if from != nil {
			*to = *from
		}
	}
	switch {
	case !isHardware(d.hardware):
		x.fail(invalidInput("- hardware: no such hardware"))
		return
	case d.min < 0 || d.min > 5:
		x.fail(invalidInput("- min_instances: must be 0 to 5"))
		return
	case d.max < 0 || d.max > 20 || d.max < d.min:
		x.fail(invalidInput("- max_instances: must be 0 to 20, and not less than min_instances"))
		return
	}
	d.created = x.now
	d.number++
	s.catalog.mu.Lock()
	s.catalog.deployments[d.name] = &d
	s.catalog.mu.Unlock()
	x.note(func(e *Entry) { e.Deployment, e.Version = d.name, d.version })
	x.answer(http.StatusOK, s.catalog.describeDeployment(&d))
}

func (s *Server) deleteDeployment(x *exchange) {
	name := x.ownerAndName()
	s.catalog.mu.Lock()
	known := s.catalog.deployments[name] != nil
	delete(s.catalog.deployments, name)
	s.catalog.mu.Unlock()
	if !known {
		x.fail(problemNotFound)
		return
	}
	x.w.WriteHeader(http.StatusNoContent)
}
