package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the CPU time that all threads of a process have used, ended ones included. It reads the process's
// own clock, which counts nanoseconds, where /proc/<pid>/stat counts ticks of 10 ms.
func CPUTime(pid int) (time.Duration, error) {
	const schedulerClock = 2 // of <linux/posix-timers.h>: CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// ResidentBytes returns how much of a process is in memory.
func ResidentBytes(pid int) (int64, error) { return memory(pid, "VmRSS") }

// PeakBytes returns the most that was ever in memory of a process, or since ResetPeak.
func PeakBytes(pid int) (int64, error) { return memory(pid, "VmHWM") }

// ResetPeak makes PeakBytes begin anew with what is in memory now.
func ResetPeak(pid int) error {
	const peak = "5" // of proc_pid_clear_refs(5)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peak), 0); err != nil {
		return fmt.Errorf("reset peak of process %d: %w", pid, err)
	}
	return nil
}

// memory reads one of the sizes in /proc/<pid>/status, each on a line "Name:  123 kB".
func memory(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		size, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		return kB << 10, nil
	}
	return 0, fmt.Errorf("read memory of process %d: its status has no %s", pid, name)
}
