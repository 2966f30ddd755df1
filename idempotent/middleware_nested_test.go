package idempotent_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestNestedMiddlewareActsAsOne(t *testing.T) {
	t.Parallel()
	store := &recorder{Store: memory()}
	mw := idempotent.New(store, idempotent.Global, nil)
	nested := mw(mw(&counter{}))

	require.Equal(t, http.StatusCreated, call(nested, "k", "").Status)
	require.True(t, call(nested, "k", "").replayed())
	require.Equal(t, []string{"Acquire", "Finish done", "Acquire"}, store.calls)
}

func TestInnerMiddlewareMayRequireAKey(t *testing.T) {
	t.Parallel()
	var h counter
	store := memory()
	inner := idempotent.New(store, idempotent.Global, &idempotent.Options{Required: true})(&h)
	mw := idempotent.New(store, idempotent.Global, nil)(inner)

	require.Equal(t, http.StatusBadRequest, do(mw, httptest.NewRequest(http.MethodPost, "/", nil)).Status)
	require.Equal(t, http.StatusCreated, call(mw, "k", "body").Status)
	require.True(t, call(mw, "k", "body").replayed())
	require.EqualValues(t, 1, h.runs.Load())
}

// withoutKey is a layer that removes the key of a request.
func withoutKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del("Idempotency-Key")
		next.ServeHTTP(w, r)
	})
}

func TestInnerMiddlewareBeginsTheEffect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		between func(http.Handler) http.Handler
		fails   bool
		status  int
	}{
		"with the key":             {status: http.StatusCreated},
		"without the key":          {between: withoutKey, status: http.StatusCreated},
		"which the store does not": {fails: true, status: http.StatusServiceUnavailable},
	} {
		runBubble(t, name, func(t *testing.T) {
			begun := false
			store := &faulty{Store: memory(), begin: func(next func() error) error {
				if test.fails {
					return errDown
				}
				begun = true
				return next()
			}}
			var h counter
			inner := idempotent.New(store, idempotent.Global, &idempotent.Options{Required: true, AtMostOnce: true})(&h)
			if test.between != nil {
				inner = test.between(inner)
			}
			mw := idempotent.New(store, idempotent.Global, nil)(inner)

			require.Equal(t, test.status, call(mw, "k", "").Status)
			require.Equal(t, test.fails, h.runs.Load() == 0)
			require.Equal(t, test.fails, !begun)
		})
	}
}

func TestInnerMiddlewareMayBeAtMostOnce(t *testing.T) {
	t.Parallel()
	h := status(http.StatusInternalServerError)
	inner := idempotent.New(memory(), idempotent.Global, &idempotent.Options{AtMostOnce: true})(h)
	mw := idempotent.New(memory(), idempotent.Global, nil)(inner)

	require.Equal(t, http.StatusInternalServerError, call(mw, "k", "").Status)
	require.Contains(t, call(mw, "k", "").Body, "idempotency_outcome_unknown")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestRequestAfterARunDoesNotBelongToIt(t *testing.T) {
	t.Parallel()
	store := memory()
	var h counter
	var late *http.Request
	inner := idempotent.New(store, idempotent.ByPrincipal, nil)(&h)
	call(idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		late = r.Clone(context.WithoutCancel(r.Context()))
	})), "k", "")

	got := do(inner, late)

	require.Equal(t, http.StatusUnauthorized, got.Status, "its key needs a principal")
	require.Zero(t, h.runs.Load())
}

func TestSubrequestHasItsOwnKey(t *testing.T) {
	t.Parallel()
	var charges counter
	bank := idempotent.New(memory(), idempotent.Global, nil)(&charges)
	shop := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sub := keyedRequest(idempotent.DerivedKey(r.Context(), "charge"), nil)
		do(bank, sub.WithContext(r.Context()))
		w.WriteHeader(http.StatusInternalServerError)
	}))
	for range 2 { // a failure frees the outer key
		require.Equal(t, http.StatusInternalServerError, call(shop, "k", "").Status)
	}
	require.EqualValues(t, 1, charges.runs.Load())
}

func TestDoWithinAKeyedRequestHasItsOwnKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		g := idempotent.NewGuard(store, nil)
		var outerIDs, innerIDs []idempotent.ID
		charge := func(ctx context.Context) error {
			_, err := idempotent.Do(ctx, g, callOf(idempotent.DerivedKey(ctx, "charge")), func(ctx context.Context) (int, error) {
				o, _ := idempotent.OwnerOf(ctx)
				innerIDs = append(innerIDs, o.ID)
				require.Equal(t, 1, idempotent.Attempt(ctx), "of the inner key")
				require.NotEmpty(t, idempotent.DerivedKey(ctx, "charge"))
				require.NoError(t, idempotent.BeginEffect(ctx))
				return 0, errDown
			})
			return err
		}
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			before, _ := idempotent.OwnerOf(r.Context())
			outerIDs = append(outerIDs, before.ID)
			err := charge(r.Context())
			if n == 1 {
				require.ErrorIs(t, err, errDown)
			} else {
				require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err), "of the inner key")
			}
			after, _ := idempotent.OwnerOf(r.Context())
			require.Equal(t, before, after)
			w.WriteHeader(http.StatusInternalServerError)
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)

		for range 2 { // the effect of the inner key leaves the outer key free
			require.Equal(t, http.StatusInternalServerError, call(mw, "k", "").Status)
		}
		require.EqualValues(t, 2, h.runs.Load())
		require.Equal(t, outerIDs[0], outerIDs[1])
		require.Len(t, innerIDs, 1)
		require.NotEqual(t, outerIDs[0], innerIDs[0])
	})
}

func TestKeyedRequestWithinADoHasItsOwnKey(t *testing.T) {
	t.Parallel()
	store := memory()
	g := idempotent.NewGuard(store, nil)
	var h counter
	mw := idempotent.New(store, idempotent.Global, nil)(&h)
	for range 2 {
		v, err := idempotent.Do(t.Context(), g, callOf("job"), func(ctx context.Context) (string, error) {
			for range 2 {
				callWith(ctx, mw, idempotent.DerivedKey(ctx, "call"))
			}
			return "done", nil
		})
		require.NoError(t, err)
		require.Equal(t, "done", v)
	}
	require.EqualValues(t, 1, h.runs.Load())
}
