package rollout

import (
	"reflect"
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
	stable := document.Target{
		Name: document.Stable, URL: "https://old.example/", Credentials: true, TimeoutMS: 7_000, IdleTimeoutMS: 8_000,
		Headers: []document.Header{{Name: "x-api-key", Value: "secret:OLD_KEY"}},
	}
	canary := document.Target{
		Name: document.Canary, URL: "https://new.example/", TimeoutMS: 5_000,
		Headers: []document.Header{{Name: "x-api-key", Value: "secret:NEW_KEY"}},
	}
	s, err := Start(New{
		Service: document.Service{Kind: document.KindHTTP, Name: "qwen"}, Rollout: "r1", Policy: policy.Default(), Stable: stable, Canary: canary,
	}, by)
	require.NoError(t, err)
	s, err = s.Promote("", by)
	require.NoError(t, err)
	s, err = Decode(s.Encode())
	require.NoError(t, err)
	promoted := canary
	promoted.Name = document.Stable
	require.Equal(t, []document.Target{promoted}, s.Document.Targets, "the canary keeps its own")
	s = s.Rollback("it leaks", by)
	require.Equal(t, []document.Target{stable, canary}, s.Document.Targets)
}

// TestTargetHoldsEveryField: one that the document gains must not be lost here.
func TestTargetHoldsEveryField(t *testing.T) {
	var full document.Target
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("text")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int64:
			f.SetInt(7)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			t.Fatalf("field %s is of a kind that this test does not know", v.Type().Field(i).Name)
		}
	}
	require.Equal(t, full, newTarget(full).target(full.Name))
}
