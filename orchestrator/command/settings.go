package command

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
)

// Defaults of the settings that have one.
const (
	defaultDataset = "perch_requests"
	defaultWorker  = "perch"
	defaultPolicy  = "perch.yaml" // where there is one
)

// option is a flag that every command takes, before or after the command's name.
type option struct {
	flag, env, fallback, usage string
}

var options = []option{
	{"service", "PERCH_SERVICE", "", "the `SERVICE`, such as acme/flux or http:qwen; or the command's argument"},
	{"account", "CLOUDFLARE_ACCOUNT_ID", "", "Cloudflare account `ID`"},
	{"api", "CLOUDFLARE_BASE_URL", cloudflare.DefaultBaseURL, "base `URL` of Cloudflare's API"},
	{"namespace", "PERCH_NAMESPACE_ID", "", "`ID` of the KV namespace of the rollouts"},
	{"dataset", "PERCH_DATASET", defaultDataset, "Analytics Engine `DATASET`"},
	{"worker", "PERCH_WORKER", defaultWorker, "`NAME` of the worker script"},
	{"worker-url", "PERCH_WORKER_URL", "", "`URL` that the worker answers at"},
	{"policy", "PERCH_POLICY", "", "policy `FILE` (default: perch.yaml, where there is one)"},
}

// commonFlags returns the flags of the application or of one command. The help
// text of a command shows only those that differ from call to call.
func commonFlags(ofCommand bool) []cli.Flag {
	flags := []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true}}
	if !ofCommand {
		flags = append(flags, dryRunFlag())
	}
	for _, o := range options {
		usage := o.usage + " [$" + o.env + "]"
		flags = append(flags, &cli.StringFlag{Name: o.flag, Usage: usage, DefaultText: o.fallback, Hidden: ofCommand && o.flag != "service"})
	}
	return flags
}

// dryRunFlag belongs to commands that write.
func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be written, write nothing", DisableDefaultText: true}
}

// settings are the common flags as given on the command line or in the environment.
type settings struct {
	cloudflare        cloudflare.Config
	service           string // as given, or ""
	worker, workerURL string
	policy            string // path, or ""
	json, dryRun      bool
}

// settings resolves the common flags of a command, whose first positional
// argument may be the service. It refuses further arguments.
func (a *app) settings(c *cli.Context) (settings, error) {
	if err := refuseStrayArguments(c, 1); err != nil {
		return settings{}, err
	}
	s := settings{
		cloudflare: cloudflare.Config{
			BaseURL: a.value(c, "api"), Account: a.value(c, "account"), Token: a.env["CLOUDFLARE_API_TOKEN"],
			Namespace: a.value(c, "namespace"), Dataset: a.value(c, "dataset"),
		},
		service: a.value(c, "service"), worker: a.value(c, "worker"), workerURL: a.value(c, "worker-url"),
		policy: a.value(c, "policy"),
		json:   given(c, "json") != nil, dryRun: given(c, "dry-run") != nil,
	}
	if argument := c.Args().First(); argument != "" {
		if flag := given(c, "service"); flag != nil && flag.String("service") != argument {
			return s, invalid("name the service once", "services %s and %s are both given", argument, s.service)
		}
		s.service = argument
	}
	return s, nil
}

// value returns a common flag's value: the command's, the application's, the
// environment's, or the default.
func (a *app) value(c *cli.Context, name string) string {
	if holder := given(c, name); holder != nil {
		return holder.String(name)
	}
	i := slices.IndexFunc(options, func(o option) bool { return o.flag == name })
	if value := a.env[options[i].env]; value != "" {
		return value
	}
	return options[i].fallback
}

// given returns the context, the command's first, whose command line sets the
// flag, or nil. A boolean set to false counts as not given.
func given(c *cli.Context, name string) *cli.Context {
	for _, level := range c.Lineage() {
		if level.Command == nil || !slices.Contains(level.LocalFlagNames(), name) {
			continue
		}
		if value, isBool := level.Value(name).(bool); isBool && !value {
			return nil
		}
		return level
	}
	return nil
}

// refuseStrayArguments refuses flags after an argument, which urfave/cli would
// pass over in silence, and more than limit arguments.
func refuseStrayArguments(c *cli.Context, limit int) error {
	for i, argument := range c.Args().Slice() {
		if i > 0 && strings.HasPrefix(argument, "-") {
			return invalid("write flags before arguments: "+c.Command.HelpName+" "+argument+" … "+c.Args().First(),
				"flag %s comes after the argument %s", argument, c.Args().First())
		}
	}
	if c.NArg() > limit {
		return invalid(c.Command.HelpName+" --help shows what it takes", "unexpected argument %q", c.Args().Get(limit))
	}
	return nil
}

// requireService returns the service, or an error that says how to name one.
func (s settings) requireService() (document.Service, error) {
	if s.service == "" {
		return document.Service{}, invalid("name it as an argument, by --service or in PERCH_SERVICE", "no service is given")
	}
	service, err := document.ParseService(s.service)
	if err != nil {
		return service, invalid("for instance acme/flux, deployment:acme/flux or http:qwen", "%w", err)
	}
	return service, nil
}

// requireAccount checks that the account can be reached: all that is missing is
// named in the error. Commands that make a namespace leave the namespace out.
func (s settings) requireAccount(namespace bool) error {
	var missing, hints []string
	for _, need := range []struct {
		given      bool
		name, hint string
	}{
		{s.cloudflare.Account != "", "account", "CLOUDFLARE_ACCOUNT_ID or --account"},
		{s.cloudflare.Token != "", "API token", "CLOUDFLARE_API_TOKEN, with the permissions " + permissions},
		{!namespace || s.cloudflare.Namespace != "", "KV namespace", "PERCH_NAMESPACE_ID or --namespace, which orchestrator init makes and prints"},
	} {
		if !need.given {
			missing, hints = append(missing, "no "+need.name), append(hints, need.hint)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return invalid("set "+strings.Join(hints, "; "), "%s is given", strings.Join(missing, ", "))
}
