package cloudflare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/kv"
	"github.com/cloudflare/cloudflare-go/v6/user"
	"github.com/cloudflare/cloudflare-go/v6/workers"
)

// namespacesPerPage is how many namespaces one call lists.
const namespacesPerPage = 100

// Account looks at, and prepares, what a rollout needs in the account.
type Account struct {
	config     Config
	retrier    *retrier
	namespaces *kv.NamespaceService
	userTokens *user.TokenService
	tokens     *accounts.TokenService
	settings   *workers.ScriptScriptAndVersionSettingService
	secrets    *workers.ScriptSecretService
}

// NewAccount returns config.Account.
func NewAccount(config Config) *Account {
	r := newRetrier()
	options := config.options(r)
	return &Account{
		config:     config,
		retrier:    r,
		namespaces: kv.NewNamespaceService(options...),
		userTokens: user.NewTokenService(options...),
		tokens:     accounts.NewTokenService(options...),
		settings:   workers.NewScriptScriptAndVersionSettingService(options...),
		secrets:    workers.NewScriptSecretService(options...),
	}
}

// Token is what Cloudflare says of the API token in use.
type Token struct {
	Status    string    // active, disabled or expired
	ExpiresOn time.Time // zero if it never expires
}

// VerifyToken asks about the token. A user's token and an account's are
// verified at different places, and each place refuses the other kind.
func (a *Account) VerifyToken(ctx context.Context) (Token, error) {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	users, err := a.userTokens.Verify(ctx)
	if err == nil {
		return Token{Status: string(users.Status), ExpiresOn: users.ExpiresOn}, nil
	}
	refusal := plain(err)
	var api *APIError
	if !errors.As(refusal, &api) || api.Status >= http.StatusInternalServerError {
		return Token{}, fmt.Errorf("verify token: %w", refusal)
	}
	var p accounts.TokenVerifyParams
	p.AccountID.Value, p.AccountID.Present = a.config.Account, true
	owned, err := a.tokens.Verify(ctx, p)
	if err != nil {
		return Token{}, fmt.Errorf("verify token: %w", refusal)
	}
	return Token{Status: string(owned.Status), ExpiresOn: owned.ExpiresOn}, nil
}

// Namespace is a KV namespace of the account.
type Namespace struct{ ID, Title string }

// Namespaces lists the account's KV namespaces.
func (a *Account) Namespaces(ctx context.Context) ([]Namespace, error) {
	var all []Namespace
	for page := 1; ; page++ {
		part, err := a.namespacePage(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("list KV namespaces: %w", err)
		}
		all = append(all, part...)
		if len(part) < namespacesPerPage {
			return all, nil
		}
	}
}

func (a *Account) namespacePage(ctx context.Context, page int) ([]Namespace, error) {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	var p kv.NamespaceListParams
	p.AccountID.Value, p.AccountID.Present = a.config.Account, true
	p.Page.Value, p.Page.Present = float64(page), true
	p.PerPage.Value, p.PerPage.Present = namespacesPerPage, true
	answer, err := a.namespaces.List(ctx, p)
	if err != nil {
		return nil, plain(err)
	}
	list := make([]Namespace, 0, len(answer.Result))
	for _, n := range answer.Result {
		list = append(list, Namespace{ID: n.ID, Title: n.Title})
	}
	return list, nil
}

// CreateNamespace makes a KV namespace; its title must be new to the account.
func (a *Account) CreateNamespace(ctx context.Context, title string) (Namespace, error) {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	var p kv.NamespaceNewParams
	p.AccountID.Value, p.AccountID.Present = a.config.Account, true
	p.Title.Value, p.Title.Present = title, true
	n, err := a.namespaces.New(ctx, p)
	if err != nil {
		return Namespace{}, fmt.Errorf("create KV namespace %s: %w", title, plain(err))
	}
	return Namespace{ID: n.ID, Title: n.Title}, nil
}

// Types of binding that a Perch worker has.
const (
	BindingKV        = "kv_namespace"
	BindingAnalytics = "analytics_engine"
	BindingSecret    = "secret_text"
	BindingText      = "plain_text"
	BindingJSON      = "json"
	BindingRateLimit = "ratelimit"
)

// Binding is what a worker reaches under a name.
type Binding struct {
	Name string
	Type string // such as BindingKV, BindingAnalytics, BindingSecret
	// Target is the namespace's id, the dataset, or a variable's text or JSON; "" for
	// other types.
	Target string
}

// Bindings lists what the deployed worker script is bound to, or ErrNotFound.
func (a *Account) Bindings(ctx context.Context, script string) ([]Binding, error) {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	var p workers.ScriptScriptAndVersionSettingGetParams
	p.AccountID.Value, p.AccountID.Present = a.config.Account, true
	settings, err := a.settings.Get(ctx, script, p)
	if err != nil {
		return nil, fmt.Errorf("read settings of worker %s: %w", script, plain(err))
	}
	list := make([]Binding, 0, len(settings.Bindings))
	for _, b := range settings.Bindings {
		list = append(list, Binding{Name: b.Name, Type: string(b.Type), Target: targetOf(b)})
	}
	return list, nil
}

func targetOf(b workers.ScriptScriptAndVersionSettingGetResponseBinding) string {
	switch string(b.Type) {
	case BindingKV:
		return b.NamespaceID
	case BindingAnalytics:
		return b.Dataset
	case BindingText:
		return b.Text
	case BindingJSON:
		if text, err := json.Marshal(b.Json); err == nil {
			return string(text)
		}
	}
	return ""
}
