package seawall_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestErrorFrom(t *testing.T) {
	t.Parallel()
	require.Nil(t, seawall.ErrorFrom(context.Background()))
	stack := &seawall.Stack{Logger: discard, Timeout: 1 << 40}
	for name, row := range map[string]struct {
		h    http.Handler
		code apierror.Code // "" for none
	}{
		"success":              {ok, ""},
		"error":                {failing(nil, apierror.CodePermissionDenied), apierror.CodePermissionDenied},
		"panic":                {panicking("bug"), apierror.CodeAPIError},
		"mux":                  {http.NewServeMux(), apierror.CodeResourceMissing},
		"canceled":             {canceled(failing(nil, context.Canceled)), apierror.CodeServiceUnavailable},
		"a 404 of the handler": {http.NotFoundHandler(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *apierror.Error
			outside := func(next http.Handler) http.Handler {
				return plain(func(w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(w, r)
					got = seawall.ErrorFrom(r.Context())
				})
			}
			w := serveOne(seawall.Chain(seawall.RequestID(nil), outside)(stack.Handler(row.h)), nil)
			if row.code == "" {
				require.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			require.Equal(t, row.code, got.Code())
			require.Equal(t, w.Header().Get("Request-Id"), got.RequestID())
			if name == "panic" {
				require.EqualError(t, got.Cause(), "panic", "what it says belongs into one record only")
			}
			if name == "canceled" {
				require.ErrorIs(t, got.Cause(), context.Canceled)
			}
		})
	}
}

// The response to a request with a key is sent after its handler has returned.
func TestErrorOfAKeyedRequestIsKnownAroundIdempotency(t *testing.T) {
	t.Parallel()
	var inside, around *apierror.Error
	see := func(seen **apierror.Error) seawall.Middleware {
		return func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				*seen = seawall.ErrorFrom(r.Context())
			})
		}
	}
	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Logger: discard})
	stack := &seawall.Stack{Logger: discard, Idempotency: seawall.Chain(see(&around), keyed, see(&inside))}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "order-7")

	stack.Handler(failing(nil, apierror.CodePermissionDenied)).ServeHTTP(httptest.NewRecorder(), r)

	require.Nil(t, inside)
	require.Equal(t, apierror.CodePermissionDenied, around.Code())
}
