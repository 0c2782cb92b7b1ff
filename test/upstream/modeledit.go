package upstream

import "net/http"

// modelBody is what creates and updates say; absent properties are nil.
type modelBody struct {
	Owner       *string `json:"owner"`
	Name        *string `json:"name"`
	Visibility  *string `json:"visibility"`
	Hardware    *string `json:"hardware"`
	Description *string `json:"description"`
	Readme      *string `json:"readme"`
	GitHubURL   *string `json:"github_url"`
	PaperURL    *string `json:"paper_url"`
	LicenseURL  *string `json:"license_url"`
	CoverURL    *string `json:"cover_image_url"`
	WeightsURL  *string `json:"weights_url"`
}

// describe changes what m says of itself.
func (b modelBody) describe(m *Model) {
	for _, change := range []struct{ from, to *string }{
		{b.Description, &m.Description}, {b.Readme, &m.Readme}, {b.GitHubURL, &m.GitHubURL},
		{b.PaperURL, &m.PaperURL}, {b.LicenseURL, &m.LicenseURL}, {b.CoverURL, &m.CoverURL},
	} {
		if change.from != nil {
			*change.to = *change.from
		}
	}
}

// createModel makes a model of the account, which has no versions.
func (s *Server) createModel(x *exchange) {
	body, bad := decodeBody[modelBody](x, "owner", "name", "visibility", "hardware")
	if bad == nil {
		bad = s.checkModel(body)
	}
	if bad != nil {
		x.fail(bad)
		return
	}
	m := &Model{Name: *body.Owner + "/" + *body.Name, Public: *body.Visibility == "public", created: x.now}
	body.describe(m)
	if !s.catalog.putModel(m, false) {
		x.fail(invalidInput("- name: a model with that name already exists"))
		return
	}
	x.note(func(e *Entry) { e.Model = m.Name })
	x.answer(http.StatusCreated, s.describeModel(x, m))
}

func (s *Server) checkModel(body modelBody) *problem {
	switch {
	case *body.Owner != account.Username:
		return forbidden("You can only create models that you own")
	case !namePattern.MatchString(*body.Name):
		return invalidInput("- name: not made of a-z, 0-9, dot, dash and underscore")
	case *body.Visibility != "public" && *body.Visibility != "private":
		return invalidInput("- visibility: must be public or private")
	case !isHardware(*body.Hardware):
		return invalidInput("- hardware: no such hardware")
	}
	return nil
}

func (s *Server) updateModel(x *exchange) {
	known := s.findModel(x)
	if known == nil {
		return
	}
	body, bad := decodeBody[modelBody](x)
	if bad != nil {
		x.fail(bad)
		return
	}
	m := *known
	body.describe(&m)
	s.catalog.putModel(&m, true)
	x.answer(http.StatusOK, s.describeModel(x, &m))
}

// deleteModel deletes a private model without versions.
func (s *Server) deleteModel(x *exchange) {
	m := s.findModel(x)
	switch {
	case m == nil:
	case m.Public:
		x.fail(forbidden("You can only delete private models"))
	case len(s.catalog.versionsOf(m.Name)) > 0:
		x.fail(forbidden("You can only delete models that have no versions associated with them"))
	default:
		s.catalog.removeModel(m.Name)
		x.w.WriteHeader(http.StatusNoContent)
	}
}

// putModel returns false when there is one of that name and it must not be replaced.
func (c *catalog) putModel(m *Model, replace bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.models[m.Name] != nil && !replace {
		return false
	}
	c.models[m.Name] = m
	return true
}

func (c *catalog) removeModel(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.models, name)
}
