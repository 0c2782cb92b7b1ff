package upstream

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Each case creates a prediction that queues 10 s and runs 20 s, then looks at it at the given seconds.
func TestPredictionOverTime(t *testing.T) {
	type look struct {
		at      int
		state   string
		started bool
		predict any // metrics.predict_time; nil without metrics
	}
	tests := []struct {
		name        string
		failed      float64
		cancelAfter string
		cancelAt    int
		looks       []look
	}{
		{"success", 0, "", 0, []look{{0, "starting", false, nil}, {9, "starting", false, nil}, {10, "processing", true, nil}, {29, "processing", true, nil}, {30, "succeeded", true, 20.0}}},
		{"failure", 1, "", 0, []look{{29, "processing", true, nil}, {30, "failed", true, 20.0}}},
		{"canceled while starting", 0, "", 5, []look{{4, "starting", false, nil}, {5, "canceled", false, nil}, {40, "canceled", false, nil}}},
		{"canceled while running", 0, "", 15, []look{{14, "processing", true, nil}, {15, "canceled", true, 5.0}, {40, "canceled", true, 5.0}}},
		{"canceled too late", 0, "", 35, []look{{35, "succeeded", true, 20.0}}},
		{"deadline before the start", 0, "5s", 0, []look{{4, "starting", false, nil}, {5, "aborted", false, nil}}},
		{"deadline while running", 0, "0m25s", 0, []look{{24, "processing", true, nil}, {25, "canceled", true, 15.0}}},
		{"deadline after the end", 0, "1h", 0, []look{{30, "succeeded", true, 20.0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := demo(t)
				require.NoError(t, s.SetBehavior(fluxStable, Behavior{
					Queue: Fixed(10 * time.Second), Latency: Fixed(20 * time.Second), FailedRate: tt.failed,
				}))
				began := time.Now()
				created := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Cancel-After: "+tt.cancelAfter).object(t)
				require.Equal(t, tt.cancelAfter != "", created["deadline"] != nil)
				path := "/v1/predictions/" + created["id"].(string)
				canceled := false
				for _, look := range tt.looks {
					if tt.cancelAt > 0 && look.at >= tt.cancelAt && !canceled {
						time.Sleep(time.Until(began.Add(time.Duration(tt.cancelAt) * time.Second)))
						require.Equal(t, 200, ask(s, "POST", path+"/cancel", "").status)
						canceled = true
					}
					time.Sleep(time.Until(began.Add(time.Duration(look.at) * time.Second)))
					got := ask(s, "GET", path, "").object(t)
					require.Equal(t, look.state, got["status"], "at %d s", look.at)
					require.Equal(t, look.started, got["started_at"] != nil, "at %d s", look.at)
					ended := look.state != "starting" && look.state != "processing"
					require.Equal(t, ended, got["metrics"] != nil)
					require.Equal(t, ended, got["completed_at"] != nil)
					require.Equal(t, look.state == "failed", got["error"] != nil)
					require.Equal(t, look.state == "succeeded", got["output"] != nil)
					require.Contains(t, got, "output")
					if ended {
						require.Equal(t, look.predict, got["metrics"].(map[string]any)["predict_time"])
					}
				}
			})
		})
	}
}

func TestCancelEndsASynchronousCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		began := time.Now()
		answer := make(chan reply)
		go func() { answer <- ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait") }()
		time.Sleep(300 * time.Millisecond)
		id := s.Log()[0].Prediction
		require.Equal(t, "canceled", ask(s, "POST", "/v1/predictions/"+id+"/cancel", "").object(t)["status"])
		got := <-answer
		require.Equal(t, 300*time.Millisecond, time.Since(began))
		require.Equal(t, 201, got.status)
		require.Equal(t, "canceled", got.object(t)["status"])
	})
}

func TestDataAreRemovedAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t)
		id := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable), "Prefer: wait").object(t)["id"].(string)
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, false, ask(s, "GET", "/v1/predictions/"+id, "").object(t)["data_removed"])
		time.Sleep(time.Second)
		got := ask(s, "GET", "/v1/predictions/"+id, "").object(t)
		require.Equal(t, true, got["data_removed"])
		require.Equal(t, map[string]any{}, got["input"])
		require.Nil(t, got["output"])
		require.Contains(t, got, "output")
	})
}

func TestURLsAreAbsolute(t *testing.T) {
	for base, origin := range map[string]string{"": "http://upstream.test", "https://gateway.test/acme/": "https://gateway.test/acme"} {
		s := demo(t, func(o *Options) { o.BaseURL = base })
		p := ask(s, "POST", "/v1/predictions", createBodyOf(chatStable)).object(t)
		id := p["id"].(string)
		require.Len(t, id, 26)
		urls := p["urls"].(map[string]any)
		require.Equal(t, origin+"/v1/predictions/"+id, urls["get"])
		require.Equal(t, origin+"/v1/predictions/"+id+"/cancel", urls["cancel"])
		require.Equal(t, origin+"/p/"+id, urls["web"])
		require.Regexp(t, "^"+origin+"/v1/streams/"+id+"-[a-z2-7]{26}$", urls["stream"])
		flux := ask(s, "POST", "/v1/predictions", createBodyOf(fluxStable)).object(t)
		require.NotContains(t, flux["urls"], "stream", "a version that cannot stream has no stream")
	}
}

func TestListPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := demo(t, func(o *Options) { o.BaseURL = "http://upstream.test" })
		for i := range 250 {
			ask(s, "POST", "/v1/predictions", `{"version":"`+fluxStable+`","input":{"prompt":"`+strconv.Itoa(i)+`"}}`)
			time.Sleep(time.Second)
		}
		var seen []string
		path := "/v1/predictions"
		var sizes []int
		for path != "" {
			got := ask(s, "GET", path, "").object(t)
			results := got["results"].([]any)
			sizes = append(sizes, len(results))
			for _, p := range results {
				seen = append(seen, p.(map[string]any)["input"].(map[string]any)["prompt"].(string))
			}
			next, _ := got["next"].(string)
			path = next[min(len(next), len("http://upstream.test")):]
		}
		require.Equal(t, []int{100, 100, 50}, sizes)
		for i, prompt := range seen {
			require.Equal(t, strconv.Itoa(249-i), prompt, "newest first")
		}
		require.Len(t, seen, 250)
		between := ask(s, "GET", "/v1/predictions?created_after=2000-01-01T00:00:10Z&created_before=2000-01-01T00:00:12Z", "").object(t)
		require.Len(t, between["results"], 2)
		require.Empty(t, ask(s, "GET", "/v1/predictions?source=web", "").object(t)["results"])
		require.Equal(t, 422, ask(s, "GET", "/v1/predictions?created_after=yesterday", "").status)
	})
}

func TestStoreForgetsTheOldest(t *testing.T) {
	store := newPredictionStore(2, 1, 1)
	all := []*prediction{{}, {}, {}}
	for _, p := range all {
		store.add(p)
	}
	require.Nil(t, store.get(all[0].id))
	require.Same(t, all[2], store.get(all[2].id))
	require.Equal(t, []*prediction{all[2], all[1]}, store.between(time.Time{}, time.Time{}))
}
