package upstream

import (
	"fmt"
	"syscall"
)

// RefusedURL returns a URL to which no connection can be made. Its port is held until Close, so that nobody else comes
// to listen there.
func (s *Server) RefusedURL() (string, error) {
	// A socket that is bound but does not listen refuses.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return "", fmt.Errorf("hold a port: %w", err)
	}
	syscall.CloseOnExec(fd)
	s.heldMu.Lock()
	s.held = append(s.held, fd)
	s.heldMu.Unlock()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", fmt.Errorf("hold a port: %w", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("hold a port: %w", err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port), nil
}

func (s *Server) releasePorts() {
	s.heldMu.Lock()
	defer s.heldMu.Unlock()
	for _, fd := range s.held {
		_ = syscall.Close(fd) // nothing was written to it
	}
	s.held = nil
}
