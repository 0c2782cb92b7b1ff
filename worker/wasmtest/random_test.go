package wasmtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/worker/reactor"
)

// world makes up requests and documents that often touch each other.
type world struct{ *rand.Rand }

func (w world) pick(values ...string) string { return values[w.IntN(len(values))] }

// mix joins up to n random pieces.
func (w world) mix(n int, pieces ...string) string {
	var s strings.Builder
	for range w.IntN(n + 1) {
		s.WriteString(pieces[w.IntN(len(pieces))])
	}
	return s.String()
}

// bytes are any at all.
func (w world) bytes(n int) string {
	b := make([]byte, w.IntN(n))
	for i := range b {
		b[i] = byte(w.Uint32())
	}
	return string(b)
}

func (w world) versionID() string {
	return strings.Repeat(w.pick("0123456789abcdef", "fedcba9876543210"), 4)
}

func (w world) name() string {
	return w.pick("acme", "a", "flux-1.1_pro", "é", "..", "", "v1", strings.Repeat("n", 100), strings.Repeat("n", 101))
}

func (w world) service() string {
	return w.pick("", "", "", "model:", "deployment:", "http:", "other:") + w.pick("acme/flux", "qwen", w.name()+"/"+w.name(), w.name(), w.bytes(8))
}

func (w world) head() string {
	path := w.pick(
		"/v1/predictions", "/v1/models/acme/flux/predictions", "/v1/deployments/acme/flux/predictions", "/qwen/v1/chat", "/v1/predictions/abc",
		"/v1/models/"+w.name()+"/"+w.name()+"/predictions", "/"+w.name()+"/"+w.name(), "/"+w.mix(8, "/", "v1", "models", "predictions", "a", "@canary", "_perch", "variant", "%2F", "at", "webhook"),
		"/v1/"+w.pick("predictions", "trainings", "models", "files", "models/a/b/versions")+w.pick("", "/", "/abc", "/abc%7Ep1.k", "/abc/cancel"),
		"/_perch/"+w.pick("at/", "webhook/")+w.pick("p1.k", "p1%2e", "", "a/b"), "/_perch/"+w.pick("feedback", "feedback/", "variant", "health"),
	)
	path = w.pick("", "", "", "/@canary", "/@stable", "/@other") + path
	service := ""
	if w.IntN(3) == 0 {
		service = w.service()
	}
	return strings.Join([]string{w.pick("POST", "POST", "GET", "OPTIONS", "QUERY", "HEAD"), path, service, w.pick("", "", "", "1")}, "\n")
}

func (w world) version() string {
	return w.pick(w.versionID(), "acme/flux:"+w.versionID(), "acme/flux", w.name()+"/"+w.name(), "hidden", "", w.bytes(70))
}

func (w world) target() string {
	return "{" + w.pick("", "", `"timeout_ms":100,`) + w.pick("", "", `"headers":{"x-a":"secret:A","x-b":"b"},`) + w.pick(
		`"version":"acme/flux:`+w.versionID()+`"`, `"version":"`+w.versionID()+`"`, `"deployment":"acme/next"`, `"model":"acme/flux"`,
		`"url":"https://m.example/base","credentials":true`, `"url":"http://127.0.0.1:8080"`,
	) + "}"
}

func (w world) fallback() string {
	return w.pick(`{}`, `{"on":[]}`, `{"on":["failed","5xx"],"resend_creates":true}`, `{"breaker_failures":1,"breaker_retry_ms":1}`,
		`{"breaker_failures":2}`, `{"breaker_failures":0}`, `{"on":["429"]}`)
}

func (w world) access() string {
	return w.pick(`{}`, `{"rate_limit":"L"}`, `{"token":"secret:T","keys":[{"name":"a","sha256":"`+w.versionID()+`"}]}`,
		`{"jwt":{"algorithms":["RS256","ES256"],"jwks":"https://i.example/k","issuer":"é"}}`, `{"jwt":{"algorithms":["HS256"],"key":"secret:K"}}`)
}

// document is a valid one, but for one in eight, which lost or changed a piece.
// rules is how many it has.
func (w world) document() (text string, rules int) {
	var s strings.Builder
	fmt.Fprintf(&s, `{"schema":1, "service":"%s","rollout":"%s","generation":%d,"mode":"canary","percentage":%s,"salt":"%s","unknown":[{"a":null}],`,
		w.pick("acme/flux", "deployment:acme/flux"), w.pick("r1", "r2"), w.IntN(1000), w.pick("0", "0.01", "5", "12.5", "50", "99.99", "100"),
		w.pick("s", `\u0000\"é`, "2026-11-20-a"))
	fmt.Fprintf(&s, `"targets":{"stable":%s,"canary":%s,"person":%s}`, w.target(), w.target(), w.target())
	s.WriteString(w.pick("", "", `,"outcomes":"webhook"`) + w.pick("", `,"fallback":`+w.fallback()) + w.pick("", "", `,"access":`+w.access()))
	rules = w.IntN(4)
	for i := range rules {
		s.WriteString([]string{`,"rules":[`, `,`, `,`}[i])
		fmt.Fprintf(&s, `{"header":"x-%d","equals":"%s","use":"%s"}`, i, w.pick("", "1", "2", "é"), w.pick("stable", "canary", "person"))
	}
	if rules > 0 {
		s.WriteString("]")
	}
	s.WriteString(w.pick("", `,"user":{"from":"token"}`, `,"user":{"from":"address","cookie":"who"}`, `,"user":{"header":"x-me"}`))
	s.WriteString(w.pick("", `,"overrides":true`) + w.pick("", `,"unattended_after_ms":1795190400000`, `,"unattended_after_ms":3`) + "}")
	text = s.String()
	if w.IntN(8) == 0 {
		at := w.IntN(len(text))
		text = text[:at] + w.pick("", "x", "\"", "\xff", "250", "{", "\\") + text[min(len(text), at+w.IntN(3)):]
	}
	return text, rules
}

func (w world) question(rules int) string {
	fields := []string{
		w.pick("", "", "canary", "stable", "person", "other"), w.pick("", "", "", "sub-"+strconv.Itoa(w.IntN(1e6))), w.pick("", "203.0.113.9", "Bearer r8_"+strconv.Itoa(w.IntN(1e6))), strconv.FormatUint(w.Uint64(), 16),
		w.mix(4, "perch-user=a; ", "perch-variant=canary; ", "who=b;", "x=y=z; ", ";;", "perch-user", "é"), w.version(), w.pick("", "user-"+strconv.Itoa(w.IntN(1e6)), "Zoë 😀", w.bytes(300)),
	}
	for range rules {
		fields = append(fields, w.pick("", "1", "2", "é", "3"))
	}
	return strings.Join(fields[:len(fields)-w.IntN(2)], "\n")
}

// now lies on either side of the switches, and of 32 bits.
func (w world) now() int64 {
	return []int64{0, 2, 3, 4294967295, 4294967296, 1795190399999, 1795190400000, 1795190400001}[w.IntN(8)]
}

func (w world) body() []byte {
	var s strings.Builder
	s.WriteString(w.pick("{", "{", "{", " {\n", "["))
	for i := range w.IntN(5) {
		if i > 0 {
			s.WriteString(w.pick(",", ",", ",", " , ", ""))
		}
		fmt.Fprintf(&s, "%s:%s", w.pick(`"version"`, `"input"`, `"webhook"`, `"webhook_events_filter"`, `"\u0076ersion" `, `"versions"`, `""`, `"é\ud83d\ude00"`),
			w.pick(`"acme/flux"`, `"\u0061\/b\n"`, `{"version":"x","l":[1,-2.5e3]}`, `[[],{}]`, `null`, `1`, `tru`, `"`+strings.Repeat("v", 600)+`"`, `"\ud83d"`))
	}
	s.WriteString(w.pick("}", "}", "}", "} \n", "", "}}"))
	return []byte(s.String())
}

// answer is a prediction, or a list of some, or something else.
func (w world) answer() []byte {
	value := func() string {
		return w.pick(`"abc"`, `"https:\/\/r\u002f"`, `"2023-09-08T16:19:34.765994Z"`, `"succeeded"`, `null`, `1.25`, `-3e2`, `[{"id":"x"}]`, `"\xff"`, `tru`, `{"get":"x","id":1}`)
	}
	object := func(names ...string) string {
		var members []string
		for range w.IntN(6) {
			members = append(members, `"`+w.pick(names...)+`":`+value())
		}
		return "{" + strings.Join(members, w.pick(",", " , ")) + "}"
	}
	prediction := object("id", "status", "version", "output", "error", "webhook", "created_at", "i\\u0064", "input")
	inner := `,"urls":` + object("get", "cancel", "stream", "web") + `,"metrics":` + object("predict_time", "total_time") + "}"
	prediction = w.pick(prediction, strings.TrimSuffix(prediction, "}")+`,"x":1`+inner)
	return []byte(w.pick(prediction, `{"next":`+value()+`,"results":[`+prediction+`,`+prediction+`],"previous":`+value()+"}", prediction+"}"))
}

// chunks cuts a body at random; empty chunks are among them.
func (w world) chunks(body []byte) [][]byte {
	var chunks [][]byte
	for most := 1 + w.IntN(400); len(body) > 0; {
		n := min(w.IntN(most+1), len(body))
		chunks = append(chunks, body[:n])
		body = body[n:]
	}
	return chunks
}

// request is one request, all its calls; the documents before it stay loaded.
func (p *pair) request(w world, held *[]uint32) {
	p.text("resolve", w.head())
	if w.IntN(4) == 0 {
		p.text("resolve_service", w.service())
	}
	p.text("resolve_version", w.version())
	text, rules := w.document()
	if handle := p.load(text, w.pick("", "", "r1", "r2")); handle != 0 {
		p.decide(handle, w.question(rules), w.now(), w.Uint32N(3)|w.Uint32N(4)/3*reactor.Preview)
		version := w.version()
		p.ask("use", []byte(version), handle, w.Uint32N(3), uint32(len(version)), w.Uint32N(3))
		p.ask("rescue", nil, handle, w.Uint32N(3), w.Uint32N(10), w.Uint32N(600), w.Uint32N(8))
		p.ask("report", nil, handle, w.Uint32N(3), w.Uint32N(3)/2, 0, w.Uint32N(100))
		*held = append(*held, handle)
	}
	if len(*held) > 20 {
		i := w.IntN(len(*held))
		p.ask("release", nil, (*held)[i])
		*held = append((*held)[:i], (*held)[i+1:]...)
	}
	p.ask("classify", nil, w.Uint32N(700), w.Uint32N(10))
	p.text(w.pick("access", "headers"), w.pick(w.access(), `{"a":"b","c":"secret:D"}`, text))
	body := w.body()
	p.find(body, w.chunks(body))
	p.edit(body, w.pick("", "acme/flux", "\"\n\xff"), edits[w.IntN(len(edits))], w.chunks(body))
	if w.IntN(4) == 0 {
		answer := w.answer()
		p.answer(answer, 1+w.Uint32N(3), w.chunks(answer))
	}
}

// TestRandom: module and native core agree on 100,000 random requests.
func TestRandom(t *testing.T) {
	const requests, shards = 100_000, 2
	h := newHost(t)
	t.Run("seeds", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				p := newPair(t, h)
				w := world{rand.New(rand.NewPCG(shard, 13))}
				var held []uint32
				for range requests / shards {
					p.request(w, &held)
				}
				t.Logf("%d calls compared, %d KiB of memory", p.calls, p.wasm.memoryBytes()>>10)
				require.Greater(t, p.calls, 10*requests/shards)
			})
		}
	})
}
