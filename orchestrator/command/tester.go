package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"perch/shared/document"
	"perch/shared/seal"
)

// testerMost is the longest that a tester's token may last: it cannot be taken
// back but by a new key.
const testerMost = 30 * 24 * time.Hour

// Where clients put a tester's token.
const (
	testerHeader = "x-perch-tester"
	testerCookie = "perch-tester"
)

// testerToken is what the command tester prints as JSON.
type testerToken struct {
	Token     string    `json:"token"`
	Service   string    `json:"service"`
	Variant   string    `json:"variant"`
	ExpiresAt time.Time `json:"expires_at"`
	Header    string    `json:"header"`
	Cookie    string    `json:"cookie"`
}

func (a *app) testerCommand() *cli.Command {
	return &cli.Command{
		Name: "tester", Usage: "make a token that chooses the variant, for a while", ArgsUsage: "[service]", Category: "see",
		Description: "Needs PERCH_SEAL_KEY and asks nobody. The token stands alone on standard output. It counts where\n" +
			"the document says \"overrides\": true.\n\nExample:\n  curl -H \"x-perch-tester: $(orchestrator tester --variant canary --for 1h acme/flux)\" …",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "variant", Usage: "`VARIANT` that it chooses: stable or canary", Value: document.Canary},
			&cli.DurationFlag{Name: "for", Usage: "`TIME` that it is good for, 720h at most", Value: time.Hour},
		},
		Action: func(c *cli.Context) error {
			s, err := a.settings(c)
			if err != nil {
				return err
			}
			service, err := s.requireService()
			if err != nil {
				return err
			}
			t, err := a.tester(service, c.String("variant"), c.Duration("for"))
			if err != nil {
				return err
			}
			if s.json {
				return a.printJSON(t)
			}
			fmt.Fprintln(a.stdout, t.Token)
			fmt.Fprintf(a.stderr, "good until %s for the %s of %s\nsend it as the header %s, or in the cookie %s\n"+
				"the document must say \"overrides\": true, as edge: {overrides: true} in the policy file makes it\n",
				t.ExpiresAt.Format("2006-01-02 15:04:05 UTC"), t.Variant, t.Service, t.Header, t.Cookie)
			return nil
		},
	}
}

func (a *app) tester(service document.Service, variant string, lasts time.Duration) (testerToken, error) {
	if variant != document.Stable && variant != document.Canary {
		return testerToken{}, invalid("give stable or canary", "--variant %q is not allowed", variant)
	}
	if lasts < time.Second || lasts > testerMost {
		return testerToken{}, invalid("give 1s to 720h, such as 1h", "--for %s is not allowed", lasts)
	}
	key, err := a.sealKey()
	if err != nil {
		return testerToken{}, err
	}
	if key == nil {
		return testerToken{}, invalid("set PERCH_SEAL_KEY, the worker's secret that orchestrator init makes", "no seal key is given")
	}
	now := a.clock.Now().UTC().Truncate(time.Second)
	expires := now.Add(lasts)
	token, err := key.Seal(seal.Context{Purpose: seal.Tester, Service: service.String(), Variant: variant, IssuedAt: now.Unix(), ExpiresAt: expires.Unix()})
	return testerToken{token, service.String(), variant, expires.Truncate(time.Second), testerHeader, testerCookie}, err
}
