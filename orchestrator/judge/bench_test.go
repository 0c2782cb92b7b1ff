package judge

import (
	"syscall"
	"testing"
	"time"
)

// cpu returns the processor time that the process has taken: on a shared machine it
// says more than a clock.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// reportCPU reports the processor time of an operation, the collector's included.
func reportCPU(b *testing.B, since time.Duration) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N), "cpu-ns/op")
}

// looks are the inputs of a service's look, one after the other: an interval each.
func looks(minutes int64) []Input {
	whole := newTraffic(7, 1000, 0.05).run(base(), minutes)
	whole.Step.Bake, whole.Step.Deadline = 1e15, base().Step.Deadline.AddDate(1, 0, 0)
	in := whole
	in.Intervals, in.Through = whole.Intervals[:60], whole.Intervals[59].Index
	inputs := []Input{in}
	for i := 60; i < len(whole.Intervals); i++ {
		in.Intervals, in.Through = whole.Intervals[i:i+1], whole.Intervals[i].Index
		inputs = append(inputs, in)
	}
	return inputs
}

// BenchmarkLook is a service's whole look in the middle of a step: the memory read,
// an interval judged and explained, the memory written.
func BenchmarkLook(b *testing.B) {
	inputs := looks(30)
	var m Memory
	for _, in := range inputs[:len(inputs)-1] {
		in.Memory = m
		_, m = Judge(in)
	}
	text, last := m.Encode(), inputs[len(inputs)-1]
	b.ReportAllocs()
	since := cpu(b)
	for b.Loop() {
		memory, err := DecodeMemory(text)
		if err != nil {
			b.Fatal(err)
		}
		last.Memory = memory
		v, after := Judge(last)
		if v.Decision != Hold {
			b.Fatal(v.Reason)
		}
		after.Encode()
	}
	reportCPU(b, since)
	b.ReportMetric(float64(len(text)), "memory-bytes")
}

// BenchmarkJudge is the same without text around it.
func BenchmarkJudge(b *testing.B) {
	inputs := looks(30)
	var m Memory
	for _, in := range inputs[:len(inputs)-1] {
		in.Memory = m
		_, m = Judge(in)
	}
	last := inputs[len(inputs)-1]
	last.Memory = m
	b.ReportAllocs()
	since := cpu(b)
	for b.Loop() {
		Judge(last)
	}
	reportCPU(b, since)
}

// BenchmarkStep is what a simulation does: an hour of history and 15 minutes of a
// step in one call.
func BenchmarkStep(b *testing.B) {
	in := newTraffic(7, 1000, 0.05).run(base(), 15)
	b.ReportAllocs()
	since := cpu(b)
	for b.Loop() {
		Judge(in)
	}
	reportCPU(b, since)
}

// BenchmarkMemory is the text alone.
func BenchmarkMemory(b *testing.B) {
	_, m := Judge(newTraffic(7, 1000, 0.05).run(base(), 12))
	b.Run("encode", func(b *testing.B) {
		since := cpu(b)
		for b.Loop() {
			m.Encode()
		}
		reportCPU(b, since)
	})
	b.Run("decode", func(b *testing.B) {
		text := m.Encode()
		since := cpu(b)
		for b.Loop() {
			if _, err := DecodeMemory(text); err != nil {
				b.Fatal(err)
			}
		}
		reportCPU(b, since)
	})
}
