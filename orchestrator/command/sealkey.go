package command

import "perch/shared/seal"

// sealKey reads the key that this machine shares with the worker; nil without
// one.
func (a *app) sealKey() (*seal.Key, error) {
	text := a.env["PERCH_SEAL_KEY"]
	if text == "" {
		return nil, nil
	}
	key, err := seal.ParseKey(text)
	if err != nil {
		return nil, invalid("orchestrator init makes one and prints it", "read PERCH_SEAL_KEY: %w", err)
	}
	return &key, nil
}
