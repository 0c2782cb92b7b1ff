package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/rollout"
	"perch/shared/document"
)

// namespaceTitle is what init calls the namespace that it makes: as wrangler
// would, so that each environment's worker has its own.
func namespaceTitle(worker string) string { return worker + "-rollouts" }

// firstRollout is the rollout of a document that nobody has started one on.
const firstRollout = "initial"

// initResult is what init did, or with DryRun would do.
type initResult struct {
	Namespace initNamespace `json:"namespace"`
	Document  *initDocument `json:"document,omitempty"`
	Aliases   []initAlias   `json:"aliases,omitempty"`
	SealKey   initSealKey   `json:"seal_key"`
	Wrangler  []wranglerSet `json:"wrangler"`
	ToSet     []toSet       `json:"to_set"`
	DryRun    bool          `json:"dry_run"`
}

type initNamespace struct {
	ID      string `json:"id"` // "" where DryRun did not create it
	Title   string `json:"title"`
	Created bool   `json:"created"`
}

type initDocument struct {
	Key        string `json:"key"`
	Service    string `json:"service"`
	Stable     string `json:"stable"`
	Generation int64  `json:"generation"`
}

// initAlias is a target by whose name alone the edge finds the service.
type initAlias struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// wranglerSet is a line to set in a table of wrangler.toml that is there.
type wranglerSet struct {
	Table string `json:"table"`
	Line  string `json:"line"`
}

// environmentOf is what wrangler.toml and the workflows call a worker's own.
type environmentOf struct {
	name, worker, dataset string
	variables             string // beginning of the names of its GitHub variables
}

var environments = []environmentOf{
	{"production", defaultWorker, defaultDataset, "PERCH_"},
	{"staging", defaultWorker + "-staging", defaultDataset + "_staging", "PERCH_STAGING_"},
}

// environment returns the environment that a worker is deployed as.
func (s settings) environment() environmentOf {
	for _, e := range environments {
		if e.worker == s.worker {
			return e
		}
	}
	return environmentOf{"<environment>", s.worker, defaultDataset, "PERCH_"}
}

// toSet is something that init cannot set for the user.
type toSet struct {
	Where string `json:"where"`
	Name  string `json:"name"`
	Value string `json:"value"` // or what it must be
}

func (a *app) initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make the KV namespace, the sealing key and a service's first document",
		ArgsUsage: "[SERVICE]",
		Description: "Makes the KV namespace where it is missing, and the key that seals what clients bring back: the\n" +
			"worker's secret PERCH_SEAL_KEY, which is shown this once. With a service it also writes the first\n" +
			"document, which sends everyone to --stable. Lists what is left to set by hand.\n\n" +
			"Example:\n  orchestrator init --stable version=acme/flux:5c7d… acme/flux",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stable", Usage: "the `TARGET` that serves everyone: version=, deployment=, model= or url="},
			&cli.BoolFlag{Name: "force", Usage: "write over a document that is there, if no rollout was started on it", DisableDefaultText: true},
			&cli.BoolFlag{Name: "rotate-seal-key", Usage: "give the worker a new key; PERCH_SEAL_KEY, the present one, still opens", DisableDefaultText: true},
			dryRunFlag(),
		},
		Action: a.initialize,
	}
}

func (a *app) initialize(c *cli.Context) error {
	s, err := a.settings(c)
	if err != nil {
		return err
	}
	if err := s.requireAccount(false); err != nil {
		return err
	}
	first, err := s.firstDocument(c.String("stable"))
	if err != nil {
		return err
	}
	if first, err = a.configured(s, first); err != nil {
		return err
	}
	result := initResult{DryRun: s.dryRun}
	if result.Namespace, err = findNamespace(c.Context, s); err != nil {
		return err
	}
	s.cloudflare.Namespace = result.Namespace.ID
	if first != nil {
		if err := a.writeFirst(c.Context, s, first, c.Bool("force")); err != nil {
			return err
		}
		stable := first.Targets[first.Target(document.Stable)]
		result.Document = &initDocument{first.Service.RolloutKey(), first.Service.String(), stable.String(), first.Generation}
		for _, w := range rollout.AliasWrites(first, a.clock.Now()) {
			result.Aliases = append(result.Aliases, initAlias{w.Key, w.Value})
		}
	}
	if result.SealKey, err = a.initKey(c.Context, s, c.Bool("rotate-seal-key"), c.Bool("force")); err != nil {
		return err
	}
	id := result.Namespace.ID
	if id == "" {
		id = "(the id that init prints)"
	}
	result.Wrangler = leftForWrangler(s, id)
	result.ToSet = leftToSet(s, id, result.SealKey)
	if s.json {
		return a.printJSON(result)
	}
	a.printInit(s, result)
	return nil
}

// firstDocument returns the document to write, or nil where no service is given.
func (s settings) firstDocument(stable string) (*document.Document, error) {
	if s.service == "" {
		if stable != "" {
			return nil, invalid("name the service as an argument, by --service or in PERCH_SERVICE", "--stable is given, but no service")
		}
		return nil, nil
	}
	service, err := s.requireService()
	if err != nil {
		return nil, err
	}
	if stable == "" {
		return nil, invalid(targetHint, "--stable is missing: name what serves %s today", service)
	}
	target, err := parseTarget("stable", stable)
	if err != nil {
		return nil, err
	}
	target.Name = document.Stable
	d := &document.Document{
		Service: service, Rollout: firstRollout, Generation: 1, Mode: document.ModeCanary, Salt: firstRollout,
		Targets: []document.Target{target},
		User:    document.User{Header: document.DefaultUserHeader, Cookie: document.DefaultUserCookie},
	}
	if err := d.Validate(); err != nil {
		return nil, invalid(targetHint, "%w", err)
	}
	return d, nil
}

// configured returns a document with the edge settings of the policy in force.
func (a *app) configured(s settings, d *document.Document) (*document.Document, error) {
	if d == nil {
		return nil, nil
	}
	p, err := a.policy(s)
	if err != nil {
		return nil, err
	}
	d, err = p.Edge.Apply(d)
	return d, configureError(err)
}

// findNamespace returns the namespace in use: that of the id given, which must
// exist, or else that of our title, which is made where it is missing.
func findNamespace(ctx context.Context, s settings) (initNamespace, error) {
	account := cloudflare.NewAccount(s.cloudflare)
	list, err := account.Namespaces(ctx)
	if err != nil {
		return initNamespace{}, mend(err, permissionKV, checkAccount)
	}
	id, title := s.cloudflare.Namespace, namespaceTitle(s.worker)
	i := slices.IndexFunc(list, func(n cloudflare.Namespace) bool {
		return n.ID == id || id == "" && n.Title == title
	})
	switch {
	case i >= 0:
		return initNamespace{ID: list[i].ID, Title: list[i].Title}, nil
	case id != "":
		return initNamespace{}, invalid("leave PERCH_NAMESPACE_ID and --namespace out to have one made", "the account has no KV namespace %s", id)
	case s.dryRun:
		return initNamespace{Title: title, Created: true}, nil
	}
	made, err := account.CreateNamespace(ctx, title)
	if err != nil {
		return initNamespace{}, mend(err, permissionKV, checkAccount)
	}
	return initNamespace{ID: made.ID, Title: made.Title, Created: true}, nil
}

// writeFirst writes the service's first document. A document that is there may
// be someone's rollout, so it is written over only when asked for, and never
// once a rollout has begun: from then on start decides who is stable.
func (a *app) writeFirst(ctx context.Context, s settings, d *document.Document, force bool) error {
	if s.cloudflare.Namespace == "" {
		return nil
	}
	store, _ := a.connect(s.cloudflare)
	_, err := store.Get(ctx, d.Service.StateKey())
	if err == nil {
		return refused("orchestrator start --stable TARGET --canary TARGET begins the next rollout with another stable target",
			"%s has had a rollout: init would undo it", d.Service)
	}
	if !errors.Is(err, cloudflare.ErrNotFound) {
		return err
	}
	key := d.Service.RolloutKey()
	present, err := store.Get(ctx, key)
	switch {
	case errors.Is(err, cloudflare.ErrNotFound):
	case err != nil:
		return err
	case !force:
		return refused("--force writes over it; orchestrator status shows it", "%s has a document already", d.Service)
	default:
		if old, err := document.Parse(present); err == nil {
			d.Generation = old.Generation + 1
		}
	}
	if s.dryRun {
		return nil
	}
	for _, w := range rollout.AliasWrites(d, a.clock.Now()) {
		if err := store.Put(ctx, w.Key, w.Value); err != nil {
			return err
		}
	}
	return store.Put(ctx, key, d.Encode())
}

// leftForWrangler lists what wrangler.toml leaves open, or has otherwise.
func leftForWrangler(s settings, namespace string) []wranglerSet {
	e := s.environment()
	list := []wranglerSet{{"[[env." + e.name + ".kv_namespaces]]", fmt.Sprintf("id = %q", namespace)}}
	if s.cloudflare.Dataset != e.dataset && s.cloudflare.Dataset != defaultDataset {
		list = append(list, wranglerSet{"[[env." + e.name + ".analytics_engine_datasets]]", fmt.Sprintf("dataset = %q", s.cloudflare.Dataset)})
	}
	return list
}

// leftToSet lists what the workflows need.
func leftToSet(s settings, namespace string, key initSealKey) []toSet {
	const secret, variable = "GitHub Actions secret", "GitHub Actions variable"
	workerURL := s.workerURL
	if workerURL == "" {
		workerURL = "where the worker answers, such as https://perch.example.workers.dev"
	}
	e := s.environment()
	list := []toSet{
		{secret, "CLOUDFLARE_API_TOKEN", "a token with " + permissions + "; to deploy " + permissionScriptsWrite},
		{secret, "CLOUDFLARE_ACCOUNT_ID", s.cloudflare.Account},
		{secret, e.variables + "SEAL_KEY", keyToSet(key)},
		{secret, "REPLICATE_API_TOKEN", "a token that may read the predictions, for those that nobody asks about"},
		{variable, e.variables + "NAMESPACE_ID", namespace},
		{variable, e.variables + "WORKER_URL", workerURL},
	}
	if s.cloudflare.Dataset != e.dataset && s.cloudflare.Dataset != defaultDataset {
		list = append(list, toSet{variable, e.variables + "DATASET", s.cloudflare.Dataset})
	}
	if e.name == "staging" { // the schedule steps production's services
		return list
	}
	services := "the services to step on a schedule, such as " + `["acme/flux", "http:qwen"]`
	if s.service != "" {
		services = fmt.Sprintf("[%q], to step it on a schedule", s.service)
	}
	return append(list, toSet{variable, "PERCH_SERVICES", services})
}

// keyToSet is a key, or where to find it.
func keyToSet(k initSealKey) string {
	switch {
	case k.Text != "":
		return k.Text
	case k.ID != "":
		return "the key " + k.ID + " that is set here"
	}
	return "the worker's, as it was shown when it was made"
}

func (a *app) printInit(s settings, r initResult) {
	wrote := "wrote"
	if r.DryRun {
		wrote = "would write"
	}
	switch {
	case r.Namespace.Created && r.DryRun:
		fmt.Fprintf(a.stdout, "would create KV namespace %s\n", r.Namespace.Title)
	case r.Namespace.Created:
		fmt.Fprintf(a.stdout, "created KV namespace %s: %s\n", r.Namespace.Title, r.Namespace.ID)
	default:
		fmt.Fprintf(a.stdout, "found KV namespace %s: %s\n", r.Namespace.Title, r.Namespace.ID)
	}
	if d := r.Document; d != nil {
		fmt.Fprintf(a.stdout, "%s document %s, generation %d: everyone to stable, %s\n", wrote, d.Key, d.Generation, d.Stable)
	}
	for _, alias := range r.Aliases {
		fmt.Fprintf(a.stdout, "%s %s, so that requests that name it alone are routed too\n", wrote, alias.Key)
	}
	a.printSealKey(r.SealKey, r.DryRun, s.environment())
	fmt.Fprint(a.stdout, "\n")
	for _, w := range r.Wrangler {
		fmt.Fprintf(a.stdout, "in wrangler.toml, under %s, set: %s\n", w.Table, w.Line)
	}
	fmt.Fprint(a.stdout, "then deploy\n\nset by hand:\n")
	for _, item := range r.ToSet {
		fmt.Fprintf(a.stdout, "  %-23s  %-21s  %s\n", item.Where, item.Name, item.Value)
	}
	fmt.Fprintln(a.stdout, "\nthen check all of it: orchestrator doctor")
}
