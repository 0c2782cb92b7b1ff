package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// streams is what URLs of streams begin with, or empty for the origin.
func (s *Server) streams() string {
	if url := s.streamURL.Load(); url != nil {
		return *url
	}
	return ""
}

// listening is one address that is served.
type listening struct {
	server *http.Server
	url    string
	served chan error
}

// Start listens on addr, or on a free port of 127.0.0.1 when addr is empty, and serves until Close.
func (s *Server) Start(addr string) error {
	_, err := s.listen(addr)
	return err
}

// StartStreams listens on another address, which stands for the host of streams: from now on the URLs of streams lead
// there. It answers as the first one does.
func (s *Server) StartStreams(addr string) error {
	url, err := s.listen(addr)
	if err == nil {
		s.streamURL.Store(&url)
	}
	return err
}

func (s *Server) listen(addr string) (string, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("start upstream: %w", err)
	}
	l := listening{
		server: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
		url:    "http://" + listener.Addr().String(), served: make(chan error, 1),
	}
	go func() { l.served <- l.server.Serve(listener) }()
	s.listening = append(s.listening, l)
	return l.url, nil
}

// URL is the address that Start chose, without a slash at the end.
func (s *Server) URL() string { return s.listening[0].url }

// Close cuts all connections, and returns once nothing is served and no webhook is sent any more. It may be called
// without Start.
func (s *Server) Close() error {
	s.close()
	var err error
	for _, l := range s.listening {
		err = errors.Join(err, l.server.Close())
		if served := <-l.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	}
	s.listening = nil
	s.background.Wait()
	s.webhookClient.CloseIdleConnections()
	s.releasePorts()
	err = errors.Join(err, s.files.close())
	if err != nil {
		return fmt.Errorf("close upstream: %w", err)
	}
	return nil
}
