package upstream

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrainingLives(t *testing.T) {
	tests := []struct {
		name   string
		failed float64
		cancel bool
		state  string
	}{
		{"success", 0, false, "succeeded"}, {"failure", 1, false, "failed"}, {"canceled", 0, true, "canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{began: time.Now()}
				s := demo(t, func(o *Options) { o.WebhookClient = &http.Client{Transport: r} })
				require.NoError(t, s.SetBehavior(fluxCanary, Behavior{Latency: Fixed(10 * time.Second), FailedRate: tt.failed}))
				made := ask(s, "POST", "/v1/models/acme/flux/versions/"+fluxCanary+"/trainings",
					strings.TrimSuffix(newTraining, "}")+`,"webhook":"`+hook+`","webhook_events_filter":["completed"]}`).object(t)
				require.Equal(t, "starting", made["status"])
				path := "/v1/trainings/" + made["id"].(string)
				require.Equal(t, "http://upstream.test"+path, made["urls"].(map[string]any)["get"])
				time.Sleep(5 * time.Second)
				require.Equal(t, "processing", ask(s, "GET", path, "").object(t)["status"])
				if tt.cancel {
					require.Equal(t, 200, ask(s, "POST", path+"/cancel", "").status)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				ended := ask(s, "GET", path, "")
				require.Equal(t, tt.state, ended.object(t)["status"])
				output, succeeded := ended.object(t)["output"].(map[string]any)
				require.Equal(t, tt.state == "succeeded", succeeded)
				if succeeded {
					require.Regexp(t, "^acme/flux:[0-9a-f]{64}$", output["version"])
				}
				require.Equal(t, []string{strings.TrimSpace(string(ended.body))}, r.bodies)
				require.Zero(t, count(s), "trainings are not among the predictions")
			})
		})
	}
}

func TestTrainingRefuses(t *testing.T) {
	path := "/v1/models/acme/flux/versions/" + fluxCanary + "/trainings"
	tests := []struct {
		name, path, body string
		status           int
		detail           string
	}{
		{"version", "/v1/models/acme/chat/versions/" + fluxCanary + "/trainings", newTraining, 404, problemNotFound.Detail},
		{"nothing", path, "{}", 422, "- (root): destination is required\n- (root): input is required"},
		{"input", path, `{"destination":"acme/flux","input":7}`, 422, "- input: Invalid type. Expected: object"},
		{"destination of another", path, `{"destination":"evil/flux","input":{}}`, 422, "- destination: must be an existing model that you own"},
		{"destination that is not there", path, `{"destination":"acme/none","input":{}}`, 422, "- destination: must be an existing model that you own"},
		{"webhook", path, `{"destination":"acme/flux","input":{},"webhook":"http://a.test"}`, 422, "- webhook: Does not match format 'https-url'"},
		{"event", path, `{"destination":"acme/flux","input":{},"webhook_events_filter":["end"]}`, 422,
			`- webhook_events_filter: "end" is none of start, output, logs, completed`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := demo(t)
			got := ask(s, "POST", tt.path, tt.body)
			require.Equal(t, tt.status, got.status)
			require.Equal(t, tt.detail, got.object(t)["detail"])
			require.Empty(t, ask(s, "GET", "/v1/trainings", "").object(t)["results"])
		})
	}
	s := demo(t)
	require.Equal(t, 404, ask(s, "GET", "/v1/trainings/nobody", "").status)
	require.Equal(t, 404, ask(s, "GET", "/v1/trainings/"+predictOne(t, s), "").status)
}
