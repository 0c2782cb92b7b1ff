package rollout

import "perch/shared/document"

// Target is a document.Target in JSON.
type Target struct {
	Version    string `json:"version,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	Model      string `json:"model,omitempty"`
	URL        string `json:"url,omitempty"`

	Credentials   bool              `json:"credentials,omitempty"`
	Headers       []document.Header `json:"headers,omitempty"`
	Fallback      string            `json:"fallback,omitempty"`
	TimeoutMS     int64             `json:"timeout_ms,omitempty"`
	IdleTimeoutMS int64             `json:"idle_timeout_ms,omitempty"`
}

// newTarget returns a target without its name.
func newTarget(t document.Target) *Target {
	return &Target{t.Version, t.Deployment, t.Model, t.URL, t.Credentials, t.Headers, t.Fallback, t.TimeoutMS, t.IdleTimeoutMS}
}

// target is the inverse of newTarget.
func (t Target) target(name string) document.Target {
	return document.Target{
		Name: name, Version: t.Version, Deployment: t.Deployment, Model: t.Model, URL: t.URL,
		Credentials: t.Credentials, Headers: t.Headers, Fallback: t.Fallback, TimeoutMS: t.TimeoutMS, IdleTimeoutMS: t.IdleTimeoutMS,
	}
}
