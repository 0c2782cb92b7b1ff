package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"perch/orchestrator/cloudflare"
	"perch/orchestrator/judge"
	"perch/orchestrator/policy"
	"perch/shared/document"
)

// validation is what validate found in one place.
type validation struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"` // "policy" or "document"
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	// Policy is a valid policy with its defaults filled in.
	Policy *policy.Policy `json:"policy,omitempty"`
	// Edge are the fields of its section edge.
	Edge  []string `json:"edge,omitempty"`
	about string
}

func (a *app) validateCommand() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check policy files and rollout documents", ArgsUsage: "[FILE …]", Category: "see",
		Description: "A FILE ends in .yaml or .yml (a policy) or in .json (a rollout document). Without files it checks\n" +
			"the policy in force and, with --service, the document that stands in KV. Exit code 2: not valid.\n\n" +
			"Example:\n  orchestrator validate perch.yaml document.json",
		Action: a.validate,
	}
}

func (a *app) validate(c *cli.Context) error {
	if err := refuseStrayArguments(c, c.NArg()); err != nil {
		return err
	}
	found, err := a.validations(c)
	if err != nil {
		return err
	}
	if given(c, "json") != nil {
		err = a.printJSON(found)
	} else {
		printValidations(a, found)
	}
	problems := 0
	for _, v := range found {
		problems += len(v.Problems)
	}
	if err == nil && problems > 0 {
		return invalid("each line above says what is allowed", "%s found", judge.FormatCount(int64(problems), "problem"))
	}
	return err
}

func (a *app) validations(c *cli.Context) ([]validation, error) {
	var found []validation
	for _, path := range c.Args().Slice() {
		v, err := validateFile(path)
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	if len(found) > 0 {
		return found, nil
	}
	inForce, err := a.validateInForce(c)
	if err != nil {
		return nil, err
	}
	found = append(found, inForce)
	if a.value(c, "service") == "" {
		return found, nil
	}
	v, err := a.validateStored(c.Context, c)
	return append(found, v), err
}

// validateInForce checks the policy that a rollout would start with.
func (a *app) validateInForce(c *cli.Context) (validation, error) {
	path := a.value(c, "policy")
	if path == "" {
		path = defaultPolicy
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return validPolicy("default policy, as there is no "+path, policy.Default()), nil
		}
	}
	return validateFile(path)
}

func validateFile(path string) (validation, error) {
	extension := strings.ToLower(filepath.Ext(path))
	if extension != ".yaml" && extension != ".yml" && extension != ".json" {
		return validation{}, invalid("a service is given by --service", "file %s ends in neither .yaml, .yml nor .json", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return validation{}, invalid("check the path; without a FILE the policy in force is checked", "read file: %w", err)
	}
	if extension == ".json" {
		return validateDocument(path, text), nil
	}
	p, err := policy.Parse(text)
	if err != nil {
		return validation{Name: path, Kind: "policy", Problems: problemsOf(err)}, nil
	}
	return validPolicy(path, p), nil
}

func validPolicy(name string, p policy.Policy) validation {
	return validation{Name: name, Kind: "policy", OK: true, Policy: &p, Edge: p.Edge.Fields(), about: policyTitle(p)}
}

func policyTitle(p policy.Policy) string {
	steps := make([]string, len(p.Steps))
	for i, step := range p.Steps {
		steps[i] = step.String()
	}
	text := fmt.Sprintf("steps %s %%, %s each, deadline %s", strings.Join(steps, " → "), p.Bake, p.Deadline)
	if p.Auto {
		text = "steps by the traffic when a rollout starts"
	}
	if !p.Edge.IsEmpty() {
		text += "; edge sets " + strings.Join(p.Edge.Fields(), ", ")
	}
	return text
}

func validateDocument(name string, text []byte) validation {
	d, err := document.ParseStrict(text)
	v := validation{Name: name, Kind: "document", OK: err == nil, Problems: problemsOf(err)}
	if err == nil {
		v.about = fmt.Sprintf("%s, rollout %s at %s %%", d.Service, d.Rollout, document.FormatPercentage(d.BasisPoints))
	}
	return v
}

// validateStored checks the document in KV.
func (a *app) validateStored(ctx context.Context, c *cli.Context) (validation, error) {
	s, err := a.settings(c)
	if err != nil {
		return validation{}, err
	}
	service, err := s.requireService()
	if err != nil {
		return validation{}, err
	}
	x, err := a.open(s, service)
	if err != nil {
		return validation{}, err
	}
	text, err := x.store.Get(ctx, service.RolloutKey())
	if errors.Is(err, cloudflare.ErrNotFound) {
		return validation{}, refused("orchestrator init writes the first one", "service %s has no document", service)
	}
	if err != nil {
		return validation{}, err
	}
	return validateDocument("KV key "+service.RolloutKey(), text), nil
}

func problemsOf(err error) []string {
	var ofPolicy *policy.Invalid
	var ofDocument *document.Invalid
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ofPolicy):
		return ofPolicy.Problems
	case errors.As(err, &ofDocument):
		return ofDocument.Problems
	}
	return []string{err.Error()}
}

func printValidations(a *app, found []validation) {
	for _, v := range found {
		if v.OK {
			fmt.Fprintf(a.stdout, "%s: valid %s: %s\n", v.Name, v.Kind, v.about)
		}
		for _, problem := range v.Problems {
			fmt.Fprintf(a.stdout, "%s: %s\n", v.Name, problem)
		}
	}
}
