package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Catalog is what the stand-in serves.
type Catalog struct {
	Versions    []Version         `json:"versions"`    // of each model the newest first
	Models      []Model           `json:"models"`      // only those that differ from a plain Model{Name}
	Deployments map[string]string `json:"deployments"` // owner/name of the deployment to version id
	HTTP        []HTTPModel       `json:"http"`
}

// Version is one version of a Replicate model.
type Version struct {
	Model    string   `json:"model"`    // owner/name
	ID       string   `json:"id"`       // 64 hex digits
	Streams  bool     `json:"streams"`  // has urls.stream, and a list of tokens as output
	Required []string `json:"required"` // keys that input must have
	Behavior Behavior `json:"behavior"`

	MediaType string `json:"media_type"` // e.g. image/png: output is a file of that type, as a data URL that holds the text
}

// Model says what is particular about a Replicate model.
type Model struct {
	Name     string `json:"name"`     // owner/name
	Official bool   `json:"official"` // may be run without naming a version
	Latest   string `json:"latest"`   // id of the version that an official model runs; by default the newest
	Shown    string `json:"shown"`    // what predictions of an official model give as version, e.g. hidden; by default the id
	Public   bool   `json:"public"`   // is listed; official models always are

	Description string `json:"description"` // by default one made of the name
	Readme      string `json:"readme"`      // in Markdown, by default one made of the name
	GitHubURL   string `json:"github_url"`
	PaperURL    string `json:"paper_url"`
	LicenseURL  string `json:"license_url"`
	CoverURL    string `json:"cover_image_url"`

	created time.Time
}

// HTTPModel is a plain model server under /http/{name}/.
type HTTPModel struct {
	Name     string   `json:"name"`
	Behavior Behavior `json:"behavior"`
	Version  string   `json:"version"` // id of the version whose predictions POST /http/{name}/predictions makes, if any
}

// VersionID makes a well-formed version id from any words, the same one each time.
func VersionID(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:])
}

// DemoCatalog has two versions, stable and canary, of the official model acme/flux (one string as output) and of
// acme/chat (which streams), a deployment for each version, and two plain model servers. Version ids are
// VersionID(model, "stable") and VersionID(model, "canary"). All answer in 80 ms (median) without failures.
func DemoCatalog() Catalog {
	quick := Behavior{Latency: Lognormal(80*time.Millisecond, 0.25)}
	c := Catalog{
		Models:      []Model{{Name: "acme/flux", Official: true}, {Name: "acme/chat", Official: true}},
		Deployments: map[string]string{},
	}
	for _, model := range []string{"acme/flux", "acme/chat"} {
		for _, arm := range []string{"stable", "canary"} {
			id := VersionID(model, arm)
			c.Versions = append(c.Versions, Version{
				Model: model, ID: id, Streams: model == "acme/chat", Required: []string{"prompt"}, Behavior: quick,
			})
			c.Deployments[model+"-"+arm] = id
		}
	}
	for _, arm := range []string{"stable", "canary"} {
		c.HTTP = append(c.HTTP, HTTPModel{Name: "qwen-" + arm, Behavior: quick})
	}
	return c
}
