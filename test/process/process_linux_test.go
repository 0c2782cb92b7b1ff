package process

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOfThisProcess: it used CPU time, and its peak begins anew when asked to.
func TestOfThisProcess(t *testing.T) {
	pid := os.Getpid()
	before, err := CPUTime(pid)
	require.NoError(t, err)
	require.NoError(t, ResetPeak(pid))
	low, err := PeakBytes(pid)
	require.NoError(t, err)

	const size = 64 << 20
	block := make([]byte, size)
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
		for i := 0; i < size; i += 4096 {
			block[i]++
		}
	}
	resident, err := ResidentBytes(pid)
	require.NoError(t, err)
	runtime.KeepAlive(block)
	high, err := PeakBytes(pid)
	require.NoError(t, err)
	require.GreaterOrEqual(t, high-low, int64(size)/2)
	require.InDelta(t, high, resident, size/2)
	after, err := CPUTime(pid)
	require.NoError(t, err)
	require.Greater(t, after-before, 10*time.Millisecond)
}

// TestNoProcess: one that is not there is an error.
func TestNoProcess(t *testing.T) {
	for _, read := range []func(int) (int64, error){ResidentBytes, PeakBytes} {
		_, err := read(1 << 30)
		require.Error(t, err)
	}
}
