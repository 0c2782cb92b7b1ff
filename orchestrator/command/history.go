package command

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/judge"
	"perch/orchestrator/report"
	"perch/orchestrator/rollout"
)

func (a *app) historyCommand() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "show who changed what, when and why", ArgsUsage: "[service]", Category: "see",
		Description: "The oldest entry comes first. With --recheck every stored verdict is computed again from the\n" +
			"evidence that is stored with it, and the exit code is 1 where one differs.\n\nExample:\n  orchestrator history --limit 50 acme/flux",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "limit", Usage: "show the newest `N` entries; 0 shows all", Value: 20},
			&cli.BoolFlag{Name: "recheck", Usage: "compute the verdicts again", DisableDefaultText: true},
			verboseFlag(),
		},
		Action: func(c *cli.Context) error {
			if c.Int("limit") < 0 {
				return invalid("give 0 to see all", "--limit %d is not allowed", c.Int("limit"))
			}
			x, err := a.session(c)
			if err != nil {
				return err
			}
			entries, err := x.history(c.Context)
			if err != nil {
				return err
			}
			if limit := c.Int("limit"); limit > 0 && len(entries) > limit {
				entries = entries[len(entries)-limit:]
			}
			if c.Bool("recheck") {
				return x.recheck(entries)
			}
			if x.settings.json {
				return a.printJSON(entries)
			}
			report.WriteHistory(a.stdout, entries, a.terminal)
			if c.Bool("verbose") {
				report.WriteVerdicts(a.stdout, entries)
			}
			return nil
		},
	}
}

// history reads all entries of the service, the oldest first.
func (x *session) history(ctx context.Context) ([]rollout.Entry, error) {
	keys, err := x.store.List(ctx, x.service.HistoryPrefix())
	if err != nil {
		return nil, err
	}
	values, err := x.store.GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	entries := make([]rollout.Entry, 0, len(keys))
	for _, key := range keys {
		text, found := values[key]
		if !found {
			continue
		}
		e, err := entryOf(text)
		if err != nil {
			return nil, fmt.Errorf("read KV key %s: %w", key, err)
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b rollout.Entry) int {
		if byTime := a.Time.Compare(b.Time); byTime != 0 {
			return byTime
		}
		if a.Generation != b.Generation {
			return int(a.Generation - b.Generation)
		}
		return strings.Compare(a.Rollout, b.Rollout)
	})
	return entries, nil
}

// entryOf reads an entry. A verdict in the form of an earlier orchestrator is left out.
func entryOf(text []byte) (rollout.Entry, error) {
	var e rollout.Entry
	if json.Unmarshal(text, &e) == nil {
		return e, nil
	}
	bare := struct {
		*rollout.Entry
		Verdict json.RawMessage `json:"verdict"`
	}{Entry: &rollout.Entry{}}
	err := json.Unmarshal(text, &bare)
	return *bare.Entry, err
}

// recheck computes each stored verdict again, and fails where one differs.
func (x *session) recheck(entries []rollout.Entry) error {
	var results []report.Rechecked
	differ := 0
	for _, e := range entries {
		if e.Verdict == nil || e.Verdict.Method == "" {
			continue
		}
		r := report.Rechecked{Time: e.Time, Rollout: e.Rollout, Action: string(e.Action), Stored: e.Verdict.Decision, StoredReason: e.Verdict.Reason}
		r.Decision, r.Reason = judge.Decide(*e.Verdict)
		if r.Differs() {
			differ++
		}
		results = append(results, r)
	}
	if x.settings.json {
		if err := x.app.printJSON(results); err != nil {
			return err
		}
	} else {
		report.WriteRechecked(x.app.stdout, results)
	}
	if differ > 0 {
		return &failure{code: exitError, err: fmt.Errorf("recheck history: %s", judge.FormatCount(int64(differ), "verdict")+" came out otherwise"),
			hint: "the entry was edited, or an orchestrator with other rules wrote it"}
	}
	return nil
}
