package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/shared/document"
)

// needs is what documents, and the worker's own settings, name that the worker
// must have: who names it, by name of the secret or binding.
type needs struct {
	secrets, limits map[string][]string
	webhooks        []string // services that learn outcomes by webhook
	holders         []string // services whose documents hold a token
	workerHolds     bool     // so does PERCH_ACCESS, or it is a secret
}

// secretWebhook is what Replicate's webhooks are verified with.
const secretWebhook = "REPLICATE_WEBHOOK_SECRET"

// Variables of the worker that may name secrets.
const (
	variableAccess  = "PERCH_ACCESS"
	variableHeaders = "REPLICATE_HEADERS"
)

// examineEdge makes the checks of what the edge needs beyond its bindings.
func (d *doctor) examineEdge(ctx context.Context, bindings []cloudflare.Binding, bindingsErr error) []check {
	e := &edgeDoctor{doctor: d, bindings: bindings}
	e.needs, e.err = d.needs(ctx, bindings)
	if bindingsErr != nil {
		e.bindingsErr = &ailment{errors.New("not checked: the worker's settings were not read"), "mend the check of the worker first"}
	}
	var checks []check
	for _, k := range []struct {
		name  string
		do    func(context.Context) (string, error)
		after error
	}{
		{"seal key", e.sealKey, e.bindingsErr},
		{"secrets", e.secrets, cmp.Or(e.bindingsErr, e.err)},
		{"webhook secret", e.webhookSecret, cmp.Or(e.bindingsErr, e.err)},
		{"held token", e.heldToken, cmp.Or(e.bindingsErr, e.err)},
		{"rate limits", e.rateLimits, cmp.Or(e.bindingsErr, e.err)},
	} {
		detail, err := "", k.after
		if err == nil {
			detail, err = k.do(ctx)
		}
		checks = append(checks, newCheck(k.name, detail, err))
	}
	return checks
}

// edgeDoctor knows the worker's bindings, and what is named of them.
type edgeDoctor struct {
	*doctor
	bindings []cloudflare.Binding
	needs    needs

	bindingsErr, err error // why neither is known, or the latter
}

var errDocuments = &ailment{errors.New("not checked: the documents were not read"), "mend the checks of KV first"}

// needs reads all documents. One that cannot be read names nothing.
func (d *doctor) needs(ctx context.Context, bindings []cloudflare.Binding) (needs, error) {
	n := needs{secrets: map[string][]string{}, limits: map[string][]string{}}
	keys, err := d.store.List(ctx, "rollout:")
	if err != nil {
		return n, errDocuments
	}
	values, err := d.store.GetMany(ctx, keys)
	if err != nil {
		return n, errDocuments
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if doc, err := document.Parse(values[key]); err == nil {
			n.addDocument(doc)
		}
	}
	for _, b := range bindings {
		switch {
		case b.Name == variableAccess && b.Target != "":
			access, err := document.ParseAccess([]byte(b.Target))
			if err != nil {
				return n, &ailment{fmt.Errorf("read %s: %w", b.Name, err), "mend it in wrangler.toml, and deploy: until then nobody is let in"}
			}
			n.addAccess(b.Name, access)
			n.workerHolds = access.Token != ""
		case b.Name == variableAccess && b.Type == cloudflare.BindingSecret:
			n.workerHolds = true
		case b.Name == variableHeaders && b.Target != "":
			headers, err := document.ParseHeaders([]byte(b.Target))
			if err != nil {
				return n, &ailment{fmt.Errorf("read %s: %w", b.Name, err), "mend it in wrangler.toml, and deploy: until then nothing goes to Replicate"}
			}
			n.addHeaders(b.Name, headers)
		}
	}
	return n, nil
}

func (n *needs) addDocument(d *document.Document) {
	service := d.Service.String()
	if d.Outcomes == document.OutcomesWebhook {
		n.webhooks = append(n.webhooks, service)
	}
	if d.Access != nil {
		n.addAccess(service, d.Access)
		if d.Access.Token != "" {
			n.holders = append(n.holders, service)
		}
	}
	for _, t := range d.Targets {
		n.addHeaders(service, t.Headers)
	}
}

func (n *needs) addAccess(whose string, a *document.Access) {
	n.addSecret(whose, a.Token)
	if a.JWT != nil {
		n.addSecret(whose, a.JWT.Key)
	}
	if a.RateLimit != "" {
		n.limits[a.RateLimit] = append(n.limits[a.RateLimit], whose)
	}
}

func (n *needs) addHeaders(whose string, headers []document.Header) {
	for _, h := range headers {
		n.addSecret(whose, h.Value)
	}
}

func (n *needs) addSecret(whose, value string) {
	name, isSecret := strings.CutPrefix(value, "secret:")
	if isSecret && !slices.Contains(n.secrets[name], whose) {
		n.secrets[name] = append(n.secrets[name], whose)
	}
}

// has reports that the worker has a binding of that name, and of one of the types.
func (d *edgeDoctor) has(name string, types ...string) bool {
	return slices.ContainsFunc(d.bindings, func(b cloudflare.Binding) bool { return b.Name == name && slices.Contains(types, b.Type) })
}

func (d *edgeDoctor) putSecret(name string) string {
	return fmt.Sprintf("npm run wrangler -- secret put %s --env %s", name, d.settings.environment().name)
}

// sealKey compares the key here with the worker's.
func (d *edgeDoctor) sealKey(ctx context.Context) (string, error) {
	if !d.has(secretSealKey, cloudflare.BindingSecret) {
		return "", &ailment{fmt.Errorf("the worker has no secret %s", secretSealKey), "run orchestrator init, which makes one, or " + d.putSecret(secretSealKey)}
	}
	if d.keyErr != nil {
		return "", &ailment{d.keyErr, "set PERCH_SEAL_KEY to what orchestrator init has printed"}
	}
	if d.key == nil {
		return "", &ailment{errors.New("PERCH_SEAL_KEY is not set here"), "set it to what orchestrator init has printed; if that is lost, orchestrator init --rotate-seal-key --force makes another"}
	}
	ids, err := healthKeys(ctx, d.settings.workerURL)
	switch {
	case err != nil, d.settings.workerURL == "":
		return "", &ailment{errors.New("not compared: the worker's health was not read"), "mend the check of the worker's health first"}
	case len(ids) == 0:
		return "", &ailment{errors.New("the worker does not use its secret " + secretSealKey), "it is no key, or the worker is older than this command: set it again, or deploy"}
	case ids[0] == d.key.ID():
		return fmt.Sprintf("key %s, here and in the worker", ids[0]), nil
	case slices.Contains(ids, d.key.ID()):
		return "", &ailment{fmt.Errorf("the key here, %s, is the worker's former one", d.key.ID()), "set PERCH_SEAL_KEY to the one that replaced it, " + ids[0]}
	}
	return "", &ailment{fmt.Errorf("the key here, %s, is not the worker's, %s", d.key.ID(), ids[0]), "set PERCH_SEAL_KEY to the worker's, or give that this one: " + d.putSecret(secretSealKey)}
}

// secrets checks that the worker has whatever is named as secret:NAME.
func (d *edgeDoctor) secrets(context.Context) (string, error) {
	names := slices.Sorted(maps.Keys(d.needs.secrets))
	for _, name := range names {
		if !d.has(name, cloudflare.BindingSecret, cloudflare.BindingText) {
			return "", &ailment{fmt.Errorf("the worker has no secret %s, which %s names", name, strings.Join(d.needs.secrets[name], ", ")), d.putSecret(name)}
		}
	}
	if len(names) == 0 {
		return "none is named", nil
	}
	return "the worker has " + strings.Join(names, ", "), nil
}

func (d *edgeDoctor) webhookSecret(context.Context) (string, error) {
	switch {
	case len(d.needs.webhooks) == 0:
		return "no service learns outcomes by webhook", nil
	case !d.has(secretWebhook, cloudflare.BindingSecret):
		return "", &ailment{fmt.Errorf("the worker has no secret %s, so that %s learns no outcome by webhook", secretWebhook, strings.Join(d.needs.webhooks, ", ")),
			"set it to the key that GET /v1/webhooks/default/secret gives: " + d.putSecret(secretWebhook)}
	}
	return fmt.Sprintf("there, for %s", judge.FormatCount(int64(len(d.needs.webhooks)), "service")), nil
}

// heldToken warns where a token is held for some services only: a call that leads
// to none of them passes as it came, and its Authorization is a key of Perch's.
func (d *edgeDoctor) heldToken(context.Context) (string, error) {
	switch {
	case len(d.needs.holders) == 0 && !d.needs.workerHolds:
		return "none is held", nil
	case !d.needs.workerHolds:
		return "", warning{&ailment{fmt.Errorf("%s holds one, %s does not: calls that lead to no service pass a client's key on to Replicate",
			strings.Join(d.needs.holders, ", "), variableAccess), "set " + variableAccess + " in wrangler.toml to the same access, and deploy"}}
	}
	return variableAccess + " holds one for every path", nil
}

func (d *edgeDoctor) rateLimits(context.Context) (string, error) {
	names := slices.Sorted(maps.Keys(d.needs.limits))
	for _, name := range names {
		if !d.has(name, cloudflare.BindingRateLimit) {
			return "", &ailment{fmt.Errorf("the worker has no rate limit %s, which %s names: nobody is limited", name, strings.Join(d.needs.limits[name], ", ")),
				fmt.Sprintf("in wrangler.toml add [[env.%s.ratelimits]] with name = %q, and deploy", d.settings.environment().name, name)}
		}
	}
	if len(names) == 0 {
		return "none is named", nil
	}
	return "the worker has " + strings.Join(names, ", "), nil
}
