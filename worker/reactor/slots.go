package reactor

// slots keeps values by handle; handles of removed values are used again. Let the
// values be pointers: those share their code.
type slots[T any] struct {
	entries []slot[T]
	free    []uint32
}

type slot[T any] struct {
	value T
	used  bool
}

//go:noinline
func (s *slots[T]) add(value T) uint32 {
	if n := len(s.free); n > 0 {
		handle := s.free[n-1]
		s.free = s.free[:n-1]
		s.entries[handle-1] = slot[T]{value, true}
		return handle
	}
	s.entries = append(s.entries, slot[T]{value, true})
	return uint32(len(s.entries))
}

// get panics on a handle that is not in use: the host then restarts us.
func (s *slots[T]) get(handle uint32) T { return s.used(handle).value }

// remove panics like get: a handle removed twice would be given to two owners.
//
//go:noinline
func (s *slots[T]) remove(handle uint32) {
	*s.used(handle) = slot[T]{}
	s.free = append(s.free, handle)
}

//go:noinline
func (s *slots[T]) used(handle uint32) *slot[T] {
	entry := &s.entries[handle-1]
	if !entry.used {
		panic("handle is not in use")
	}
	return entry
}
