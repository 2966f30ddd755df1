package idempotent_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestPrincipalsDoNotShareKeys(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.ByPrincipal, nil)(&h)
	for range 2 {
		require.Equal(t, "run 1: hello", callAs(mw, "alice", "k", "hello").Body)
		require.Equal(t, "run 2: hello", callAs(mw, "bob", "k", "hello").Body)
	}
	other := callAs(mw, "carol", "k", "goodbye")
	require.Equal(t, http.StatusCreated, other.Status, "a conflict would disclose another's key")
}

func TestScopeRefusesKeys(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scope  idempotent.ScopeFunc
		status int
		body   string
	}{
		"without a principal": {idempotent.ByPrincipal, http.StatusUnauthorized, "authentication_failed"},
		"with its own error": {
			func(*http.Request) (string, error) { return "", apierror.CodePermissionDenied },
			http.StatusForbidden, "permission_denied",
		},
		"of a route": {
			func(r *http.Request) (string, error) {
				if r.URL.Path == "/v1/resources" {
					return "", apierror.ParameterInvalid("Idempotency-Key", "is not supported by this endpoint")
				}
				return idempotent.Global(r)
			},
			http.StatusBadRequest, `"param":"Idempotency-Key"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h counter
			r := call(idempotent.New(memory(), test.scope, nil)(&h), "k", "")
			require.Equal(t, test.status, r.Status)
			require.Contains(t, r.Body, test.body)
			require.Zero(t, h.runs.Load())
		})
	}
}

func TestEmptyPrincipalIsAServerError(t *testing.T) {
	t.Parallel()
	var h counter
	var events eventLog
	nobody := func(*http.Request) (string, error) { return "", nil }
	mw := idempotent.New(memory(), nobody, &idempotent.Options{Observe: events.observe})(&h)

	r := call(mw, "k", "")

	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.NotContains(t, r.Body, "principal")
	require.ErrorContains(t, events.last().Err, "the principal of a key is empty")
	require.Zero(t, h.runs.Load())
}

func TestIgnoredKey(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		require.Zero(t, idempotent.Attempt(r.Context()))
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}}
	ignore := func(*http.Request) (string, error) { return "", fmt.Errorf("login form: %w", idempotent.ErrIgnoreKey) }
	var events eventLog
	s := serve(t, &h, idempotent.New(memory(), ignore, &idempotent.Options{Observe: events.observe}))
	for _, key := range []string{"k", "k", "not\ta key"} {
		r := post(t, s, key, "hello")
		require.Equal(t, "hello", r.Body)
		require.False(t, r.replayed())
	}
	require.EqualValues(t, 3, h.runs.Load())
	require.Empty(t, events.outcomes())

	required := call(idempotent.New(memory(), ignore, &idempotent.Options{Required: true})(&h), "k", "")
	require.Equal(t, http.StatusBadRequest, required.Status)
	require.Contains(t, required.Body, `"code":"parameter_missing"`)
}
