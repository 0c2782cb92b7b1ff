package rollout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"perch/orchestrator/policy"
	"perch/shared/document"
)

// TestFormerComesBackWhole: a rollback after a promotion, with the state stored
// in between, restores the former stable target with all that it had.
func TestFormerComesBackWhole(t *testing.T) {
	by := By{Actor: "ada", Now: time.Unix(1_700_000_000, 0)}
	stable := document.Target{URL: "https://old.example/", Credentials: true}
	s, err := Start(New{
		Service: document.Service{Kind: document.KindHTTP, Name: "qwen"}, Rollout: "r1", Policy: policy.Default(),
		Stable: stable, Canary: document.Target{URL: "https://new.example/"},
	}, by)
	require.NoError(t, err)
	s, err = s.Promote("", by)
	require.NoError(t, err)
	s, err = Decode(s.Encode())
	require.NoError(t, err)
	s = s.Rollback("it leaks", by)
	restored := s.Document.Targets[s.Document.Target(document.Stable)]
	require.True(t, restored.Equal(stable), "%+v", restored)
}
