// Package router decides who answers a request. It is pure, allocates nothing
// per decision, and compiles under TinyGo.
package router

import (
	"perch/shared/document"
	"perch/shared/lean"
)

// Action is what the shell does with a request.
type Action uint8

// The actions.
const (
	ActionNotFound   Action = iota
	ActionPass              // to Replicate, as it is
	ActionHealth            // answer /_perch/health
	ActionVariant           // answer /_perch/variant for Route.Service, if it was named
	ActionService           // route by the document of Route.Service
	ActionVersion           // the service follows from the body's version
	ActionPrediction        // poll or cancel Route.Prediction
	ActionAt                // go where Route.Seal leads
	ActionWebhook           // take a delivery for what Route.Seal names
	ActionFeedback          // take a rating, of Route.Service if it was named
)

// Endpoint is the form in which the client asked.
type Endpoint uint8

// The endpoints.
const (
	EndpointPredictions Endpoint = iota // POST /v1/predictions
	EndpointNamed                       // POST /v1/{models,deployments}/{owner}/{name}/predictions
	EndpointHTTP                        // anything below an http service's prefix
)

// Head is what is known of a request before its body.
type Head struct {
	Method string
	Path   string // percent-encoded, without the query
	// Service is the x-perch-service header, or the query parameter of
	// /_perch/variant and /_perch/feedback.
	Service string
	Upgrade bool // the client asks for another protocol, such as WebSocket
}

// Route says where a request belongs.
type Route struct {
	Action   Action
	Endpoint Endpoint
	Service  document.Service
	Variant  string // asked for by the path /@variant/…, or ""
	// Rest is the path to pass on: below /v1 for Replicate, below the service's
	// prefix for http services. It begins with a slash.
	Rest string
	// Undecided requests (OPTIONS, upgrades) go to stable.
	Undecided bool
	Shape     Shape // of a good answer
	// Prediction is the id in the path of an ActionPrediction, perhaps with "~"
	// and a seal behind it.
	Prediction string
	Seal       string // of ActionAt and ActionWebhook
	Cancel     bool   // the ActionPrediction is a cancellation
	Creates    bool   // a prediction, by Replicate's API
	Safe       bool   // by its method: sending it twice changes nothing
}

// Resolve finds the service that a request is for. A service header that names
// none is ignored; one that names an http service outranks the path, which is
// then passed on whole: model servers have paths below /v1 too.
func Resolve(h Head) Route {
	path, variant := cutVariant(h.Path)
	r := Route{Variant: variant, Rest: path, Undecided: h.Upgrade || h.Method == "OPTIONS", Safe: isSafe(h.Method)}
	named, isNamed := namedService(h.Service)
	if internal, found := cutSegment(path, "_perch"); found {
		return r.internal(h.Method, internal, named, isNamed)
	}
	if isNamed && named.Kind == document.KindHTTP {
		r.Action, r.Endpoint, r.Service = ActionService, EndpointHTTP, named
		return r
	}
	if rest, found := cutSegment(path, "v1"); found {
		return r.replicate(h.Method, rest, named, isNamed)
	}
	first, rest := firstSegment(path)
	if !document.IsSegment(first) {
		return r
	}
	r.Action, r.Endpoint, r.Rest = ActionService, EndpointHTTP, rest
	r.Service = document.Service{Kind: document.KindHTTP, Name: first}
	return r
}

// namedService reads a service header. Most requests have none, and an error
// would cost them its text.
func namedService(name string) (document.Service, bool) {
	if name == "" {
		return document.Service{}, false
	}
	service, err := document.ParseService(name)
	return service, err == nil
}

func isSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "QUERY":
		return true
	}
	return false
}

func (r Route) internal(method, path string, named document.Service, isNamed bool) Route {
	switch {
	case path == "/health":
		r.Action = ActionHealth
	case path == "/variant", path == "/feedback":
		r.Action = ActionVariant
		if path == "/feedback" {
			r.Action = ActionFeedback
		}
		if isNamed {
			r.Service = named
		}
	default:
		if seal, found := sealIn(path, "/at/"); found {
			r.Action, r.Seal = ActionAt, seal
		} else if seal, found := sealIn(path, "/webhook/"); found && method == "POST" {
			r.Action, r.Seal = ActionWebhook, seal
		}
	}
	return r
}

// sealIn returns what stands behind the prefix, if it can be a seal.
func sealIn(path, prefix string) (string, bool) {
	seal, found := lean.CutPrefix(path, prefix)
	for i := 0; i < len(seal); i++ {
		c := seal[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && c != '.' && c != '_' && c != '-' {
			return "", false
		}
	}
	return seal, found && seal != ""
}

func (r Route) replicate(method, rest string, named document.Service, isNamed bool) Route {
	r.Action, r.Rest = ActionPass, rest
	if r.Undecided {
		return r
	}
	r.Shape = shapeOf(method, rest)
	if id, cancel, found := predictionIn(method, rest); found {
		r.Action, r.Prediction, r.Cancel = ActionPrediction, id, cancel
		return r
	}
	if method != "POST" {
		return r
	}
	if rest == "/predictions" {
		r.Action = ActionVersion
	} else if service, found := createdService(rest); found {
		r.Action, r.Endpoint, r.Service = ActionService, EndpointNamed, service
	} else {
		return r
	}
	r.Creates = true
	if isNamed {
		r.Action, r.Service = ActionService, named
	}
	return r
}

// predictionIn reads GET /predictions/{id} and POST /predictions/{id}/cancel.
func predictionIn(method, path string) (id string, cancel, found bool) {
	switch {
	case (method == "GET" || method == "HEAD") && matches(path, "/predictions/*"):
		id = path[len("/predictions/"):]
	case method == "POST" && matches(path, "/predictions/*/cancel"):
		id, cancel = path[len("/predictions/"):len(path)-len("/cancel")], true
	default:
		return "", false, false
	}
	// Some clients escape the tilde before a seal, though none need.
	if before, after, escaped := lean.Cut(id, '%'); escaped && len(after) > 1 && after[0] == '7' && after[1]|0x20 == 'e' {
		id = before + "~" + after[2:]
	}
	return id, cancel, true
}

// createdService reads /models/{owner}/{name}/predictions and the like.
func createdService(path string) (document.Service, bool) {
	kind := document.KindModel
	name, found := lean.CutPrefix(path, "/models/")
	if !found {
		kind = document.KindDeployment
		name, found = lean.CutPrefix(path, "/deployments/")
	}
	if !found {
		return document.Service{}, false
	}
	name, found = lean.CutSuffix(name, "/predictions")
	if !found || !document.IsOwnerName(name) {
		return document.Service{}, false
	}
	return document.Service{Kind: kind, Name: name}, true
}

// cutVariant takes /@stable or /@canary off the front of a path.
func cutVariant(path string) (rest, variant string) {
	for _, name := range [...]string{document.Stable, document.Canary} {
		if rest, found := lean.CutPrefix(path, "/@"+name); found && (rest == "" || rest[0] == '/') {
			if rest == "" {
				rest = "/"
			}
			return rest, name
		}
	}
	return path, ""
}

// cutSegment takes the given first segment off a path.
func cutSegment(path, segment string) (rest string, found bool) {
	first, rest := firstSegment(path)
	return rest, first == segment
}

//go:noinline
func firstSegment(path string) (first, rest string) {
	path, _ = lean.CutPrefix(path, "/")
	if i := lean.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, "/"
}

// Lookup names the KV entries that tell which service a version belongs to:
// the alias of its id, or the document of the model that it names.
type Lookup struct {
	Alias   string           // KV key, or ""
	Service document.Service // if Alias is ""
}

// ResolveVersion reads the version of a POST /v1/predictions body: an id,
// owner/name:id, or owner/name. It reports false for anything else.
func ResolveVersion(version string) (Lookup, bool) {
	name, id, found := lean.Cut(version, ':')
	switch {
	case found && document.IsOwnerName(name) && document.IsVersionID(id):
		return Lookup{Alias: document.AliasKey("version", id)}, true
	case found:
		return Lookup{}, false
	case document.IsVersionID(version):
		return Lookup{Alias: document.AliasKey("version", version)}, true
	case document.IsOwnerName(version):
		return Lookup{Service: document.Service{Kind: document.KindModel, Name: version}}, true
	}
	return Lookup{}, false
}
