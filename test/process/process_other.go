//go:build !linux

package process

import (
	"errors"
	"time"
)

var errLinux = errors.New("read CPU time and memory of another process: only done on Linux")

// CPUTime is only known on Linux.
func CPUTime(int) (time.Duration, error) { return 0, errLinux }

// ResidentBytes is only known on Linux.
func ResidentBytes(int) (int64, error) { return 0, errLinux }

// PeakBytes is only known on Linux.
func PeakBytes(int) (int64, error) { return 0, errLinux }

// ResetPeak is only known on Linux.
func ResetPeak(int) error { return errLinux }
