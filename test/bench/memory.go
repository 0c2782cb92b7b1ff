package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"perch/test/process"
)

const (
	memorySamples = 20
	// maxGrowth is how much larger the last third may be than the middle one.
	maxGrowth = 0.05
)

// memory is what workerd held while Perch served all scenarios in turn. The heap of a new process grows in steps during
// the first 100,000 requests, whatever the worker; the default run goes as far again.
type memory struct {
	Requests int     `json:"requests"`
	Bytes    []int64 `json:"resident_bytes"` // at equal distances, the last one at the end
	Growth   float64 `json:"growth"`         // of the last third's mean over the middle third's
	MaxGrew  float64 `json:"max_growth"`
}

// measureMemory lets a new process serve n requests.
func measureMemory(ctx context.Context, n int, up *upstream, scenarios []scenario) (*memory, error) {
	c, err := startContestant(ctx, variants[0], up, scenarios, nil)
	defer stopContestants([]*contestant{c})
	if err != nil {
		return nil, err
	}
	m := &memory{Requests: n, MaxGrew: maxGrowth}
	each := max(1, n/memorySamples/len(scenarios))
	for range memorySamples {
		for i := range scenarios {
			if err := c.sendAll(ctx, &scenarios[i], each); err != nil {
				return nil, err
			}
		}
		bytes, err := process.ResidentBytes(c.pid)
		if err != nil {
			return nil, err
		}
		m.Bytes = append(m.Bytes, bytes)
	}
	m.Growth = growth(m.Bytes)
	return m, c.checkCounted(ctx)
}

// growth returns by how much the mean of the last third exceeds that of the middle third, as a share of the latter.
func growth(series []int64) float64 {
	third := len(series) / 3
	last, middle := series[len(series)-third:], series[len(series)-2*third:len(series)-third]
	return mean(last)/mean(middle) - 1
}

func mean(xs []int64) float64 {
	sum := int64(0)
	for _, x := range xs {
		sum += x
	}
	return float64(sum) / float64(len(xs))
}

func (m *memory) levelsOff() bool { return m.Growth <= maxGrowth }

const barWidth = 50

func (m *memory) print(w io.Writer) {
	fmt.Fprintln(w, "\nMemory of Perch's workerd process")
	most := int64(1)
	for _, bytes := range m.Bytes {
		most = max(most, bytes)
	}
	for i, bytes := range m.Bytes {
		bar := strings.Repeat("█", int(bytes*barWidth/most))
		fmt.Fprintf(w, "%8d requests %6.1f MB %s\n", (i+1)*m.Requests/len(m.Bytes), float64(bytes)/1e6, bar)
	}
	verdict := "levels off"
	if !m.levelsOff() {
		verdict = "GROWS"
	}
	fmt.Fprintf(w, "the last third is %+.1f %% of the middle third, at most %+.0f %%: %s\n", 100*m.Growth, 100*maxGrowth, verdict)
}
