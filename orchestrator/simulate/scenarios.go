package simulate

import (
	"fmt"
	"strings"
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

// Around returns a healthy canary on the described traffic, and worse ones.
func Around(base Scenario) []Scenario {
	base.Worse, base.Slower = 0, 0
	base.Name = "healthy"
	list := []Scenario{base}
	for _, points := range []float64{1, 5, 20} {
		worse := base
		worse.Name, worse.Worse = fmt.Sprintf("errors+%g", points), points/100
		list = append(list, worse)
	}
	for _, slower := range []float64{1.5, 2} {
		worse := base
		worse.Name, worse.Slower = fmt.Sprintf("latency×%g", slower), slower
		list = append(list, worse)
	}
	return list
}

// Beside returns a healthy canary on the traffic of a worse one, and that one.
func Beside(worse Scenario) []Scenario {
	healthy := worse
	healthy.Name, healthy.Worse, healthy.Slower = "healthy", 0, 0
	worse.Name = "worse"
	return []Scenario{healthy, worse}
}

// Named returns the scenarios of a name: table, matrix, all, a scenario's own
// name, or that with its traffic, such as errors+1@100. The × may be written x.
// None: the name is unknown.
func Named(name string) []Scenario {
	switch name {
	case "table":
		return Table()
	case "matrix":
		return Matrix()
	}
	var list []Scenario
	for _, s := range append(Table(), Matrix()...) {
		if name == "all" || plain(name) == plain(s.Name) || plain(name) == plain(s.Key()) {
			list = append(list, s)
		}
	}
	return list
}

func plain(name string) string { return strings.ReplaceAll(name, "×", "x") }

// Key is the scenario's name with its traffic.
func (s Scenario) Key() string { return fmt.Sprintf("%s@%d", s.Name, int64(s.Rate)) }

// Healthy returns canaries that are not worse: at each baseline and each amount of
// traffic, and in trouble that is not theirs.
func Healthy() []Scenario {
	var list []Scenario
	for _, baseline := range []float64{0.1, 0.5, 1, 2} {
		for _, rate := range Rates {
			list = append(list, Scenario{Name: fmt.Sprintf("healthy-%g", baseline), Rate: rate, Errors: baseline / 100})
		}
	}
	for _, s := range Table() {
		if s.Incident != nil || s.ColdStart > 0 {
			list = append(list, s)
		}
	}
	return list
}

// Awkward returns healthy canaries on traffic that breaks naive counts: users who
// stick to their side, some of whom fail whatever they do, and sampling.
func Awkward() []Scenario {
	all, half := []Sampling{{Share: 1, Weight: 10}}, []Sampling{{Share: 0.5, Weight: 1}, {Share: 0.5, Weight: 10}}
	var list []Scenario
	for _, rate := range []float64{1_000, 10_000} {
		users := func(failing float64) *Users { return &Users{Calls: 20, Stay: 10, Failing: failing, Share: 1} }
		list = append(list,
			Scenario{Name: "sticky", Rate: rate, Errors: 0.001, Users: users(0)},
			Scenario{Name: "sticky-failing", Rate: rate, Errors: 0.001, Users: users(0.005)},
			Scenario{Name: "sampled", Rate: rate, Errors: 0.001, Sampling: all},
			Scenario{Name: "sampled-mixed", Rate: rate, Errors: 0.001, Sampling: half},
			Scenario{Name: "sampled-2", Rate: rate, Errors: 0.02, Sampling: half},
			Scenario{Name: "sticky-sampled", Rate: rate, Errors: 0.001, Users: users(0.005), Sampling: half})
	}
	return list
}
