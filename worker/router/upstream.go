package router

import (
	"perch/shared/document"
	"perch/shared/lean"
)

// Edit is what happens to the top-level "version" of a request's body.
type Edit uint8

// The edits.
const (
	EditNone Edit = iota
	EditSet
	EditRemove
)

// EditFor says how the body of a request must change for a target. version is
// the one that the body names, where it was read.
func EditFor(t *document.Target, endpoint Endpoint, version string) Edit {
	if endpoint == EndpointHTTP {
		return EditNone
	}
	if t.Version != "" {
		if endpoint == EndpointPredictions && version == t.Version {
			return EditNone
		}
		_, id, _ := lean.Cut(version, ':')
		if endpoint == EndpointPredictions && version != "" && (version == t.VersionID() || id == t.VersionID()) {
			return EditNone
		}
		return EditSet
	}
	if endpoint == EndpointPredictions {
		return EditRemove
	}
	return EditNone
}

// ReplicatePath returns the path below Replicate's base URL that creates
// predictions of a target, or "" for a url target.
func ReplicatePath(t *document.Target) string {
	switch {
	case t.Version != "":
		return "/predictions"
	case t.Deployment != "":
		return "/deployments/" + t.Deployment + "/predictions"
	case t.Model != "":
		return "/models/" + t.Model + "/predictions"
	}
	return ""
}
