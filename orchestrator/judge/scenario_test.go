package judge

import (
	"bufio"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge/histogram"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// base is the first step of a rollout that began at noon, judged by the defaults.
func base() Input {
	return Input{Now: noon.Add(time.Hour), Lag: time.Minute, Settings: Default(),
		Step: Step{BasisPoints: 500, Next: 2000, Began: noon, Since: noon, Bake: 15 * time.Minute, Deadline: noon.Add(time.Hour)}}
}

// minute is the number of an interval of a minute after noon.
func minute(n int) int64 { return indexFrom(noon, time.Minute) + int64(n) }

// flow is the traffic of an arm in a minute, without chance: counts are expected
// values and may be fractions.
type flow struct {
	requests, errors, clientErrors, median float64
	spread                                 float64 // of the times' logarithm
	timing                                 Timing
	weight                                 float64 // of a row
	skipped                                float64
}

func (f flow) counts() Counts {
	c := Counts{Rows: f.requests / f.weight, Weight: f.requests, WeightSquared: f.requests * f.weight,
		Errors: f.requests * f.errors, ClientErrors: f.requests * f.clientErrors, Skipped: f.skipped}
	good := c.Weight - c.Errors - c.ClientErrors
	if good <= 0 {
		return c
	}
	h := histogram.Histogram{Counts: make([]float64, histogram.Buckets)}
	below := 0.0
	for bucket := range h.Counts {
		upTo := 0.5 * math.Erfc(-math.Log(histogram.Edge(bucket+1)/f.median)/f.spread/math.Sqrt2)
		h.Counts[bucket], below = good*(upTo-below), upTo
	}
	c.Times[f.timing] = h
	return c
}

// scenario is one case of a file of them.
type scenario struct {
	intent    string
	in        Input
	stretches []stretch
	through   int
	decision  Decision
	at        string // of the decision, after noon
	contains  []string
	missing   [2]int64
}

// stretch is traffic from one minute to another, both included.
type stretch struct {
	from, to int
	flows    [arms]flow
}

func (s *scenario) judge() (Verdict, Memory) {
	in := s.in
	in.Through = minute(s.through)
	in.Now = noon.Add(time.Duration(s.through+2) * time.Minute)
	for _, part := range s.stretches {
		for i := part.from; i <= part.to; i++ {
			in.Intervals = append(in.Intervals, Interval{Index: minute(i), Canary: part.flows[canary].counts(), Stable: part.flows[stable].counts()})
		}
	}
	slices.SortFunc(in.Intervals, func(a, b Interval) int { return int(a.Index - b.Index) })
	return Judge(in)
}

func TestScenarios(t *testing.T) {
	for _, file := range []struct {
		name   string
		method Method
	}{{"testdata/evidence.txt", Evidence}, {"testdata/thresholds.txt", Thresholds}} {
		cases := readScenarios(t, file.name)
		require.Greater(t, len(cases), 5)
		for _, s := range cases {
			s.in.Settings.Method = file.method
			t.Run(s.intent, func(t *testing.T) {
				v, m := s.judge()
				require.Equal(t, s.decision, v.Decision, v.Reason)
				if s.at != "" {
					require.Equal(t, s.at, FormatDuration(v.At.Sub(noon)), v.Reason)
				}
				for _, text := range s.contains {
					require.Contains(t, v.Reason, text)
				}
				if s.missing[1] > 0 {
					require.NotNil(t, v.Missing)
					require.GreaterOrEqual(t, v.Missing.CanaryRequests, s.missing[0])
					require.LessOrEqual(t, v.Missing.CanaryRequests, s.missing[1])
				}
				requireRecomputed(t, v)
				require.NotEmpty(t, m.Encode())
			})
		}
	}
}

func readScenarios(t *testing.T, name string) []*scenario {
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	var cases []*scenario
	var s *scenario
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "":
			s = nil
		case strings.HasPrefix(line, "#"):
		case s == nil:
			s = &scenario{intent: line, in: base()}
			cases = append(cases, s)
		default:
			s.read(t, line)
		}
	}
	return cases
}

func (s *scenario) read(t *testing.T, line string) {
	words := strings.Fields(line)
	rest := strings.TrimSpace(strings.TrimPrefix(line, words[0]))
	switch words[0] {
	case "step":
		s.readStep(t, words[1:])
	case "minutes":
		part := stretch{from: int(number(t, words[1])), to: int(number(t, words[3]))}
		for i, name := range [arms]string{"canary", "stable"} {
			part.flows[i] = flow{median: 1, spread: 0.8, weight: 1}
			if at := slices.Index(words, name); at >= 0 {
				end := len(words)
				if i == canary && slices.Contains(words, "stable") {
					end = slices.Index(words, "stable")
				}
				part.flows[i].read(t, words[at+1:end])
			}
		}
		s.stretches = append(s.stretches, part)
	case "through":
		s.through = int(number(t, words[1]))
	case "limit":
		s.readLimit(t, words[1:])
	case "problem":
		s.in.Problem = rest
	case "=>":
		s.decision = Decision(words[1])
		if len(words) > 3 {
			s.at = words[3]
		}
	case "contains":
		s.contains = append(s.contains, rest)
	case "missing":
		s.missing = [2]int64{int64(number(t, words[1])), int64(number(t, words[3]))}
	default:
		t.Fatalf("unknown line %q", line)
	}
}

func (s *scenario) readStep(t *testing.T, words []string) {
	s.in.Step.BasisPoints = int(number(t, words[0]) * 100)
	s.in.Step.Next = s.in.Step.BasisPoints * 4
	for i := 1; i+1 < len(words); i += 2 {
		switch value := words[i+1]; words[i] {
		case "next":
			s.in.Step.Next = int(number(t, value) * 100)
		case "since":
			s.in.Step.Since = noon.Add(duration(t, value))
		case "deadline":
			s.in.Step.Deadline = noon.Add(duration(t, value))
		default:
			t.Fatalf("unknown word %q", words[i])
		}
	}
}

// readLimit reads such as: latency_p95 floor 1000 ceiling 3000 observe.
func (s *scenario) readLimit(t *testing.T, words []string) {
	metric := Metric(words[0])
	bounds, known := s.in.Settings.Limits[metric]
	require.True(t, known, metric)
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "observe":
			bounds.Observe = true
			continue
		case "floor":
			bounds.Floor = number(t, words[i+1])
		case "ceiling":
			bounds.Ceiling = number(t, words[i+1])
		default:
			t.Fatalf("unknown word %q", words[i])
		}
		i++
	}
	s.in.Settings.Limits[metric] = bounds
}

// read reads such as: 50 errors 0.1 clients 0 median 800 weight 10.
func (f *flow) read(t *testing.T, words []string) {
	f.requests = number(t, words[0])
	for i := 1; i+1 < len(words); i += 2 {
		switch x := number(t, words[i+1]); words[i] {
		case "errors":
			f.errors = x / 100
		case "clients":
			f.clientErrors = x / 100
		case "median":
			f.median = x
		case "total":
			f.median, f.timing = x, Total
		case "first_token":
			f.median, f.timing = x, FirstToken
		case "spread":
			f.spread = x
		case "weight":
			f.weight = x
		case "skipped":
			f.skipped = x
		default:
			t.Fatalf("unknown word %q", words[i])
		}
	}
}

func number(t *testing.T, text string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, ","), 64)
	require.NoError(t, err)
	return n
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}
