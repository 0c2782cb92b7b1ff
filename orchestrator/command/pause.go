package command

import (
	"github.com/urfave/cli/v2"

	"perch/orchestrator/rollout"
)

func (a *app) pauseCommand() *cli.Command {
	return &cli.Command{
		Name: "pause", Usage: "stop automation at the present percentage", ArgsUsage: "[service]", Category: "rollout by hand",
		Description: "The canary keeps its users until resume, set, promote or rollback, also where nobody judges it. A\n" +
			"breach of the limits still rolls back, as long as step or run judges.\n\nExample:\n" +
			"  orchestrator pause --reason 'no changes over the weekend' acme/flux",
		Flags: []cli.Flag{reasonFlag(), actorFlag(), dryRunFlag()},
		Action: func(c *cli.Context) error {
			return a.change(c, func(s rollout.State, by rollout.By) (rollout.State, error) {
				return s.Pause(c.String("reason"), by)
			})
		},
	}
}
