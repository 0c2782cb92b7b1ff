package upstream

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	"unicode/utf8"
)

// tokenAt spreads the tokens evenly over the run, or over what of it is left behind the first one: the last one comes
// with its end.
func (p *prediction) tokenAt(i, of int) time.Time {
	if p.firstToken > 0 {
		return p.begins.Add(p.firstToken + (p.run-p.firstToken)*time.Duration(i)/time.Duration(max(1, of-1)))
	}
	return p.begins.Add(p.run * time.Duration(i+1) / time.Duration(of))
}

// emitted counts the tokens out by now.
func (p *prediction) emitted(now time.Time) int {
	ends, _, _ := p.end()
	if now.After(ends) {
		now = ends
	}
	n := 0
	for n < len(p.tokens) && !p.tokenAt(n, len(p.tokens)).After(now) {
		n++
	}
	return n
}

// outputAt is the output property: null until there is something.
func (p *prediction) outputAt(now time.Time) json.RawMessage {
	null := json.RawMessage("null")
	if p.training != nil {
		return null // it has its own
	}
	if p.version.Streams {
		n := p.emitted(now)
		if n == 0 {
			return null
		}
		return encode(p.tokens[:n])
	}
	if p.statusAt(now) != statusSucceeded {
		return null
	}
	return encode(strings.Join(p.tokens, ""))
}

// outputTimes are when there is more output before the end, as planned.
func (p *prediction) outputTimes() []time.Time {
	if !p.version.Streams {
		return nil
	}
	times := make([]time.Time, len(p.tokens))
	for i := range times {
		times[i] = p.tokenAt(i, len(times))
	}
	return times
}

// logTimes are when a line is logged, as planned.
func (p *prediction) logTimes() []time.Time {
	return []time.Time{p.begins, p.begins.Add(p.run / 2), p.begins.Add(p.run)}
}

// logsAt is the logs property.
func (p *prediction) logsAt(now time.Time) string {
	ends, outcome, _ := p.end()
	if now.After(ends) {
		now = ends
	}
	seed := fnv.New32a()
	seed.Write([]byte(p.id))
	lines := []string{fmt.Sprintf("Using seed: %d\n", seed.Sum32()), "Step 1 of 2\n", "Step 2 of 2\n"}
	if outcome == statusFailed {
		lines[2] = "Traceback (most recent call last):\nRuntimeError: " + failureText + "\n"
	}
	text := ""
	for i, at := range p.logTimes() {
		if !at.After(now) {
			text += lines[i]
		}
	}
	return text
}

func encode(value any) json.RawMessage {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // what is encoded here always can be
	}
	return b
}

const maxEcho = 1000

// outputTokens names the version and repeats the prompt, so that a test sees who answered whom.
func outputTokens(v *version, input json.RawMessage, size int) []string {
	var known struct{ Prompt, Text any }
	// Input was parsed as an object before; a prompt of another type is not repeated.
	_ = json.Unmarshal(input, &known)
	prompt, ok := known.Prompt.(string)
	if !ok {
		prompt, _ = known.Text.(string)
	}
	if len(prompt) > maxEcho {
		prompt = prompt[:maxEcho]
		for !utf8.ValidString(prompt) {
			prompt = prompt[:len(prompt)-1]
		}
	}
	tokens := []string{v.Model + ":" + v.ID + ":"}
	length := len(tokens[0])
	for _, word := range strings.Fields(prompt) {
		tokens = append(tokens, " "+word)
		length += 1 + len(word)
	}
	if length < size {
		tokens = append(tokens, strings.Repeat(".", size-length))
	}
	if v.MediaType != "" {
		file := []byte(strings.Join(tokens, ""))
		return []string{"data:" + v.MediaType + ";base64," + base64.StdEncoding.EncodeToString(file)}
	}
	return tokens
}
