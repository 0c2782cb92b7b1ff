package command

import (
	"github.com/urfave/cli/v2"

	"perch/orchestrator/rollout"
)

func (a *app) approveCommand() *cli.Command {
	return &cli.Command{
		Name: "approve", Usage: "approve of going on from a step that the policy has people approve of", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "Before the verdict or after it: the next step or run whose verdict is promote goes on. Where the\n" +
			"policy says approve: instead, the next does unless its verdict is rollback.\n\nExample:\n" +
			"  orchestrator approve --reason 'samples look right' acme/flux",
		Flags: []cli.Flag{reasonFlag(), actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			return a.change(c, func(s rollout.State, by rollout.By) (rollout.State, error) {
				return s.Approve(c.String("reason"), by)
			})
		},
	}
}
