package router

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/document"
	"perch/worker/wasmtest/scenario"
)

func head(c scenario.Case) Head {
	method, path, _ := strings.Cut(c.Get("request"), " ")
	return Head{Method: method, Path: path, Service: c.Get("service"), Upgrade: c.Get("upgrade") == "1"}
}

// describe writes a route as testdata/resolve.txt does.
func describe(r Route) string {
	text := []string{
		[]string{"not-found", "pass", "health", "variant", "service", "version", "prediction", "at", "webhook", "feedback"}[r.Action],
		[]string{"predictions", "named", "http"}[r.Endpoint],
	}
	if r.Service != (document.Service{}) {
		text = append(text, r.Service.String())
	}
	text = append(text, "rest")
	if r.Rest != "" {
		text = append(text, r.Rest)
	}
	if r.Variant != "" {
		text = append(text, "variant", r.Variant)
	}
	if r.Undecided {
		text = append(text, "undecided")
	}
	if r.Shape != ShapeNone && !r.Creates {
		text = append(text, []string{"", "of a prediction", "of predictions", "of a page"}[r.Shape])
	}
	if r.Prediction != "" {
		text = append(text, "id", r.Prediction)
	}
	if r.Cancel {
		text = append(text, "cancel")
	}
	if r.Seal != "" {
		text = append(text, "seal", r.Seal)
	}
	return strings.Join(text, " ")
}

func TestResolve(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "resolve.txt"), "request", "service", "upgrade") {
		t.Run(c.Intent, func(t *testing.T) {
			require.Equal(t, c.Want, describe(Resolve(head(c))), c.Where)
		})
	}
}

func TestResolveVersion(t *testing.T) {
	for _, c := range scenario.Read(t, filepath.Join("testdata", "version.txt"), "version") {
		t.Run(c.Intent, func(t *testing.T) {
			lookup, found := ResolveVersion(c.Get("version"))
			got := "none"
			switch {
			case found && lookup.Alias != "":
				got = lookup.Alias
				require.Zero(t, lookup.Service)
			case found:
				got = lookup.Service.String()
			default:
				require.Zero(t, lookup)
			}
			require.Equal(t, c.Want, got, c.Where)
		})
	}
}

// checkRoute holds a route to what the shell relies on.
func checkRoute(t testing.TB, h Head, r Route) {
	if r.Service != (document.Service{}) {
		parsed, err := document.ParseService(r.Service.String())
		require.NoError(t, err, "%q", h)
		require.Equal(t, r.Service, parsed, "%q", h)
	}
	if r.Action == ActionService {
		require.NotZero(t, r.Service, "%q", h)
		require.Equal(t, r.Service.Kind == document.KindHTTP, r.Endpoint == EndpointHTTP, "%q", h)
	}
	require.Contains(t, []string{"", document.Stable, document.Canary}, r.Variant)
	require.True(t, strings.HasSuffix(h.Path, r.Rest) || r.Rest == "/", "rest %q of %q", r.Rest, h.Path)
	if strings.HasPrefix(h.Path, "/") {
		require.True(t, strings.HasPrefix(r.Rest, "/"), "rest %q of %q", r.Rest, h.Path)
	}
	isCreate := r.Action == ActionVersion || r.Action == ActionService && r.Endpoint != EndpointHTTP
	require.Equal(t, isCreate, r.Creates, "%q", h)
	if r.Creates {
		require.Equal(t, "POST", h.Method)
		require.Equal(t, ShapePrediction, r.Shape)
		require.False(t, r.Undecided)
	}
	require.Equal(t, r.Action == ActionPrediction, r.Prediction != "", "%q", h)
	require.Equal(t, r.Action == ActionAt || r.Action == ActionWebhook, r.Seal != "", "%q", h)
	require.False(t, r.Cancel && (h.Method != "POST" || r.Action != ActionPrediction), "%q", h)
	require.NotContains(t, r.Prediction, "/")
	if r.Endpoint == EndpointHTTP {
		require.Zero(t, r.Shape)
	}
	require.Equal(t, h.Method == "GET" || h.Method == "HEAD" || h.Method == "OPTIONS" || h.Method == "QUERY", r.Safe)
}

// TestResolveRandom: any text has a route, and its service is one.
func TestResolveRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"/", "v1", "models", "deployments", "predictions", "acme", "flux", "@canary", "@stable", "_perch", "..", "%2F", "é", "qwen", "http:", "model:", ":", "cancel", "abc~p1.k", "v1/predictions", "_perch/at", "_perch/webhook", "_perch/health", "_perch/variant", "_perch/feedback", "trainings", "versions"}
	text := func(n int) string {
		var s strings.Builder
		for range random.IntN(n) {
			s.WriteString(pieces[random.IntN(len(pieces))])
		}
		return s.String()
	}
	actions := map[Action]int{}
	for range 200_000 {
		h := Head{Method: []string{"POST", "GET", "OPTIONS", "QUERY", "HEAD"}[random.IntN(5)], Path: "/" + text(8), Service: text(4), Upgrade: random.IntN(9) == 0}
		r := Resolve(h)
		actions[r.Action]++
		checkRoute(t, h, r)
	}
	for _, action := range []Action{ActionNotFound, ActionPass, ActionHealth, ActionVariant, ActionService, ActionVersion, ActionPrediction, ActionAt, ActionWebhook, ActionFeedback} {
		require.Positive(t, actions[action], "no random path led to action %d", action)
	}
}

func FuzzResolve(f *testing.F) {
	for _, c := range scenario.Read(f, filepath.Join("testdata", "resolve.txt"), "request", "service", "upgrade") {
		h := head(c)
		f.Add(h.Method, h.Path, h.Service, h.Upgrade)
	}
	f.Fuzz(func(t *testing.T, method, path, service string, upgrade bool) {
		h := Head{Method: method, Path: path, Service: service, Upgrade: upgrade}
		checkRoute(t, h, Resolve(h))
	})
}
