package upstream

import (
	"net/http"
	"time"
)

func (s *Server) createByVersion(x *exchange) {
	s.create(x, true, func(b createBody) (target, *problem) {
		if t, ok := s.catalog.reference(b.version); ok {
			return t, nil
		}
		return target{}, problemVersion
	})
}

func (s *Server) createByModel(x *exchange) {
	s.create(x, false, func(createBody) (target, *problem) {
		if t, ok := s.catalog.official(x.ownerAndName()); ok {
			return t, nil
		}
		return target{}, problemNotFound
	})
}

func (s *Server) createByDeployment(x *exchange) {
	s.create(x, false, func(createBody) (target, *problem) {
		name := x.ownerAndName()
		d := s.catalog.deployment(name)
		if d == nil {
			return target{}, problemNotFound
		}
		v := s.catalog.version(d.version)
		if v == nil {
			return target{}, problemNotFound
		}
		return target{version: v, shown: v.ID, deployment: name}, nil
	})
}

func (x *exchange) ownerAndName() string { return x.r.PathValue("owner") + "/" + x.r.PathValue("name") }

// create runs a prediction on what resolve finds, and waits for it as the caller prefers.
func (s *Server) create(x *exchange, wantsVersion bool, resolve func(createBody) (target, *problem)) {
	body, bad := x.createBody(wantsVersion)
	if bad != nil {
		x.fail(bad)
		return
	}
	t, bad := resolve(body)
	if bad != nil {
		x.fail(bad)
		return
	}
	x.note(func(e *Entry) { e.Version, e.Model, e.Deployment = t.version.ID, t.version.Model, t.deployment })
	lifetime, bad := cancelAfter(x.r.Header)
	if bad == nil {
		bad = s.checkWebhook(body.webhook.url)
	}
	if bad == nil {
		bad = t.version.checkInput(body.keys)
	}
	if bad != nil {
		x.fail(bad)
		return
	}
	f := t.version.draw(x.r.Header.Get("x-user-id"))
	if !s.strike(x, CallCreate, t.targets()...) {
		return
	}
	if unlucky, ok := x.fault(inPrediction); ok {
		f.ending = unlucky.Name
	}
	if f.outcome == outcomeReset {
		x.reset()
	}
	if bad := f.refusal(); bad != nil {
		x.fail(bad)
		return
	}
	p := s.start(x, t, body, f, lifetime)
	s.answerCreate(x, p)
}

func (x *exchange) createBody(wantsVersion bool) (createBody, *problem) {
	raw, bad := x.wholeBody()
	if bad != nil {
		return createBody{}, bad
	}
	body, bad := parseCreate(raw, wantsVersion)
	if bad == nil && len(body.input) <= 64<<10 {
		x.note(func(e *Entry) { e.Input = body.input })
	}
	return body, bad
}

// refusal is the answer to a call that creates nothing, or nil.
func (f fate) refusal() *problem {
	switch f.outcome {
	case outcomeError:
		return &problem{Title: http.StatusText(f.status), Detail: "An unexpected error occurred", Status: f.status}
	case outcomeRejected:
		return invalidInput("- input: the value is not one that this version accepts")
	}
	return nil
}

func (s *Server) start(x *exchange, t target, body createBody, f fate, lifetime time.Duration) *prediction {
	p := &prediction{
		version: t.version, shown: t.shown, deployment: t.deployment, server: t.server, input: body.input,
		tokens: outputTokens(t.version, body.input, f.outputBytes), created: x.now, changed: make(chan struct{}),
		webhook: body.webhook, origin: s.origin(x.r), streams: s.streams(),
	}
	if lifetime > 0 {
		p.deadline = x.now.Add(s.scaled(lifetime))
	}
	if unlucky, ok := x.fault(inWebhook); ok {
		p.webhook.fault = unlucky.Name
	}
	p.plan(f)
	s.predictions.add(p)
	x.note(func(e *Entry) { e.Prediction = p.id })
	s.tell(p)
	return p
}

// answerCreate gives 201 at once or, for a call that prefers to wait, at the end; 202 when that comes too late.
func (s *Server) answerCreate(x *exchange, p *prediction) {
	wait := s.scaled(preferredWait(x.r.Header))
	if wait == 0 {
		x.answer(http.StatusCreated, p.starting(s.origin(x.r)))
		return
	}
	giveUp := x.now.Add(wait)
	for {
		ends, _, changed := p.end()
		until := ends
		if giveUp.Before(ends) {
			until = giveUp
		}
		if !x.waitOr(time.Until(until), changed) {
			return
		}
		now := time.Now()
		if ends, _, _ := p.end(); !now.Before(ends) {
			x.answer(http.StatusCreated, p.synchronous(now, s.origin(x.r)))
			return
		}
		if !now.Before(giveUp) {
			x.answer(http.StatusAccepted, p.starting(s.origin(x.r)))
			return
		}
	}
}
