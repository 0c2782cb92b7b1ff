package reactor

// slots keeps values by handle; handles of removed values are used again.
type slots[T any] struct {
	values []T
	free   []uint32
}

func (s *slots[T]) add(value T) uint32 {
	if n := len(s.free); n > 0 {
		handle := s.free[n-1]
		s.free = s.free[:n-1]
		s.values[handle-1] = value
		return handle
	}
	s.values = append(s.values, value)
	return uint32(len(s.values))
}

// get panics on a handle that was never given out: the host then restarts us.
func (s *slots[T]) get(handle uint32) T { return s.values[handle-1] }

func (s *slots[T]) remove(handle uint32) {
	var zero T
	s.values[handle-1] = zero
	s.free = append(s.free, handle)
}
