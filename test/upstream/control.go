package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Log returns all requests that the log holds, oldest first.
func (s *Server) Log() []Entry { return s.LogAfter(0) }

// LogAfter returns the requests that arrived after the one with the given Seq, oldest first.
func (s *Server) LogAfter(seq int) []Entry {
	entries, _ := s.log.after(seq)
	return entries
}

// ClearLog empties the log. Numbering goes on.
func (s *Server) ClearLog() { s.log.clear() }

// Behavior returns what the version does now.
func (s *Server) Behavior(versionID string) (Behavior, error) {
	a, err := s.versionActor(versionID)
	if err != nil {
		return Behavior{}, err
	}
	return a.get(), nil
}

// SetBehavior changes what the version does, from the next request on.
func (s *Server) SetBehavior(versionID string, b Behavior) error {
	a, err := s.versionActor(versionID)
	if err != nil {
		return err
	}
	return a.change(func(now *Behavior) error { *now = b; return nil })
}

// HTTPBehavior returns what the plain model server does now.
func (s *Server) HTTPBehavior(name string) (Behavior, error) {
	a, err := s.plainActor(name)
	if err != nil {
		return Behavior{}, err
	}
	return a.get(), nil
}

// SetHTTPBehavior changes what the plain model server does, from the next request on.
func (s *Server) SetHTTPBehavior(name string, b Behavior) error {
	a, err := s.plainActor(name)
	if err != nil {
		return err
	}
	return a.change(func(now *Behavior) error { *now = b; return nil })
}

// SetDeployment makes the deployment (owner/name) run the version.
func (s *Server) SetDeployment(name, versionID string) error {
	if err := s.catalog.setDeployment(name, versionID, time.Now()); err != nil {
		return fmt.Errorf("set deployment %s: %w", name, err)
	}
	return nil
}

// SetRateLimit begins a new minute with the given limit.
func (s *Server) SetRateLimit(limit RateLimit) error { return s.limiter.set(limit) }

func (s *Server) versionActor(id string) (*actor, error) {
	if v := s.catalog.version(id); v != nil {
		return v.actor, nil
	}
	return nil, fmt.Errorf("find version %s: none of this catalog", id)
}

func (s *Server) plainActor(name string) (*actor, error) {
	if m := s.catalog.http[name]; m != nil {
		return m.actor, nil
	}
	return nil, fmt.Errorf("find plain model %s: none of this catalog", name)
}

func (s *Server) controlRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_upstream/health", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, "application/json", http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /_upstream/log", s.serveLog)
	mux.HandleFunc("DELETE /_upstream/log", func(w http.ResponseWriter, r *http.Request) {
		s.ClearLog()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_upstream/webhooks", s.serveDeliveries)
	mux.HandleFunc("DELETE /_upstream/webhooks", func(w http.ResponseWriter, r *http.Request) {
		s.ClearDeliveries()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_upstream/faults", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, "application/json", http.StatusOK, s.Faults())
	})
	mux.HandleFunc("PUT /_upstream/faults", s.changeFault)
	mux.HandleFunc("DELETE /_upstream/faults", func(w http.ResponseWriter, r *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	version := func(r *http.Request) (*actor, error) { return s.versionActor(r.PathValue("id")) }
	mux.HandleFunc("GET /_upstream/versions/{id}", serveBehavior(version))
	mux.HandleFunc("PUT /_upstream/versions/{id}", changeBehavior(version))
	plain := func(r *http.Request) (*actor, error) { return s.plainActor(r.PathValue("name")) }
	mux.HandleFunc("GET /_upstream/http/{name}", serveBehavior(plain))
	mux.HandleFunc("PUT /_upstream/http/{name}", changeBehavior(plain))
	mux.HandleFunc("PUT /_upstream/deployments/{owner}/{name}", s.changeDeployment)
	mux.HandleFunc("PUT /_upstream/ratelimit", s.changeRateLimit)
	mux.HandleFunc("/_upstream/", func(w http.ResponseWriter, r *http.Request) { problemNotFound.write(w) })
	return mux
}

func (s *Server) serveLog(w http.ResponseWriter, r *http.Request) { serveHistory(w, r, &s.log) }

func (s *Server) serveDeliveries(w http.ResponseWriter, r *http.Request) {
	serveHistory(w, r, &s.deliveries)
}

// serveHistory lists the entries after ?after=seq, all by default.
func serveHistory[T any](w http.ResponseWriter, r *http.Request, h *history[T]) {
	after := 0
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			badControl(w, fmt.Errorf("after is %q, use the seq of an entry", text))
			return
		}
		after = n
	}
	entries, dropped := h.after(after)
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"entries": entries, "dropped": dropped})
}

func serveBehavior(find func(*http.Request) (*actor, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := find(r)
		if err != nil {
			(&problem{Title: "Not found", Detail: err.Error(), Status: http.StatusNotFound}).write(w)
			return
		}
		writeJSON(w, "application/json", http.StatusOK, a.get())
	}
}

// changeBehavior changes the properties that the body names and answers with all of them.
func changeBehavior(find func(*http.Request) (*actor, error)) http.HandlerFunc {
	serve := serveBehavior(find)
	return func(w http.ResponseWriter, r *http.Request) {
		if a, err := find(r); err == nil {
			if err := a.change(func(b *Behavior) error { return decodeControl(r, b) }); err != nil {
				badControl(w, err)
				return
			}
		}
		serve(w, r)
	}
}

func (s *Server) changeDeployment(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Version string `json:"version"`
	}
	err := decodeControl(r, &body)
	if err == nil {
		err = s.SetDeployment(r.PathValue("owner")+"/"+r.PathValue("name"), body.Version)
	}
	if err != nil {
		badControl(w, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, body)
}

// changeFault sets the faults of one target and answers with those of all.
func (s *Server) changeFault(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Target string  `json:"target"`
		Faults []Fault `json:"faults"`
	}
	err := decodeControl(r, &body)
	if err == nil {
		err = s.SetFault(body.Target, body.Faults...)
	}
	if err != nil {
		badControl(w, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, s.Faults())
}

func (s *Server) changeRateLimit(w http.ResponseWriter, r *http.Request) {
	var limit RateLimit
	err := decodeControl(r, &limit)
	if err == nil {
		err = s.SetRateLimit(limit)
	}
	if err != nil {
		badControl(w, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, limit)
}

func decodeControl(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	return nil
}

func badControl(w http.ResponseWriter, err error) {
	(&problem{Title: "Bad request", Detail: err.Error(), Status: http.StatusBadRequest}).write(w)
}
