package upstream

import "sync"

// history keeps the newest items, numbered from 1 without gaps.
type history[T any] struct {
	mu      sync.Mutex
	limit   int
	last    int // number of the newest item
	dropped int
	items   []*T // a ring once it has reached the limit: the oldest stands at head
	head    int
}

// add keeps what build makes of the next number.
func (h *history[T]) add(build func(number int) *T) *T {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	item := build(h.last)
	if len(h.items) < h.limit {
		h.items = append(h.items, item)
		return item
	}
	h.items[h.head] = item
	h.head = (h.head + 1) % h.limit
	h.dropped++
	return item
}

func (h *history[T]) update(item *T, f func(*T)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(item)
}

// after returns copies of the items with a higher number, oldest first, and how many had to be dropped so far.
func (h *history[T]) after(number int) ([]T, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := []T{}
	oldest := h.last - len(h.items) + 1
	for i := max(0, number+1-oldest); i < len(h.items); i++ {
		found = append(found, *h.items[(h.head+i)%len(h.items)])
	}
	return found, h.dropped
}

func (h *history[T]) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.items, h.head, h.dropped = nil, 0, 0
}
