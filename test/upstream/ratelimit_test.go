package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		create := func() reply { return ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)) }
		require.Empty(t, create().header.Get("ratelimit-remaining"), "off by default")
		require.NoError(t, s.SetRateLimit(RateLimit{Creates: 2}))
		first := create()
		require.Equal(t, "1", first.header.Get("ratelimit-remaining"))
		require.Equal(t, "60", first.header.Get("ratelimit-reset"))
		require.Equal(t, 201, create().status)
		time.Sleep(30 * time.Second)
		refused := create()
		require.Equal(t, 429, refused.status)
		require.Equal(t, "application/problem+json", refused.header.Get("Content-Type"))
		require.Equal(t, map[string]any{
			"title": "Too many requests", "status": 429.0, "retry_after": 30.0,
			"detail": "Request was throttled. Your rate limit resets in ~30s.",
		}, refused.object(t))
		require.Equal(t, 200, ask(s, "GET", "/v1/account", "").status, "other calls are counted apart")
		time.Sleep(30 * time.Second)
		require.Equal(t, 201, create().status)
	})
}
