package upstream

import (
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"slices"
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

// newPredictionStore makes one whose ids differ from those of other streams of the same seed.
func newPredictionStore(limit int, seed, stream uint64) *predictionStore {
	return &predictionStore{
		limit: limit, random: rand.New(rand.NewPCG(seed, stream)), byID: map[string]*prediction{},
	}
}

// add gives p its id and secret.
func (s *predictionStore) add(p *prediction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.id, p.secret = randomName(s.random), randomName(s.random)
	s.byID[p.id] = p
	s.order = append(s.order, p)
	if len(s.order) > s.limit {
		delete(s.byID, s.order[0].id)
		s.order[0] = nil
		s.order = s.order[1:]
	}
}

// randomName is 26 lower-case letters and digits, as Replicate's ids are.
func randomName(random *rand.Rand) string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], random.Uint64())
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (s *predictionStore) get(id string) *prediction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// between are the predictions made in [from,to), newest first. Zero times do not bound.
func (s *predictionStore) between(from, to time.Time) []*prediction {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*prediction{}
	for _, p := range slices.Backward(s.order) {
		if !from.IsZero() && p.created.Before(from) || !to.IsZero() && !p.created.Before(to) {
			continue
		}
		found = append(found, p)
	}
	return found
}
