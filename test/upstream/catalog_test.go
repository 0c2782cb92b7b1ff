package upstream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewRefusesContradictions(t *testing.T) {
	known := Version{Model: "acme/flux", ID: fluxStable}
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"short id", Options{Catalog: Catalog{Versions: []Version{{Model: "acme/flux", ID: "abc"}}}},
			`make upstream: add version abc: id "abc" is not 64 hex digits`},
		{"model without owner", Options{Catalog: Catalog{Versions: []Version{{Model: "flux", ID: fluxStable}}}},
			`make upstream: add version ` + fluxStable + `: model "flux" is not owner/name`},
		{"twice", Options{Catalog: Catalog{Versions: []Version{known, known}}},
			`make upstream: add version ` + fluxStable + `: id is listed twice`},
		{"model without versions", Options{Catalog: Catalog{Models: []Model{{Name: "acme/flux"}}}},
			`make upstream: add model acme/flux: no version of it is listed`},
		{"latest of another", Options{Catalog: Catalog{Versions: []Version{known}, Models: []Model{{Name: "acme/flux", Latest: "x"}}}},
			`make upstream: add model acme/flux: latest "x" is none of its versions`},
		{"deployment of nothing", Options{Catalog: Catalog{Deployments: map[string]string{"acme/app": fluxStable}}},
			`make upstream: add deployment acme/app: version "` + fluxStable + `" is not listed`},
		{"plain name", Options{Catalog: Catalog{HTTP: []HTTPModel{{Name: "a/b"}}}},
			`make upstream: add plain model a/b: name is not made of a-z, 0-9, dot, dash and underscore`},
		{"plain model's version", Options{Catalog: Catalog{HTTP: []HTTPModel{{Name: "a", Version: "x"}}}},
			`make upstream: add plain model a: version "x" is not listed`},
		{"negative scale", Options{Scale: -1}, `make upstream: scale is -1, use more than 0`},
		{"negative limit", Options{RateLimit: RateLimit{Creates: -1}}, `make upstream: rate limit is negative, use 0 for none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.o)
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestVersionReferences(t *testing.T) {
	s := demo(t, func(o *Options) {
		o.Catalog.Models[1].Shown = "hidden"
		o.Catalog.Versions = append(o.Catalog.Versions, Version{Model: "acme/private", ID: VersionID("acme/private")})
	})
	tests := []struct {
		name, ref    string
		found, shown string
	}{
		{"id", fluxCanary, fluxCanary, fluxCanary},
		{"qualified id", "acme/flux:" + fluxCanary, fluxCanary, fluxCanary},
		{"official model", "acme/flux", fluxStable, fluxStable},
		{"official model that hides its version", "acme/chat", chatStable, "hidden"},
		{"model that is not official", "acme/private", "", ""},
		{"id of another model", "acme/chat:" + fluxCanary, "", ""},
		{"unknown id", VersionID("nobody"), "", ""},
		{"unknown model", "acme/nothing", "", ""},
		{"empty", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, ok := s.catalog.reference(tt.ref)
			require.Equal(t, tt.found != "", ok)
			if ok {
				require.Equal(t, tt.found, found.version.ID)
				require.Equal(t, tt.shown, found.shown)
			}
		})
	}
}
