package command

import (
	"strings"

	"perch/shared/document"
)

const targetHint = "write version=acme/flux:<64 hexadecimal digits>, deployment=acme/next, model=acme/flux, url=https://… " +
	"or url+credentials=https://…"

// withCredentials marks a url that is to get the clients' Authorization and cookies.
const withCredentials = "+credentials"

// parseTarget reads what flags call a TARGET, such as deployment=acme/next. Its
// value is checked with the document that it goes into.
func parseTarget(flag, text string) (document.Target, error) {
	var t document.Target
	kind, value, _ := strings.Cut(text, "=")
	if kind == "url"+withCredentials {
		kind, t.Credentials = "url", true
	}
	field := map[string]*string{"version": &t.Version, "deployment": &t.Deployment, "model": &t.Model, "url": &t.URL}[kind]
	if field == nil || value == "" {
		return t, invalid(targetHint, "--%s %q is not a target", flag, text)
	}
	*field = value
	return t, nil
}
