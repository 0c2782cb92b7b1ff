package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"perch/test/process"
)

const MB = 1e6

// watch is how much memory a process held, at equal distances.
type watch struct {
	now   atomic.Int64
	bytes []int64
	err   error
	stop  chan struct{}
	ended chan struct{}
}

const watchEvery = 250 * time.Millisecond

// watchMemory begins after a time in which the process warms up.
func watchMemory(pid int, warmUp time.Duration) *watch {
	began := time.Now()
	w := &watch{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for ticker := time.NewTicker(watchEvery); ; {
			select {
			case <-w.stop:
				ticker.Stop()
				return
			case <-ticker.C:
			}
			bytes, err := process.ResidentBytes(pid)
			if err != nil {
				w.err = err
				return
			}
			w.now.Store(bytes)
			if time.Since(began) >= warmUp {
				w.bytes = append(w.bytes, bytes)
			}
		}
	}()
	return w
}

// thirds ends the watch and returns the mean of each third of its time.
func (w *watch) thirds() (thirds [3]float64, err error) {
	close(w.stop)
	<-w.ended
	n := len(w.bytes) / 3
	if w.err != nil || n == 0 {
		return thirds, fmt.Errorf("watch memory: %d times: %w", len(w.bytes), w.err)
	}
	for i := range thirds {
		for _, bytes := range w.bytes[i*n : (i+1)*n] {
			thirds[i] += float64(bytes) / float64(n)
		}
	}
	return thirds, nil
}
