package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	rollouts "perch/orchestrator/rollout"
	"perch/test/upstream"
)

// judged is one file of testdata/judge: what a canary is like, and what comes of
// its rollout. Lines that begin with the name of a mode are of that mode alone.
//
//	traffic calls           of a plain model server; or predictions, which are polled; or waits, predictions whose
//	                        creates wait for them; or streams, of predictions; or none
//	rate 60                 calls a second
//	steps [30, 100]         of the policy
//	policy deadline: 24s    a line of the policy, beside or in place of the common ones
//	canary error_rate=0.05  how the canary differs from stable
//	incident error_rate=0.1 what befalls both arms once the canary is judged,
//	frozen 6                until so many verdicts were frozen
//	outage kv               what is away for a while once the canary is judged: kv, or
//	                        analytics [until dropped], until the edge no longer serves a canary that nobody judges
//	ends rolled_back        the phases that the rollout may end in, or be in at the end of the test
//	names errors            the metrics for which it may be rolled back; at least one is named
//	says stable itself has  part of what a verdict says on the way
//	failed 60               how many calls of the canary may fail for their users
type judged struct {
	name, intent string
	traffic      string
	rate         float64
	policy       []string
	canary       string
	incident     string
	frozen       int
	outage       string
	ends         []rollouts.Phase
	names        []judge.Metric
	says         string
	failed       int
}

// judgeNames are must-hold scenarios; each has a file.
var judgeNames = []string{
	"errors", "latency", "client_errors", "predictions", "waits", "first_token", "incident", "no_traffic", "dead_analytics", "dead_kv", "healthy",
}

// readJudged reads all scenarios as they are in a mode.
func readJudged(t *testing.T, mode string) []judged {
	t.Helper()
	files, err := filepath.Glob("testdata/judge/*.txt")
	require.NoError(t, err)
	var found []judged
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		s := judged{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
		names[s.name] = true
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			comment, isComment := strings.CutPrefix(line, "# ")
			if i == 0 {
				require.True(t, isComment, "%s begins with a line of intent, not with %q", file, line)
				s.intent = comment
			}
			if !isComment {
				s.read(t, mode, line)
			}
		}
		require.NotEmpty(t, s.ends, "%s says of no end", file)
		found = append(found, s)
	}
	for _, name := range judgeNames {
		require.True(t, names[name], "no scenario file for %s", name)
	}
	return found
}

func (s *judged) read(t *testing.T, mode, line string) {
	t.Helper()
	for _, m := range judgeModes {
		if own, isOwn := strings.CutPrefix(line, m.name+": "); isOwn {
			if m.name != mode {
				return
			}
			line = own
		}
	}
	word, rest := fields(line)
	number := func() float64 {
		n, err := strconv.ParseFloat(rest, 64)
		require.NoError(t, err, line)
		return n
	}
	switch word {
	case "traffic":
		s.traffic = rest
	case "rate":
		s.rate = number()
	case "steps":
		s.policy = append(s.policy, "steps: "+rest)
	case "policy":
		s.policy = append(s.policy, rest)
	case "canary":
		s.canary = rest
	case "incident":
		s.incident = rest
	case "frozen":
		s.frozen = int(number())
	case "outage":
		s.outage = rest
	case "says":
		s.says = rest
	case "failed":
		s.failed = int(number())
	case "ends":
		for _, phase := range strings.Fields(rest) {
			s.ends = append(s.ends, rollouts.Phase(phase))
		}
	case "names":
		for _, metric := range strings.Fields(rest) {
			s.names = append(s.names, judge.Metric(metric))
		}
	default:
		require.Fail(t, "no such line", line)
	}
}

// policyText is the common policy with the scenario's own lines in their place.
func (s *judged) policyText(common string) string {
	lines := strings.Split(strings.TrimSpace(common), "\n")
	for _, own := range s.policy {
		name, _, _ := strings.Cut(own, ":")
		at := len(lines)
		for i, line := range lines {
			if strings.HasPrefix(line, name+":") {
				at = i
			}
		}
		lines = append(append(append([]string{}, lines[:at]...), own), lines[min(at+1, len(lines)):]...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// behaviors are how arms answer where nothing is wrong, by traffic: so slowly that
// what a busy machine adds does not hide how they differ.
var behaviors = map[string]upstream.Behavior{
	"calls":       {Latency: upstream.Lognormal(200*time.Millisecond, 0.4)},
	"predictions": {Latency: upstream.Lognormal(200*time.Millisecond, 0.3)},
	"waits":       {Latency: upstream.Lognormal(200*time.Millisecond, 0.3)},
	"streams":     {Latency: upstream.Fixed(time.Second), FirstToken: upstream.Lognormal(200*time.Millisecond, 0.3)},
}

// behavior is that of the scenario's traffic with some words' changes.
func (s *judged) behavior(t *testing.T, words string) upstream.Behavior {
	t.Helper()
	b, known := behaviors[s.traffic]
	require.True(t, known, "no such traffic: %q", s.traffic)
	for _, word := range strings.Fields(words) {
		name, value, _ := strings.Cut(word, "=")
		rate, isRate := map[string]*float64{"error_rate": &b.ErrorRate, "reject_rate": &b.RejectRate, "failed_rate": &b.FailedRate}[name]
		median, isTime := map[string]*float64{"latency": &b.Latency.MedianMS, "first_token": &b.FirstToken.MedianMS}[name]
		var err error
		var d time.Duration
		switch {
		case isRate:
			*rate, err = strconv.ParseFloat(value, 64)
		case isTime:
			d, err = time.ParseDuration(value)
			*median = float64(d) / float64(time.Millisecond)
		default:
			require.Fail(t, "no such behavior", word)
		}
		require.NoError(t, err, word)
	}
	return b
}
