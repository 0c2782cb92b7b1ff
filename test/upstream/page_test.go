package upstream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// walk follows next to the end, then previous back to the start, and returns the ids of each page in both directions.
func walk(t *testing.T, s *Server, path, key string) (forth, back []string) {
	link := "next"
	for path != "" {
		got := ask(s, "GET", strings.TrimPrefix(path, "http://upstream.test"), "")
		require.Equal(t, 200, got.status, path)
		var ids []string
		for _, item := range got.object(t)["results"].([]any) {
			ids = append(ids, fmt.Sprint(item.(map[string]any)[key]))
		}
		pages := &forth
		if link == "previous" {
			pages = &back
		}
		*pages = append(*pages, strings.Join(ids, " "))
		next, _ := got.object(t)[link].(string)
		if next == "" && link == "next" {
			link = "previous"
			next, _ = got.object(t)[link].(string)
		}
		if next != "" {
			require.True(t, strings.HasPrefix(next, "http://upstream.test/v1/"), next)
		}
		path = next
	}
	return forth, back
}

func TestEveryListHasPages(t *testing.T) {
	for _, tt := range []struct {
		path, key   string
		forth, back []string
	}{
		{"/v1/deployments", "name", []string{"chat-canary chat-stable", "flux-canary flux-stable"}, []string{"chat-canary chat-stable"}},
		{"/v1/models?sort_by=model_created_at&sort_direction=asc", "name", []string{"chat flux"}, nil},
		{"/v1/collections", "slug", []string{"official streaming-language-models", "text-to-image"}, []string{"official streaming-language-models"}},
		{"/v1/models/acme/flux/examples", "status", []string{"succeeded succeeded", "succeeded"}, []string{"succeeded succeeded"}},
		{"/v1/models/acme/flux/versions", "id", []string{fluxStable + " " + fluxCanary}, nil},
	} {
		t.Run(tt.path, func(t *testing.T) {
			s := demo(t, func(o *Options) { o.PageSize = 2 })
			forth, back := walk(t, s, tt.path, tt.key)
			require.Equal(t, tt.forth, forth)
			require.Equal(t, tt.back, back)
		})
	}
	s := demo(t, func(o *Options) { o.PageSize = 2 })
	for path, make := range map[string]func(*testing.T, *Server) string{
		"/v1/predictions?created_after=2020-01-01T00:00:00%2B00:00": predictOne, "/v1/trainings": trainOne, "/v1/files": uploadOne,
	} {
		var made [5]string
		for i := range made {
			made[4-i] = make(t, s)
		}
		forth, back := walk(t, s, path, "id")
		require.Equal(t, []string{made[0] + " " + made[1], made[2] + " " + made[3], made[4]}, forth, "newest first")
		require.Equal(t, []string{forth[1], forth[0]}, back)
	}
	require.Equal(t, 404, ask(s, "GET", "/v1/predictions?cursor=%21", "").status)
	require.Equal(t, 404, ask(s, "GET", "/v1/predictions?cursor=cD1ub2JvZHk", "").status)
}

func TestPageSizeMustBePositive(t *testing.T) {
	_, err := New(Options{PageSize: -1})
	require.EqualError(t, err, "make upstream: page size is -1, use at least 1")
}
