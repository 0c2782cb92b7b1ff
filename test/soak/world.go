package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"perch/orchestrator/cloudflare"
	"perch/shared/document"
	"perch/shared/seal"
	"perch/test/stack"
	"perch/test/upstream"
)

const (
	token = "soak-token"
	// timeScale makes KV's 30 s of cache last one second.
	timeScale = 30
)

var sealKey = seal.NewKey([seal.KeyBytes]byte{1, 2, 3})

// world is a local Cloudflare with an upstream behind it.
type world struct {
	upstream *upstream.Server
	stack    *stack.Stack
	api      cloudflare.Config
}

type worldOptions struct {
	worker   string // bundle's directory; "" for the one that was built
	places   int
	upstream upstream.Options
}

func newWorld(ctx context.Context, o worldOptions) (*world, error) {
	o.upstream.Seed = 1
	up, err := upstream.New(o.upstream)
	if err != nil {
		return nil, err
	}
	if err := up.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	vars := map[string]string{
		"REPLICATE_BASE_URL": up.URL() + "/v1",
		"PERCH_REFRESH_MS":   fmt.Sprint(5_000 / timeScale),
		"PERCH_MAX_AGE_MS":   fmt.Sprint(15_000 / timeScale),

		"PERCH_PRIVATE_WEBHOOKS": "1",
	}
	secrets := map[string]string{"PERCH_SEAL_KEY": sealKey.Text(), "REPLICATE_WEBHOOK_SECRET": up.WebhookSecret()}
	s, err := stack.Start(ctx, stack.Options{Worker: o.worker, Places: o.places, Vars: vars, Secrets: secrets, TimeScale: timeScale})
	if err != nil {
		return nil, errors.Join(err, up.Close())
	}
	return &world{up, s, cloudflare.Config{
		BaseURL: s.API, Account: s.Account, Token: s.Token, Namespace: s.Namespace, Dataset: s.Dataset,
	}}, nil
}

func (w *world) close() error { return errors.Join(w.stack.Close(), w.upstream.Close()) }

// versions adds a stable and a canary version of an official model to a catalog.
func versions(c *upstream.Catalog, model string, streams bool, b upstream.Behavior) {
	c.Models = append(c.Models, upstream.Model{Name: model, Official: true})
	for _, arm := range []string{document.Stable, document.Canary} {
		c.Versions = append(c.Versions, upstream.Version{Model: model, ID: upstream.VersionID(model, arm), Streams: streams, Behavior: b})
	}
}

// reference is how a target names the version of an arm.
func reference(model, arm string) string { return model + ":" + upstream.VersionID(model, arm) }

// modelRollout splits a model's requests between its two versions.
func modelRollout(model string, basisPoints int) document.Document {
	return document.Document{
		Service: document.Service{Kind: document.KindModel, Name: model}, Rollout: "r1", Generation: 1,
		Mode: document.ModeCanary, BasisPoints: basisPoints, Salt: "r1",
		Targets: []document.Target{
			{Name: document.Stable, Version: reference(model, document.Stable)},
			{Name: document.Canary, Version: reference(model, document.Canary)},
		},
		User: document.User{Header: document.DefaultUserHeader, Cookie: document.DefaultUserCookie},
	}
}

// serverRollout splits the requests of a plain model server.
func (w *world) serverRollout(name string, basisPoints int) document.Document {
	d := modelRollout("acme/any", basisPoints)
	d.Service = document.Service{Kind: document.KindHTTP, Name: name}
	d.Targets = nil
	for _, arm := range []string{document.Stable, document.Canary} {
		d.Targets = append(d.Targets, document.Target{Name: arm, URL: w.upstream.URL() + "/http/" + name + "-" + arm + "/"})
	}
	return d
}

// write puts documents into KV and waits until every place goes by them: a new isolate that must wait long for KV
// passes requests by.
func (w *world) write(ctx context.Context, documents ...document.Document) error {
	kv := cloudflare.NewKV(w.api)
	for _, d := range documents {
		if err := d.Validate(); err != nil {
			return err
		}
		if err := kv.Put(ctx, d.Service.RolloutKey(), d.Encode()); err != nil {
			return err
		}
		if err := w.awaitShown(ctx, d.Service.String(), d.BasisPoints/100); err != nil {
			return err
		}
	}
	return nil
}

// awaitShown waits until every place decides by a document with that percentage.
func (w *world) awaitShown(ctx context.Context, service string, percentage int) error {
	for _, place := range w.stack.Places {
		err := await(ctx, fmt.Sprintf("%s at %d %%", service, percentage), 20*time.Second, func() (bool, error) {
			r, err := send(ctx, call{method: http.MethodGet, url: place.URL + "/_perch/variant?service=" + service})
			if err != nil || r.status != http.StatusOK {
				return false, err
			}
			var shown struct{ Percentage int }
			err = json.Unmarshal(r.body, &shown)
			return shown.Percentage == percentage, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// await asks again until done says so, for at most a time.
func await(ctx context.Context, what string, most time.Duration, done func() (bool, error)) error {
	const pause = 100 * time.Millisecond
	for began := time.Now(); time.Since(began) < most; {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return fmt.Errorf("await %s: not within %s", what, most)
}
