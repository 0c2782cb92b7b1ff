package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func predictor(t *testing.T) *Server {
	return demo(t, func(o *Options) {
		o.Catalog.HTTP = append(o.Catalog.HTTP, HTTPModel{Name: "own", Version: chatStable}, HTTPModel{Name: "other", Version: chatStable})
	})
}

// A model server makes predictions as Replicate does, without a token and under its own URLs.
func TestModelServerPredicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := predictor(t)
		body := `{"input":{"prompt":"hello there"}}`
		sync := ask(s, "POST", "/http/own/predictions", body, "Authorization: ", "Prefer: wait")
		require.Equal(t, 201, sync.status)
		require.Equal(t, "own", sync.header.Get("x-model"))
		require.Equal(t, "processing", sync.object(t)["status"])
		require.Len(t, sync.object(t)["output"], 3)

		made := ask(s, "POST", "/http/own/predictions", body).object(t)
		id := made["id"].(string)
		urls := made["urls"].(map[string]any)
		require.Equal(t, "http://upstream.test/http/own/predictions/"+id, urls["get"])
		require.Equal(t, urls["get"].(string)+"/cancel", urls["cancel"])
		require.Equal(t, "/http/own/predictions", s.Log()[1].Path)
		require.Equal(t, chatStable, s.Log()[1].Version)
		time.Sleep(500 * time.Millisecond)
		require.Equal(t, "processing", ask(s, "GET", "/http/own/predictions/"+id, "").object(t)["status"])
		require.Equal(t, "canceled", ask(s, "POST", "/http/own/predictions/"+id+"/cancel", "").object(t)["status"])
		got := stream(s, urls["stream"].(string), "", time.Now())
		require.Contains(t, strings.Join(got.pieces, ""), `data: {"reason": "canceled"}`)

		for _, path := range []string{"/v1/predictions/" + id, "/http/other/predictions/" + id, "/http/qwen-stable/predictions/" + id + "/x/y"} {
			require.NotContains(t, string(ask(s, "GET", path, "").body), `"`+id+`"`, path)
		}
		require.Empty(t, ask(s, "GET", "/v1/predictions", "").object(t)["results"])
		require.Equal(t, "/generate", ask(s, "POST", "/http/own/generate", "x").object(t)["path"], "else it echoes")
		require.Equal(t, 422, ask(s, "POST", "/http/own/predictions", createBodyOf(chatStable)).status, "it has but one version")
	})
}

func TestModelServersFaults(t *testing.T) {
	s := predictor(t)
	body := `{"input":{"prompt":"hello there"}}`
	require.NoError(t, s.SetFault("own", Fault{Name: FaultStatus, Status: 503}))
	require.Equal(t, 503, ask(s, "POST", "/http/own/predictions", body).status)
	require.Equal(t, 201, ask(s, "POST", "/http/other/predictions", body).status)
	require.Equal(t, 201, ask(s, "POST", "/v1/predictions", createBodyOf(chatStable)).status)
	require.NoError(t, s.SetFault("own", Fault{Name: FaultFailed}))
	require.Equal(t, "failed", ask(s, "POST", "/http/own/predictions", body, "Prefer: wait").object(t)["status"])
	require.NoError(t, s.SetFault("own"))
	require.NoError(t, s.SetFault("*", Fault{Name: FaultStatus, Times: 1}))
	require.Equal(t, 500, ask(s, "POST", "/http/own/predictions", body).status)
	require.Equal(t, 201, ask(s, "POST", "/http/own/predictions", body).status)
}
