package simulate

import (
	"fmt"
)

// Table returns the rollouts that a method is held to: healthy ones, worse ones,
// and healthy ones in trouble.
func Table() []Scenario {
	const usual = 0.001
	return []Scenario{
		{Name: "healthy", Rate: 1_000, Errors: usual},
		{Name: "healthy-1", Rate: 10_000, Errors: 0.01},
		{Name: "healthy-2", Rate: 100_000, Errors: 0.02},
		{Name: "errors+1", Rate: 100, Errors: usual, Worse: 0.01},
		{Name: "errors+1", Rate: 10_000, Errors: usual, Worse: 0.01},
		{Name: "errors+2", Rate: 1_000, Errors: usual, Worse: 0.02},
		{Name: "errors+5", Rate: 100, Errors: usual, Worse: 0.05},
		{Name: "errors+20", Rate: 10, Errors: usual, Worse: 0.20},
		{Name: "latency×1.1", Rate: 10_000, Errors: usual, Slower: 1.1},
		{Name: "latency×1.5", Rate: 1_000, Errors: usual, Slower: 1.5},
		{Name: "latency×2", Rate: 1_000, Errors: usual, Slower: 2},
		{Name: "incident", Rate: 10_000, Errors: usual, Incident: &Incident{From: 7, To: 17, Worse: 0.10, Slower: 2}},
		{Name: "cold-start", Rate: 10_000, Errors: usual, ColdStart: 0.30},
	}
}

// Matrix returns worse canaries: each kind of regression at each baseline and at
// each amount of traffic.
func Matrix() []Scenario {
	var list []Scenario
	for _, baseline := range []float64{0.1, 0.5, 1, 2} {
		for _, rate := range Rates {
			for _, points := range []float64{1, 2, 5, 20} {
				list = append(list, Scenario{Name: fmt.Sprintf("errors-%g+%g", baseline, points), Rate: rate, Errors: baseline / 100, Worse: points / 100})
			}
			for _, slower := range []float64{1.1, 1.2, 1.5, 2} {
				list = append(list, Scenario{Name: fmt.Sprintf("latency-%g×%g", baseline, slower), Rate: rate, Errors: baseline / 100, Slower: slower})
			}
		}
	}
	return list
}

// Rates are the requests a minute that Matrix goes through.
var Rates = []float64{10, 100, 1_000, 10_000, 100_000}
