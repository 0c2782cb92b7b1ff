package upstream

import (
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// predictionStore keeps the newest predictions.
type predictionStore struct {
	mu     sync.Mutex
	limit  int
	random *rand.Rand
	byID   map[string]*prediction
	order  []*prediction // oldest first
}

func newPredictionStore(limit int, seed uint64) *predictionStore {
	return &predictionStore{
		limit: limit, random: rand.New(rand.NewPCG(seed, 1)), byID: map[string]*prediction{},
	}
}

// add gives p its id and secret.
func (s *predictionStore) add(p *prediction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.id, p.secret = s.name(), s.name()
	s.byID[p.id] = p
	s.order = append(s.order, p)
	if len(s.order) > s.limit {
		delete(s.byID, s.order[0].id)
		s.order[0] = nil
		s.order = s.order[1:]
	}
}

// name is 26 lower-case letters and digits, as Replicate's ids are.
func (s *predictionStore) name() string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], s.random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], s.random.Uint64())
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (s *predictionStore) get(id string) *prediction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// page returns up to n predictions made in [from,to), newest first, that are older than the one with the id before
// (if any), and the id to go on before; empty on the last page. Zero times do not bound.
func (s *predictionStore) page(n int, before string, from, to time.Time) (found []*prediction, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	skipping := before != ""
	for i := len(s.order) - 1; i >= 0; i-- {
		p := s.order[i]
		if skipping {
			skipping = p.id != before
			continue
		}
		if !from.IsZero() && p.created.Before(from) || !to.IsZero() && !p.created.Before(to) {
			continue
		}
		if len(found) == n {
			return found, found[n-1].id
		}
		found = append(found, p)
	}
	return found, ""
}
