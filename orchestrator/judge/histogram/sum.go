package histogram

// Sum adds up histograms in place. The zero value is empty.
type Sum struct {
	counts     []float64 // Buckets of them, once there is something
	first, end int
}

// Reset empties it.
func (s *Sum) Reset() {
	clear(s.counts[s.first:s.end])
	s.first, s.end = 0, 0
}

// Add adds a histogram, scaled. Buckets out of range count as the nearest.
func (s *Sum) Add(h Histogram, factor float64) {
	if len(h.Counts) == 0 {
		return
	}
	if s.counts == nil {
		s.counts = make([]float64, Buckets)
	}
	first := max(0, min(Buckets-1, h.First))
	end := max(first+1, min(Buckets, h.First+len(h.Counts)))
	if s.first == s.end {
		s.first, s.end = first, end
	} else {
		s.first, s.end = min(s.first, first), max(s.end, end)
	}
	if h.First == first && h.First+len(h.Counts) == end {
		to := s.counts[first:end]
		for i, count := range h.Counts {
			to[i] += factor * count
		}
		return
	}
	for i, count := range h.Counts {
		s.counts[max(0, min(Buckets-1, h.First+i))] += factor * count
	}
}

// View returns the sum, which later changes of it change too.
func (s *Sum) View() Histogram { return Histogram{s.first, s.counts[s.first:s.end]} }
