package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/shared/document"
	"perch/shared/seal"
)

// Permissions of an API token, as Cloudflare's dashboard names them.
const (
	permissionKV           = "Workers KV Storage: Edit"
	permissionAnalytics    = "Account Analytics: Read"
	permissionScripts      = "Workers Scripts: Read"
	permissionScriptsWrite = "Workers Scripts: Edit" // to deploy; includes Read

	// permissions are what all commands together need.
	permissions = permissionKV + ", " + permissionAnalytics + ", " + permissionScripts
)

// What the worker calls its bindings.
const (
	bindingRollouts  = "ROLLOUTS"
	bindingAnalytics = "ANALYTICS"
)

const (
	// doctorTimeout bounds each of doctor's calls: a person waits for them.
	doctorTimeout = 10 * time.Second
	// probeKey is written and deleted to see whether the token may.
	probeKey = "doctor:probe"
)

// check is one thing that doctor looked at.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`            // what was found
	Warn   bool   `json:"warning,omitempty"` // OK, but hardly meant so
	Mend   string `json:"mend,omitempty"`    // what to do, where OK is false or Warn is true
}

// doctor looks at an account. Each of its examinations returns what it found,
// or an ailment.
type doctor struct {
	settings settings
	now      time.Time
	account  *cloudflare.Account
	store    Store
	source   Source
	key      *seal.Key // that is set here, or nil
	keyErr   error     // why it cannot be read
}

// ailment is an error with its mend.
type ailment struct {
	err  error
	mend string
}

func (a *ailment) Error() string { return a.err.Error() }

func (a *ailment) Unwrap() error { return a.err }

// warning is an ailment that somebody may have meant.
type warning struct{ *ailment }

func (w warning) Unwrap() error { return w.ailment }

func (a *app) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check the token, the namespace, the worker, its secrets and its analytics",
		ArgsUsage:   " ",
		Description: "Exits 1 if a check fails; each that does, or warns, says what mends it. To see whether the token\nmay write, the key " + probeKey + " is written and deleted.\n\nExample:\n  orchestrator doctor --worker-url https://perch.example.workers.dev",
		Action:      a.doctor,
	}
}

func (a *app) doctor(c *cli.Context) error {
	if err := refuseStrayArguments(c, 0); err != nil {
		return err
	}
	s, err := a.settings(c)
	if err != nil {
		return err
	}
	s.cloudflare.Timeout = doctorTimeout
	x, err := a.open(s, document.Service{})
	if err != nil {
		return err
	}
	d := &doctor{settings: s, now: a.clock.Now(), account: cloudflare.NewAccount(s.cloudflare), store: x.store, source: x.source}
	d.key, d.keyErr = a.sealKey()
	checks := d.examine(c.Context)
	if c.Context.Err() != nil {
		return c.Context.Err()
	}
	healthy := !slices.ContainsFunc(checks, func(k check) bool { return !k.OK })
	if s.json {
		err = a.printJSON(map[string]any{"ok": healthy, "checks": checks})
	} else {
		a.printChecks(checks)
	}
	if err == nil && !healthy {
		return outcome(exitError)
	}
	return err
}

// examine makes all checks, in the order in which they build on each other.
func (d *doctor) examine(ctx context.Context) []check {
	var bindings []cloudflare.Binding
	var bindingsErr error
	worker := func(ctx context.Context) (found string, err error) {
		bindings, found, bindingsErr = d.worker(ctx)
		return found, bindingsErr
	}
	bound := func(name, kind, target string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return binding(bindings, bindingsErr, name, kind, target) }
	}
	detail, err := d.token(ctx)
	checks := []check{newCheck("token", detail, err)}
	if errors.Is(err, errNoAnswer) {
		return checks // nothing else would be reached either, each after its timeout
	}
	config := d.settings.cloudflare
	for _, e := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"KV read", d.kvRead},
		{"KV write", d.kvWrite},
		{"analytics read", d.analytics},
		{"worker", worker},
		{"binding " + bindingRollouts, bound(bindingRollouts, cloudflare.BindingKV, config.Namespace)},
		{"binding " + bindingAnalytics, bound(bindingAnalytics, cloudflare.BindingAnalytics, config.Dataset)},
		{"worker health", d.health},
	} {
		detail, err := e.do(ctx)
		checks = append(checks, newCheck(e.name, detail, err))
	}
	return append(checks, d.examineEdge(ctx, bindings, bindingsErr)...)
}

func newCheck(name, detail string, err error) check {
	if err == nil {
		return check{Name: name, OK: true, Detail: detail}
	}
	k := check{Name: name, Detail: err.Error()}
	var a *ailment
	if errors.As(err, &a) {
		k.Mend = a.mend
	}
	k.Warn = errors.As(err, new(warning))
	k.OK = k.Warn
	return k
}

var errNoAnswer = errors.New("no answer from Cloudflare's API")

const checkAccount = "check CLOUDFLARE_ACCOUNT_ID"

// Cloudflare's codes that mean that the path names nothing, as with an account
// that there is not.
const (
	codeNoRoute   = 7003
	codeBadObject = 7000
)

const makeToken = "make a token at dash.cloudflare.com/profile/api-tokens with " + permissions + "; set CLOUDFLARE_API_TOKEN"

// mend attaches what to do about the error of a call: permission is what the
// token lacks where the API refused it.
func mend(err error, permission, otherwise string) error {
	var api *cloudflare.APIError
	switch {
	case errors.Is(err, cloudflare.ErrNoData):
		return &ailment{err, otherwise}
	case !errors.As(err, &api):
		return &ailment{fmt.Errorf("%w: %w", errNoAnswer, err), "check the network and CLOUDFLARE_BASE_URL, then try again"}
	case api.Status == http.StatusUnauthorized:
		return &ailment{err, makeToken}
	case api.Status == http.StatusForbidden:
		return &ailment{err, "give the token the permission " + permission + " for this account, or " + checkAccount}
	case api.Code == codeNoRoute || api.Code == codeBadObject:
		return &ailment{err, checkAccount}
	case api.Status == http.StatusTooManyRequests || api.Status >= http.StatusInternalServerError:
		return &ailment{err, "try again later"}
	}
	return &ailment{err, otherwise}
}

func (d *doctor) token(ctx context.Context) (string, error) {
	token, err := d.account.VerifyToken(ctx)
	switch {
	case err != nil:
		return "", mend(err, permissionKV, makeToken)
	case token.Status != "active":
		return "", &ailment{fmt.Errorf("the token is %s", token.Status), makeToken}
	case token.ExpiresOn.IsZero():
		return "active, never expires", nil
	}
	days := judge.FormatCount(int64(token.ExpiresOn.Sub(d.now).Hours()/24), "day")
	return fmt.Sprintf("active, expires on %s, in %s", token.ExpiresOn.Format(time.DateOnly), days), nil
}

const makeNamespace = "run orchestrator init, and set PERCH_NAMESPACE_ID to the id that it prints"

func (d *doctor) kvRead(ctx context.Context) (string, error) {
	keys, err := d.store.List(ctx, "rollout:")
	if err != nil {
		return "", mend(err, permissionKV, makeNamespace)
	}
	return fmt.Sprintf("namespace %s, %s", d.settings.cloudflare.Namespace, judge.FormatCount(int64(len(keys)), "service")), nil
}

func (d *doctor) kvWrite(ctx context.Context) (string, error) {
	value := []byte(d.now.UTC().Format(time.RFC3339Nano))
	if err := d.store.Put(ctx, probeKey, value); err != nil {
		return "", mend(err, permissionKV, makeNamespace)
	}
	read, readErr := d.store.Get(ctx, probeKey)
	deleteErr := d.store.Delete(ctx, probeKey)
	if err := cmp.Or(readErr, deleteErr); err != nil {
		return "", mend(err, permissionKV, makeNamespace)
	}
	if string(read) != string(value) {
		return "", &ailment{fmt.Errorf("read KV key %s: another value than was written", probeKey), "does someone else run doctor now? try again"}
	}
	return "wrote, read and deleted " + probeKey, nil
}

func (d *doctor) analytics(ctx context.Context) (string, error) {
	dataset := d.settings.cloudflare.Dataset
	send := "send a request through the worker, wait a minute, and try again"
	rows, err := d.source.Query(ctx, "SELECT count() AS n FROM "+dataset+" WHERE timestamp > now() - INTERVAL '1' DAY")
	if err != nil {
		return "", mend(err, permissionAnalytics, send)
	}
	if len(rows) == 0 {
		rows = []cloudflare.Row{{"n": "0"}}
	}
	n, err := rows[0].Float("n")
	if err != nil {
		return "", &ailment{err, "the API answers in a way that this version does not know; upgrade"}
	}
	if n == 0 {
		return "", &ailment{fmt.Errorf("dataset %s has no rows of the last day", dataset), send}
	}
	return fmt.Sprintf("dataset %s, %s in the last day", dataset, judge.FormatCount(int64(n), "row")), nil
}

func (d *doctor) worker(ctx context.Context) ([]cloudflare.Binding, string, error) {
	bindings, err := d.account.Bindings(ctx, d.settings.worker)
	if errors.Is(err, cloudflare.ErrNotFound) {
		return nil, "", &ailment{err, "deploy it with wrangler deploy, or name it by --worker or PERCH_WORKER"}
	}
	if err != nil {
		return nil, "", mend(err, permissionScripts, "try again later")
	}
	return bindings, fmt.Sprintf("script %s is deployed", d.settings.worker), nil
}

func binding(list []cloudflare.Binding, listErr error, name, kind, target string) (string, error) {
	if listErr != nil {
		return "", &ailment{errors.New("not checked: the worker's settings were not read"), "mend the check of the worker first"}
	}
	field, variable := "id", "PERCH_NAMESPACE_ID"
	if kind == cloudflare.BindingAnalytics {
		field, variable = "dataset", "PERCH_DATASET"
	}
	change := fmt.Sprintf("in wrangler.toml give the binding %s %s = %q, and deploy", name, field, target)
	i := slices.IndexFunc(list, func(b cloudflare.Binding) bool { return b.Name == name })
	switch {
	case i < 0:
		return "", &ailment{errors.New("the worker has no such binding"), change}
	case list[i].Type != kind:
		return "", &ailment{fmt.Errorf("it is of type %s, not %s", list[i].Type, kind), change}
	case list[i].Target != target:
		return "", &ailment{fmt.Errorf("it is bound to %s, not to %s", list[i].Target, target), change + "; or set " + variable + "=" + list[i].Target}
	}
	return "bound to " + target, nil
}

func (d *doctor) health(ctx context.Context) (string, error) {
	if d.settings.workerURL == "" {
		return "", &ailment{errors.New("not checked: the worker's URL is not known"), "set PERCH_WORKER_URL or --worker-url"}
	}
	answer, err := cloudflare.Health(ctx, d.settings.workerURL)
	if err != nil {
		return "", &ailment{err, "check PERCH_WORKER_URL, and look at wrangler tail " + d.settings.worker}
	}
	var health workerHealth
	if json.Unmarshal([]byte(answer), &health) != nil || health.Status != "ok" {
		return "", &ailment{fmt.Errorf("this is no answer of Perch: %s", answer), "check PERCH_WORKER_URL"}
	}
	if health.Bypass {
		return "", &ailment{errors.New("PERCH_BYPASS sends everything to stable"), `set PERCH_BYPASS = "0" in wrangler.toml, and deploy`}
	}
	return answer, nil
}

func (a *app) printChecks(checks []check) {
	failed := 0
	said := map[string]string{} // mend → the first check that it mends
	for _, k := range checks {
		mark := "ok  "
		switch {
		case k.Warn:
			mark = "warn"
		case !k.OK:
			mark = "FAIL"
			failed++
		}
		fmt.Fprintf(a.stdout, "%s  %-18s  %s\n", mark, k.Name, k.Detail)
		switch first := said[k.Mend]; {
		case k.Mend == "":
		case first != "":
			fmt.Fprintf(a.stdout, "      mend: as for %s\n", first)
		default:
			said[k.Mend] = k.Name
			fmt.Fprintf(a.stdout, "      mend: %s\n", k.Mend)
		}
	}
	if failed > 0 {
		fmt.Fprintf(a.stdout, "%d of %d checks failed\n", failed, len(checks))
	}
}
