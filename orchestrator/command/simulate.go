package command

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/judge"
	"perch/orchestrator/measure"
	"perch/orchestrator/simulate"
	"perch/orchestrator/simulate/figures"
	"perch/orchestrator/simulate/many"
)

// simulated is the result of simulate, in JSON.
type simulated struct {
	Seed uint64        `json:"seed"`
	Runs int           `json:"runs"`
	Rows []figures.Row `json:"rows"`
}

func (a *app) simulateCommand() *cli.Command {
	return &cli.Command{
		Name: "simulate", Usage: "try the policy on thousands of made-up rollouts", ArgsUsage: "[service]", Category: "see",
		Description: "Says how often the policy in force would roll back, promote, or know nothing: of a healthy canary,\n" +
			"of worse ones, and of the one that --worse and --slower describe, at the traffic that --rate and\n" +
			"--errors describe. --scenario takes named ones instead; --scenario list lists them.\n" +
			"--replay takes the service's recorded traffic instead, and judges its last rollout of that time anew.\n\n" +
			"Examples:\n  orchestrator simulate --rate 300 --errors 0.5\n  orchestrator simulate --rate 300 --worse 2 --method evidence --method fixed\n" +
			"  orchestrator simulate --scenario table --published --chart figures.svg\n" +
			"  orchestrator simulate --replay --from 2026-11-19T08:00:00Z --to 2026-11-19T20:00:00Z acme/flux",
		Flags: []cli.Flag{
			&cli.Float64Flag{Name: "rate", Usage: "`REQUESTS` a minute, of both arms", Value: 1_000},
			&cli.Float64Flag{Name: "errors", Usage: "stable's errors, in `PERCENT`", Value: 0.1},
			&cli.Float64Flag{Name: "worse", Usage: "`POINTS` of errors that the canary has on top"},
			&cli.Float64Flag{Name: "slower", Usage: "`RATIO` of the canary's latency to stable's", DefaultText: "1"},
			&cli.StringSliceFlag{Name: "scenario", Usage: "`NAME` of a scenario, table, matrix, all, or list; may be repeated"},
			&cli.StringSliceFlag{Name: "method", Usage: "`METHOD`: evidence, thresholds or fixed; may be repeated (default: the policy's)"},
			&cli.IntFlag{Name: "runs", Usage: "rollouts of each scenario", Value: 500},
			&cli.Uint64Flag{Name: "seed", Usage: "of the randomness: the same seed gives the same figures", Value: 1},
			&cli.Float64Flag{Name: "users", Usage: "`CALLS` of each user, who stay on their side (default: users unknown)"},
			&cli.Float64Flag{Name: "failing-users", Usage: "users whose every call fails, in `PERCENT`"},
			&cli.StringSliceFlag{Name: "sampling", Usage: "`1:N` or SHARE:1:N: one request in N is recorded, of a percentage of the traffic; may be repeated"},
			&cli.BoolFlag{Name: "published", Usage: "take the plan of docs/figures.md, not the policy", DisableDefaultText: true},
			&cli.BoolFlag{Name: "replay", Usage: "take the service's recorded traffic, and judge its rollout of that time anew", DisableDefaultText: true},
			&cli.StringFlag{Name: "from", Usage: "`TIME` that the recording begins (default: a day before its end)"},
			&cli.StringFlag{Name: "to", Usage: "`TIME` that it ends (default: now)"},
			&cli.StringFlag{Name: "chart", Usage: "write a chart to `FILE.svg`"},
		},
		Action: a.simulate,
	}
}

func (a *app) simulate(c *cli.Context) error {
	if slices.Contains(c.StringSlice("scenario"), "list") {
		a.listScenarios()
		return nil
	}
	if err := checkReplay(c); err != nil {
		return err
	}
	if c.Bool("replay") {
		return a.replay(c)
	}
	s, err := a.settings(c)
	if err != nil {
		return err
	}
	if s.service != "" && c.NArg() > 0 {
		return invalid("traffic is described by --rate, --errors, --users and --sampling", "unexpected argument %q", c.Args().First())
	}
	plan, method, err := a.simulatedPlan(c, s)
	if err != nil {
		return err
	}
	o, err := simulateOptions(c, method)
	if err != nil {
		return err
	}
	rows, err := a.rollouts(c.Context, plan, o)
	if err != nil {
		return err
	}
	return a.printSimulated(c, s, simulated{Seed: o.seed, Runs: o.runs, Rows: rows})
}

// checkReplay refuses flags that --replay makes meaningless, or needs.
func checkReplay(c *cli.Context) error {
	meaningless, without := []string{"from", "to"}, "--%s says nothing without --replay"
	if c.Bool("replay") {
		meaningless, without = []string{"rate", "errors", "users", "failing-users", "sampling", "scenario", "published"}, "--%s and --replay are both given"
	}
	for _, flag := range meaningless {
		if c.IsSet(flag) {
			return invalid("leave it out; recorded traffic has its own rate, errors, users and sampling", without, flag)
		}
	}
	return nil
}

// simulatedPlan is the plan to try, and the method that goes with it.
func (a *app) simulatedPlan(c *cli.Context, s settings) (simulate.Plan, judge.Method, error) {
	if c.Bool("published") {
		return simulate.Figures(), judge.Evidence, nil
	}
	p, err := a.policy(s)
	if err != nil {
		return simulate.Plan{}, "", err
	}
	return simulate.PlanOf(p), p.Method, nil
}

func (a *app) printSimulated(c *cli.Context, s settings, result simulated) error {
	if err := writeChart(c, result.Rows); err != nil {
		return err
	}
	if s.json {
		return a.printJSON(result)
	}
	figures.WriteTable(a.stdout, result.Rows)
	fmt.Fprintln(a.stdout)
	figures.WriteBars(a.stdout, result.Rows, 100)
	fmt.Fprintf(a.stdout, "\n%s%d rollouts a row, seed %d.\n", figures.Notes, result.Runs, result.Seed)
	return nil
}

// writeChart writes the SVG that --chart asks for.
func writeChart(c *cli.Context, rows []figures.Row) error {
	path := c.String("chart")
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return invalid("--chart names the file to write", "write chart: %w", err)
	}
	if err := figures.WriteSVG(file, "Simulated rollouts", rows); err != nil {
		_ = file.Close()
		return fmt.Errorf("write chart %s: %w", path, err)
	}
	return file.Close()
}

func (a *app) listScenarios() {
	for _, group := range []struct {
		name string
		list []simulate.Scenario
	}{{"table", simulate.Table()}, {"matrix", simulate.Matrix()}} {
		fmt.Fprintf(a.stdout, "%s (%d)\n", group.name, len(group.list))
		for _, s := range group.list {
			fmt.Fprintf(a.stdout, "  %s\n", s.Key())
		}
	}
}

// simulateOptions are the flags of simulate, checked.
func simulateOptions(c *cli.Context, method judge.Method) (simulation, error) {
	o := simulation{runs: c.Int("runs"), seed: c.Uint64("seed"), methods: []judge.Method{method}}
	if o.runs < 1 || o.runs > 1_000_000 {
		return o, invalid("give 1 to 1,000,000", "--runs %d is not allowed", o.runs)
	}
	if names := c.StringSlice("method"); len(names) > 0 {
		o.methods = nil
		for _, name := range names {
			method := judge.Method(name)
			if !slices.Contains([]judge.Method{judge.Evidence, judge.Thresholds, simulate.Fixed}, method) {
				return o, invalid("give evidence, thresholds or fixed", "--method %q is not known", name)
			}
			o.methods = append(o.methods, method)
		}
	}
	base, err := describedTraffic(c)
	if err != nil {
		return o, err
	}
	o.scenarios, err = scenariosOf(c, base)
	for i, s := range o.scenarios {
		if s.Users != nil {
			users := *s.Users
			users.Share = measure.UserShare(s.Rate, 1)
			o.scenarios[i].Users = &users
		}
	}
	return o, err
}

// describedTraffic is a scenario as the flags describe it.
func describedTraffic(c *cli.Context) (simulate.Scenario, error) {
	s := simulate.Scenario{Rate: c.Float64("rate"), Errors: c.Float64("errors") / 100, Worse: c.Float64("worse") / 100, Slower: c.Float64("slower")}
	for _, check := range []struct {
		ok         bool
		flag, hint string
	}{
		{s.Rate > 0 && s.Rate <= 1e7, "rate", "give requests a minute, above 0 and up to 10,000,000"},
		{s.Errors >= 0 && s.Errors <= 1, "errors", "give 0 to 100 percent"},
		{s.Worse >= 0 && s.Worse <= 1, "worse", "give 0 to 100 points"},
		{!c.IsSet("slower") || s.Slower > 0 && s.Slower <= 1000, "slower", "give a ratio such as 1.5, up to 1000"},
		{c.Float64("users") >= 0 && c.Float64("users") <= 1e6, "users", "give the calls of a user, up to 1,000,000"},
		{c.Float64("failing-users") >= 0 && c.Float64("failing-users") <= 100, "failing-users", "give 0 to 100 percent"},
		{!c.IsSet("failing-users") || c.Float64("users") > 0, "failing-users", "say by --users how many calls a user makes"},
	} {
		if !check.ok {
			return s, invalid(check.hint, "--%s %g is not allowed", check.flag, c.Float64(check.flag))
		}
	}
	if calls := c.Float64("users"); calls > 0 {
		s.Users = &simulate.Users{Calls: calls, Stay: 10, Failing: c.Float64("failing-users") / 100}
	}
	var err error
	s.Sampling, err = samplingOf(c.StringSlice("sampling"))
	return s, err
}

// samplingOf reads parts such as 1:10 or 50:1:10. What they leave of the traffic
// is recorded whole.
func samplingOf(parts []string) ([]simulate.Sampling, error) {
	var list []simulate.Sampling
	left := 100.0
	for _, text := range parts {
		percent, weight := 100.0, 0.0
		if n, _ := fmt.Sscanf(text, "%f:1:%f", &percent, &weight); n != 2 {
			percent = 100
			if n, _ := fmt.Sscanf(text, "1:%f", &weight); n != 1 {
				percent = 0
			}
		}
		if !(percent > 0 && percent <= left && weight >= 1 && weight <= 1e6) {
			return nil, invalid("give 1:10 for one request in ten, or 50:1:10 for that of half of the traffic; shares sum up to 100 at most", "--sampling %q is not allowed", text)
		}
		list, left = append(list, simulate.Sampling{Share: percent / 100, Weight: weight}), left-percent
	}
	if len(list) > 0 && left > 0 {
		list = append(list, simulate.Sampling{Share: left / 100, Weight: 1})
	}
	return list, nil
}

// scenariosOf are the named scenarios or, where none is named, the described
// traffic with a healthy canary and with a choice of worse ones.
func scenariosOf(c *cli.Context, base simulate.Scenario) ([]simulate.Scenario, error) {
	names := c.StringSlice("scenario")
	if len(names) == 0 {
		if base.Bad() {
			return simulate.Beside(base), nil
		}
		return simulate.Around(base), nil
	}
	var list []simulate.Scenario
	for _, name := range names {
		found := simulate.Named(name)
		if len(found) == 0 {
			return nil, invalid("--scenario list lists them", "--scenario %q is not known", name)
		}
		list = append(list, found...)
	}
	for i := range list {
		if c.IsSet("rate") {
			list[i].Rate = base.Rate
		}
		if c.IsSet("errors") {
			list[i].Errors = base.Errors
		}
		list[i].Users, list[i].Sampling = base.Users, base.Sampling
	}
	for _, flag := range []string{"worse", "slower"} {
		if c.IsSet(flag) {
			return nil, invalid("leave out one of both", "--%s and --scenario %s are both given", flag, strings.Join(names, ", "))
		}
	}
	return list, nil
}

// simulation is what is to be simulated.
type simulation struct {
	scenarios []simulate.Scenario
	makers    []simulate.Maker // of each scenario; nil: themselves
	methods   []judge.Method
	runs      int
	seed      uint64
}

func (o simulation) maker(scenario int) simulate.Maker {
	if o.makers == nil {
		return o.scenarios[scenario]
	}
	return o.makers[scenario]
}

// rollouts simulates them all, and shows how far it is.
func (a *app) rollouts(ctx context.Context, plan simulate.Plan, o simulation) ([]figures.Row, error) {
	var rows []figures.Row
	for _, s := range o.scenarios {
		for _, method := range o.methods {
			rows = append(rows, figures.Row{Scenario: s.Name, Rate: s.Rate, Bad: s.Bad(), Method: method})
		}
	}
	show := a.simulationProgress(len(rows) * o.runs)
	defer show.close()
	for i := range rows {
		outcomes, err := many.Run(ctx, plan, rows[i].Method, o.maker(i/len(o.methods)), o.runs, o.seed, show.add)
		if err != nil {
			return nil, err
		}
		rows[i].Tally = simulate.Sum(outcomes)
		show.done(rows[i])
	}
	return rows, nil
}
