package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/judge"
	"perch/orchestrator/report"
	rollouts "perch/orchestrator/rollout"
	"perch/shared/document"
	"perch/test/load"
)

// users of each service are sticky; each is one of so many.
const judgeUsers = 2_000

// rolled is a scenario at work: a service with a rollout.
type rolled struct {
	judged
	service document.Service
	policy  string
	targets map[string]string   // by arm, as the orchestrator has them
	arms    map[string]string   // their names at the upstream
	traffic *load.Generator     // nil: none
	looks   []report.Status     // as the run told them, up to the decision
	ended   rollouts.Phase      // that it was decided in, or ""
	took    time.Duration       // from the start to the decision
	began   time.Time           // when start returned
	calls   map[string]load.Arm // by variant, at the decision
	stage   int                 // of the incident: none, on, over
}

// pass is some services whose rollouts are judged by one run.
type pass struct {
	*world
	common string // policy
	rolled []*rolled

	mu     sync.Mutex
	notes  []string // of the run: looks that failed
	stderr bytes.Buffer
	ended  chan int // the run's exit status
}

// newPass makes a service of each scenario; mode keeps their names apart.
func (w *world) newPass(mode judgeMode, scenarios []judged) *pass {
	w.Helper()
	p := &pass{world: w, common: mode.policy(), ended: make(chan int, 1)}
	for _, s := range scenarios {
		name := judgeService(s.name, mode.name)
		r := &rolled{judged: s, policy: s.policyText(p.common), targets: map[string]string{}, arms: map[string]string{}, calls: map[string]load.Arm{}}
		r.service = document.Service{Kind: document.KindHTTP, Name: name}
		if s.traffic == "none" {
			r.judged.traffic = "calls"
		}
		isModel := slices.Contains([]string{"predictions", "waits", "streams"}, s.traffic)
		if isModel {
			r.service = document.Service{Kind: document.KindModel, Name: judgeModel(s.name, mode.name)}
		}
		for _, arm := range []string{document.Stable, document.Canary} {
			r.arms[arm] = name + "-" + arm
			r.targets[arm] = "url=" + w.upstream.URL() + "/http/" + r.arms[arm] + "/"
			if isModel {
				r.arms[arm] = versionID(r.service.Name, arm)
				r.targets[arm] = "version=" + r.service.Name + ":" + r.arms[arm]
			}
			p.behave(r, arm, "")
		}
		p.behave(r, document.Canary, s.canary)
		p.rolled = append(p.rolled, r)
	}
	return p
}

func judgeService(scenario, mode string) string {
	return strings.ReplaceAll(scenario, "_", "-") + "-" + mode
}

func judgeModel(scenario, mode string) string { return "judge/" + judgeService(scenario, mode) }

// behave sets how an arm of a service answers.
func (p *pass) behave(r *rolled, arm, words string) {
	p.Helper()
	set := p.upstream.SetHTTPBehavior
	if r.service.Kind == document.KindModel {
		set = p.upstream.SetBehavior
	}
	require.NoError(p, set(r.arms[arm], r.behavior(p.T, words)))
}

// all runs a command of the orchestrator for each service, some at a time.
func (p *pass) all(args func(*rolled) []string) {
	p.Helper()
	results := make([]result, len(p.rolled))
	slots := make(chan struct{}, 3)
	var running sync.WaitGroup
	for i, r := range p.rolled {
		cmd := p.command(p.stack.API, r.policy, append(args(r), r.service.String())...)
		slots <- struct{}{}
		running.Go(func() {
			results[i] = p.finish(cmd)
			r.began = time.Now()
			<-slots
		})
	}
	running.Wait()
	for i, r := range p.rolled {
		require.Equal(p, exitDone, results[i].exit, "%s: %v\n%s%s", r.name, args(r), results[i].stdout, results[i].stderr)
	}
}

// begin sends traffic to stable, starts every rollout and lets one run judge all.
func (p *pass) begin() {
	p.Helper()
	p.all(func(r *rolled) []string { return []string{"init", "--stable", r.targets[document.Stable]} })
	p.send()
	p.await("stable serves", 30*time.Second, func() bool {
		return !slices.ContainsFunc(p.rolled, func(r *rolled) bool {
			return r.traffic != nil && float64(r.traffic.Snapshot().Arms[document.Stable].OK) < 2*r.rate
		})
	})
	p.all(func(r *rolled) []string { return []string{"start", "--canary", r.targets[document.Canary]} })
	p.run()
}

// send begins the traffic of every service, until the test ends.
func (p *pass) send() {
	p.Helper()
	options := map[string]load.Options{}
	for _, r := range p.rolled {
		if r.rate > 0 {
			options[r.name] = load.Options{Service: p.calls(r), Users: judgeUsers, RatePerSecond: r.rate, MaxInFlight: 100}
		}
	}
	mix, err := load.NewMix(options)
	require.NoError(p, err)
	for _, r := range p.rolled {
		r.traffic = mix[r.name]
	}
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		mix.Run(ctx)
	}()
	p.Cleanup(func() {
		cancel()
		<-done
	})
}

func (p *pass) calls(r *rolled) load.Service {
	place := p.stack.Places[0].URL
	switch r.judged.traffic {
	case "predictions":
		return load.Polled(place, "test-token", r.service.Name, 100*time.Millisecond)
	case "waits":
		return load.Model(place, "test-token", r.service.Name)
	case "streams":
		return load.Streamed(place, "test-token", r.service.Name)
	}
	return load.Plain("POST", place+"/"+r.service.Name+"/x", []byte("{}"))
}

// run begins the run that judges all services, and listens to it.
func (p *pass) run() {
	p.Helper()
	cmd := p.command(p.stack.API, p.common, "run", "--all", "--json")
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	require.NoError(p, err)
	require.NoError(p, cmd.Start())
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		p.listen(out)
		p.ended <- exitOf(cmd)
	}()
	p.Cleanup(func() {
		_ = cmd.Process.Kill() // no harm where it has ended
		<-listened
		if p.Failed() {
			p.report()
		}
	})
}

func exitOf(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// listen reads what the run tells: a status of a service a line, or a note.
func (p *pass) listen(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		var status struct {
			report.Status
			Note string `json:"note"`
		}
		if json.Unmarshal(line, &status) == nil {
			p.mu.Lock()
			for _, r := range p.rolled {
				if r.service.String() == status.Service && r.ended == "" {
					r.looks = append(r.looks, status.Status)
				}
			}
			if status.Note != "" {
				p.notes = append(p.notes, status.Note)
			}
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// noted are the looks that have failed, so far.
func (p *pass) noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.notes)
}

// seen are the looks at a service so far.
func (p *pass) seen(r *rolled) []report.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(r.looks)
}

// last is the newest look at a service, false before the first.
func (p *pass) last(r *rolled) (report.Status, bool) {
	looks := p.seen(r)
	if len(looks) == 0 {
		return report.Status{}, false
	}
	return looks[len(looks)-1], true
}

// await waits for a condition while the run goes on, and does what is due.
func (p *pass) await(what string, within time.Duration, holds func() bool) {
	p.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		for _, r := range p.rolled {
			p.attend(r)
		}
		require.Less(p, time.Now(), deadline, "never: %s", what)
	}
}

// attend moves a scenario on: its incident, and its end, after which it has no
// traffic, so that the others have more room.
func (p *pass) attend(r *rolled) {
	now, looked := p.last(r)
	if !looked || r.ended != "" || now.Verdict == nil {
		return
	}
	phase := rollouts.Phase(now.Phase)
	switch {
	case r.incident != "" && !phase.Ended():
		if !p.incidentOver(r, now) {
			return
		}
	case phase == rollouts.Running || phase == rollouts.Waiting:
		return
	}
	p.mu.Lock()
	r.ended, r.took = phase, time.Since(r.began)
	p.mu.Unlock()
	if r.traffic != nil {
		for variant, arm := range r.traffic.Snapshot().Arms {
			r.calls[variant] = arm
		}
		require.NoError(p, r.traffic.SetRate(0))
	}
}

// incidentOver begins and ends a scenario's incident, and reports that stable has
// recovered from it in the judge's eyes.
func (p *pass) incidentOver(r *rolled, now report.Status) bool {
	both := func(words string) {
		p.behave(r, document.Stable, words)
		p.behave(r, document.Canary, words)
	}
	switch {
	case r.stage == 0 && recentCanary(*now.Verdict) > 0:
		both(r.incident)
		r.stage = 1
	case r.stage == 1 && p.frozen(r) >= r.judged.frozen:
		both("")
		r.stage = 2
	}
	return r.stage == 2 && now.Verdict.Frozen == ""
}

// frozen is in how many intervals verdicts were frozen.
func (p *pass) frozen(r *rolled) int {
	at := map[time.Time]bool{}
	for _, look := range p.seen(r) {
		if look.Verdict != nil && look.Verdict.Frozen != "" {
			at[look.Verdict.At] = true
		}
	}
	return len(at)
}

// recentCanary is how many rows of the canary a verdict has seen lately.
func recentCanary(v judge.Verdict) float64 {
	for _, a := range v.Metrics {
		if a.Metric == judge.Errors {
			return a.Recent.CanaryRows
		}
	}
	return 0
}

// report tells what the run has told, a line for each change of a service.
func (p *pass) report() {
	var b strings.Builder
	for _, r := range p.rolled {
		fmt.Fprintf(&b, "%s (%s)\n", r.service, r.ended)
		before := ""
		for _, look := range p.seen(r) {
			line := look.Phase + " at " + look.Percentage.String() + " %: " + look.Reason + look.Error
			if look.Verdict != nil {
				line += " [" + string(look.Verdict.Decision) + ": " + look.Verdict.Reason + "]"
			}
			if line != before {
				fmt.Fprintf(&b, "  %s %s\n", look.Time.UTC().Format("15:04:05"), line)
			}
			before = line
		}
	}
	p.Logf("%s%s\n%s", b.String(), strings.Join(p.noted(), "\n"), p.stderr.String())
}
