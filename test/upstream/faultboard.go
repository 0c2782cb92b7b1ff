package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// faultBoard holds the faults of each target. A target is a version's id, deployment:owner/name, model:owner/name,
// http:name, operation:id or * for every request.
type faultBoard struct {
	mu      sync.Mutex
	random  *rand.Rand
	targets map[string][]Fault
}

const everyTarget = "*"

func newFaultBoard(seed uint64) *faultBoard {
	return &faultBoard{random: rand.New(rand.NewPCG(seed, 2)), targets: map[string][]Fault{}}
}

// draw returns the faults that a request has, and counts them.
func (b *faultBoard) draw(call Call, targets ...string) []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	var drawn []Fault
	for _, target := range targets {
		var left []Fault
		for _, f := range b.targets[target] {
			if !f.concerns(call) || f.Rate > 0 && b.random.Float64() >= f.Rate {
				left = append(left, f)
				continue
			}
			drawn = append(drawn, f)
			if f.Times == 0 {
				left = append(left, f)
			} else if f.Times > 1 {
				f.Times--
				left = append(left, f)
			}
		}
		if len(b.targets[target]) > 0 {
			b.targets[target] = left
		}
	}
	return drawn
}

func (b *faultBoard) set(target string, faults []Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(faults) == 0 {
		delete(b.targets, target)
		return
	}
	b.targets[target] = slices.Clone(faults)
}

// SetFault gives the target these faults instead of those that it had; none clears it. A target is a version's id, a
// deployment (deployment:owner/name), all versions of a model (model:owner/name), a plain model server (http:name), an
// operation of the API as Operations names it (operation:files.create), or * for every request. The prefix may be
// omitted where only one of the first four has the name.
func (s *Server) SetFault(target string, faults ...Fault) error {
	found, err := s.faultTarget(target)
	if err != nil {
		return fmt.Errorf("set fault of %s: %w", target, err)
	}
	for _, f := range faults {
		if err := f.validate(); err != nil {
			return fmt.Errorf("set fault of %s: %w", target, err)
		}
	}
	s.faults.set(found, faults)
	return nil
}

// ClearFaults clears all targets.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	clear(s.faults.targets)
}

// Faults returns what each target, with its prefix, still has.
func (s *Server) Faults() map[string][]Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	current := map[string][]Fault{}
	for target, faults := range s.faults.targets {
		if len(faults) > 0 {
			current[target] = slices.Clone(faults)
		}
	}
	return current
}

// faultTarget completes a target's name.
func (s *Server) faultTarget(text string) (string, error) {
	known := s.faultTargets()
	if known[text] {
		return text, nil
	}
	var found []string
	for _, prefix := range []string{"deployment:", "model:", "http:"} {
		if known[prefix+text] {
			found = append(found, prefix+text)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("nothing here has that name")
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several have that name, use %s", strings.Join(found, " or "))
}

func (s *Server) faultTargets() map[string]bool {
	known := map[string]bool{everyTarget: true}
	for _, o := range Operations() {
		known["operation:"+o.ID] = true
	}
	for name := range s.catalog.http {
		known["http:"+name] = true
	}
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	for id := range s.catalog.versions {
		known[id] = true
	}
	for name := range s.catalog.models {
		known["model:"+name] = true
	}
	for name := range s.catalog.deployments {
		known["deployment:"+name] = true
	}
	return known
}
