package router

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"

	"perch/shared/document"
)

// split is a document of two models at a percentage, ready for a canary.
func split(t testing.TB, percentage string) State {
	return State{Document: parse(t, `{"schema":1,"service":"acme/flux","rollout":"r1","mode":"canary","percentage":`+percentage+
		`,"salt":"r1","targets":{"stable":{"model":"acme/flux"},"canary":{"model":"acme/flux-next"}}}`)}
}

// TestShare: of 20,000 users the canary gets its share, within four standard
// deviations of the binomial distribution, wherever the users' ids come from.
func TestShare(t *testing.T) {
	const users = 20_000
	random := rand.New(rand.NewPCG(5, 6))
	kinds := map[string]func(i int) string{
		"random": func(int) string { return fmt.Sprintf("%016x", random.Uint64()) },
		"serial": func(i int) string { return fmt.Sprintf("user-%d", i) },
		"emails": func(i int) string { return fmt.Sprintf("someone.%d@mail.example", i*7) },
	}
	for name, id := range kinds {
		for _, percentage := range []string{"0", "0.25", "5", "12.5", "20", "50", "99.9", "100"} {
			t.Run(name+" at "+percentage, func(t *testing.T) {
				state := split(t, percentage)
				canary := 0
				for i := range users {
					canary += Decide(state, &Request{Header: id(i)}, 0).Target
				}
				p := float64(state.BasisPoints) / 10_000
				require.InDelta(t, p*users, canary, 4*math.Sqrt(users*p*(1-p)))
			})
		}
	}
}

// TestRaisingMovesNobodyBack: from one percentage to the next, users only join
// the canary, whichever way they are identified.
func TestRaisingMovesNobodyBack(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	steps := []string{"0", "0.01", "5", "5.5", "20", "33.33", "50", "99.99", "100"}
	for i := range 5_000 {
		id := fmt.Sprintf("%x", random.Uint64())
		q := []Request{{Header: id}, {Cookie: "a=b; perch-user=" + id}, {Random: id}}[i%3]
		was := -1
		for _, percentage := range steps {
			target := Decide(split(t, percentage), &q, int64(i)).Target
			require.GreaterOrEqual(t, target, was, "user %s at %s", id, percentage)
			was = target
		}
		require.Equal(t, 1, was, "user %s at 100", id)
	}
}

// TestStoppedNeverCanary: halted, or past the dead man's switch, nothing that a
// client sends reaches the canary; and nothing else is changed by it.
func TestStoppedNeverCanary(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	rescued := 0
	for range 50_000 {
		c := randomCase(random)
		state := State{Document: parse(t, c.text())}
		free := Decide(state, &c.q, 0)
		state.UnattendedAfterMS = 0
		state.Halted = state.Rollout
		halted := Decide(state, &c.q, c.now)
		require.NotEqual(t, "canary", state.Targets[halted.Target].Name, "%s %+v", c.text(), c.q)
		if c.doc.Unattended == 0 && state.Targets[free.Target].Name != "canary" {
			require.Equal(t, free.Target, halted.Target, "%s %+v", c.text(), c.q)
		} else {
			rescued++
		}
		state.Halted, state.UnattendedAfterMS = "", c.now+1
		require.Equal(t, Decide(State{Document: state.Document}, &c.q, c.now), Decide(state, &c.q, c.now))
		state.UnattendedAfterMS = max(1, c.now)
		late := Decide(state, &c.q, max(1, c.now))
		require.Equal(t, halted.Target, late.Target, "%s %+v", c.text(), c.q)
	}
	require.Greater(t, rescued, 10_000)
}

// plainDoc is a document as encoding/json reads it.
type plainDoc struct {
	Schema     int                       `json:"schema"`
	Service    string                    `json:"service"`
	Rollout    string                    `json:"rollout"`
	Mode       string                    `json:"mode"`
	Percentage json.Number               `json:"percentage"`
	Salt       string                    `json:"salt"`
	Targets    map[string]map[string]any `json:"targets"`
	Rules      []plainRule               `json:"rules,omitempty"`
	User       map[string]string         `json:"user,omitempty"`
	Overrides  bool                      `json:"overrides,omitempty"`
	Unattended int64                     `json:"unattended_after_ms,omitempty"`
}

type plainRule struct {
	Header string `json:"header"`
	Equals string `json:"equals"`
	Use    string `json:"use"`
}

type decideCase struct {
	doc    plainDoc
	halted string
	q      Request
	now    int64
}

func (c decideCase) text() string {
	text, err := json.Marshal(c.doc)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func pick(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }

// randomCase is a document and a request, small enough that they often touch.
func randomCase(random *rand.Rand) decideCase {
	d := plainDoc{
		Schema: 1, Service: "acme/flux", Rollout: pick(random, "r1", "r2"), Mode: "canary",
		Percentage: json.Number(pick(random, "0", "0.01", "5", "12.5", "50", "99.99", "100")),
		Salt:       pick(random, "s", "r1", "another salt"),
		Targets: map[string]map[string]any{
			"stable": {"model": "acme/flux"}, "canary": {"model": "acme/next"}, "person": {"url": "https://p.example"},
		},
		User:      map[string]string{},
		Overrides: random.IntN(2) == 0,
	}
	if d.Percentage == "0" && random.IntN(2) == 0 {
		delete(d.Targets, "canary")
	}
	for range random.IntN(3) {
		use := pick(random, "stable", "person", "canary")
		if d.Targets[use] != nil {
			d.Rules = append(d.Rules, plainRule{Header: pick(random, "x-a", "x-b"), Equals: pick(random, "", "1", "2"), Use: use})
		}
	}
	if random.IntN(2) == 0 {
		d.User["from"] = pick(random, "token", "address")
	}
	if random.IntN(3) == 0 {
		d.User["cookie"] = "who"
	}
	if random.IntN(3) == 0 {
		d.Unattended = 1 + random.Int64N(4)
	}
	c := decideCase{doc: d, halted: pick(random, "", "", "r1", "r2"), now: random.Int64N(6)}
	c.q = Request{
		Random: fmt.Sprintf("%x", random.Uint64()), Override: pick(random, "", "", "stable", "canary", "person", "other"),
		Cookie: randomCookies(random),
	}
	if random.IntN(2) == 0 {
		c.q.Header = fmt.Sprintf("u%d", random.IntN(100_000))
	}
	if random.IntN(4) == 0 {
		c.q.Identity = fmt.Sprintf("i%d", random.IntN(100_000))
	}
	if random.IntN(2) == 0 {
		c.q.Client = fmt.Sprintf("t%d", random.IntN(100_000))
	}
	for range d.Rules {
		c.q.Rules = append(c.q.Rules, pick(random, "", "1", "2", "3"))
	}
	return c
}

func randomCookies(random *rand.Rand) string {
	var pairs []string
	for range random.IntN(5) {
		name := pick(random, "perch-user", "who", "x", "perch-user2", "")
		value := pick(random, "", "canary", "stable", "person", fmt.Sprintf("c%d", random.IntN(100_000)), "a=b")
		pairs = append(pairs, pick(random, "", " ")+name+pick(random, "=", "=", "=", "")+value+pick(random, "", " "))
	}
	return strings.Join(pairs, ";")
}

// plainCookie returns the first cookie of that name.
func plainCookie(header, name string) string {
	for _, pair := range strings.Split(header, ";") {
		parts := strings.SplitN(strings.TrimSpace(pair), "=", 2)
		if len(parts) == 2 && parts[0] == name {
			return parts[1]
		}
	}
	return ""
}

// plainDecide is Decide once more, written down from the design as plainly as
// can be: it returns the target's name, the reason, the bucket, and whether the
// user is new.
func plainDecide(c decideCase) (target, reason string, bucket uint64, isNew bool) {
	d, q := c.doc, c.q
	cookieName := "perch-user"
	if d.User["cookie"] != "" {
		cookieName = d.User["cookie"]
	}
	from := d.User["from"]
	user := q.Random
	isNew = from == ""
	if from != "" && q.Client != "" {
		user = q.Client
	}
	if id := plainCookie(q.Cookie, cookieName); id != "" {
		user, isNew = id, false
	}
	if q.Header != "" {
		user, isNew = q.Header, false
	}
	if q.Identity != "" {
		user, isNew = q.Identity, false
	}
	bucket = xxhash.Sum64String(d.Salt+"\x00"+user) % 10_000

	percentage, err := d.Percentage.Float64()
	if err != nil {
		panic(err)
	}
	target, reason = "stable", "percentage"
	if float64(bucket) < math.Round(percentage*100) {
		target = "canary"
	}
	for i := len(d.Rules) - 1; i >= 0; i-- {
		if d.Rules[i].Equals != "" && d.Rules[i].Equals == q.Rules[i] {
			target, reason = d.Rules[i].Use, "rule"
		}
	}
	asked := q.Override
	if d.Overrides && (asked == "stable" || asked == "canary" && d.Targets["canary"] != nil) {
		target, reason = asked, "override"
	}

	stopped := ""
	if d.Unattended != 0 && c.now >= d.Unattended {
		stopped = "unattended"
	}
	if c.halted == d.Rollout {
		stopped = "halted"
	}
	if stopped != "" && (target == "canary" || reason == "percentage") {
		target, reason = "stable", stopped
	}
	return target, reason, bucket, isNew
}

// TestDecideAgainstPlain compares Decide with its second implementation.
func TestDecideAgainstPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	reasons := map[string]int{}
	for range 50_000 {
		c := randomCase(random)
		text := c.text()
		d, err := document.Parse([]byte(text))
		require.NoError(t, err, text)
		got := Decide(State{Document: d, Halted: c.halted}, &c.q, c.now)
		target, reason, bucket, isNew := plainDecide(c)
		reasons[target+" "+reason]++
		if d.Targets[got.Target].Name != target || got.Reason != reason || uint64(got.Bucket) != bucket || got.New != isNew {
			require.Failf(t, "they differ", "%s halted %q at %d: %+v\nwant %s %s %d %t\ngot  %s %+v",
				text, c.halted, c.now, c.q, target, reason, bucket, isNew, d.Targets[got.Target].Name, got)
		}
	}
	for _, want := range []string{
		"stable percentage", "canary percentage", "stable override", "canary override", "stable rule", "canary rule", "person rule",
		"stable halted", "stable unattended",
	} {
		require.Greater(t, reasons[want], 500, want)
	}
}
