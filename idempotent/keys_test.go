package idempotent_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestBadKeyIsRefusedAndNotTold(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	for _, key := range []string{"", "SECRET SECRET", `"SECRET`, "SECRET\x01"} {
		r := call(mw, key, "")
		require.Equal(t, http.StatusBadRequest, r.Status)
		require.Contains(t, r.Body, `"param":"Idempotency-Key"`)
		require.Contains(t, r.Body, "parameter_invalid")
		require.NotContains(t, r.Body, "SECRET")
	}
	require.Zero(t, h.runs.Load())
}

func TestQuotedKeyIsTheSameKey(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(mw, "abc", "")
	require.True(t, call(mw, `"abc"`, "").replayed())
}

func TestKeyIsOptionalUnlessRequired(t *testing.T) {
	t.Parallel()
	var h counter
	bare := func(mw http.Handler, method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		return w
	}
	optional := idempotent.New(memory(), idempotent.Global, nil)(&h)
	required := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Required: true})(&h)

	require.Equal(t, http.StatusCreated, bare(optional, http.MethodPost).Code)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		require.Equal(t, http.StatusCreated, bare(required, method).Code, method)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		w := bare(required, method)
		require.Equal(t, http.StatusBadRequest, w.Code, method)
		require.Contains(t, w.Body.String(), `"code":"parameter_missing"`)
		require.Contains(t, w.Body.String(), `"param":"Idempotency-Key"`)
	}
	require.EqualValues(t, 4, h.runs.Load())
}

func TestKeyIsRequiredOnOneRouteWithinAnother(t *testing.T) {
	t.Parallel()
	var h counter
	store := memory()
	inner := idempotent.New(store, idempotent.Global, &idempotent.Options{Required: true})(&h)
	mw := idempotent.New(store, idempotent.Global, nil)(inner)

	w := httptest.NewRecorder()
	mw.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, http.StatusCreated, call(mw, "k", "body").Status)
	require.True(t, call(mw, "k", "body").replayed())
	require.EqualValues(t, 1, h.runs.Load())
}
