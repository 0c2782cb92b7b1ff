package cloudflare

import (
	"context"
	"fmt"

	"github.com/cloudflare/cloudflare-go/v6/workers"
)

// SetSecret gives the deployed worker script a secret, or changes it, which
// deploys the script anew. ErrNotFound reports that there is no such script. No
// error repeats the text.
func (a *Account) SetSecret(ctx context.Context, script, name, text string) error {
	ctx, cancel := a.config.context(ctx)
	defer cancel()
	var secret workers.ScriptSecretUpdateParamsBodyWorkersBindingKindSecretText
	secret.Name.Value, secret.Name.Present = name, true
	secret.Text.Value, secret.Text.Present = text, true
	secret.Type.Value, secret.Type.Present = workers.ScriptSecretUpdateParamsBodyWorkersBindingKindSecretTextTypeSecretText, true
	var p workers.ScriptSecretUpdateParams
	p.AccountID.Value, p.AccountID.Present = a.config.Account, true
	p.Body = secret
	if _, err := a.secrets.Update(ctx, script, p); err != nil {
		return fmt.Errorf("set secret %s of worker %s: %w", name, script, plain(err))
	}
	return nil
}
