package idempotent_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestRetryGetsTheFirstResponse(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	first := post(t, s, "k", "hello")
	again := post(t, s, "k", "hello")

	require.Equal(t, http.StatusCreated, first.Status)
	require.Equal(t, "run 1: hello", first.Body)
	require.False(t, first.replayed())
	require.Empty(t, first.Header.Get("Original-Request"))
	require.True(t, again.replayed())
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, first.Status, again.Status)
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.Equal(t, first.Header.Get("Request-Id"), again.Header.Get("Original-Request"))
	require.NotEqual(t, first.Header.Get("Request-Id"), again.Header.Get("Request-Id"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestAnotherRequestWithTheSameKeyConflicts(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	post(t, s, "k", "hello")
	other := post(t, s, "k", "goodbye")

	require.Equal(t, http.StatusConflict, other.Status)
	require.Contains(t, other.Body, "idempotency_conflict")
	require.Contains(t, other.Body, `"param":"Idempotency-Key"`)
	require.NotContains(t, other.Body, "hello")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestDuplicatesWaitForTheFirstResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			_, _ = io.WriteString(w, "done")
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

		replies := make([]reply, 100)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = post(t, s, "k", "hello") })
		}
		wg.Wait()

		replays := 0
		for _, r := range replies {
			require.Equal(t, http.StatusOK, r.Status)
			require.Equal(t, "done", r.Body)
			if r.replayed() {
				replays++
			}
		}
		require.Equal(t, len(replies)-1, replays)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestFailureFreesTheKey(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter){
		"500":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"401":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"403":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"408":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestTimeout) },
		"425":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooEarly) },
		"429":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
		"panic":  func(http.ResponseWriter) { panic("boom") },
		"abort":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Goexit": func(http.ResponseWriter) { runtime.Goexit() },
		"short":  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9"); _, _ = io.WriteString(w, "cut") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					fail(w)
				}
			}}
			mw := idempotent.New(memory(), idempotent.Global, nil)(&h)

			call(mw, "k", "body")
			again := call(mw, "k", "body")

			require.Equal(t, http.StatusOK, again.Status)
			require.False(t, again.replayed())
			require.EqualValues(t, 2, h.runs.Load())
		})
	}
}

func TestRetryAfterADisconnectIsReplayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			require.NoError(t, r.Context().Err())
			_, _ = io.WriteString(w, "done")
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/resources", strings.NewReader(""))
		req.Header.Set("Idempotency-Key", "k")
		_, err := s.Client().Do(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		again := post(t, s, "k", "")

		require.True(t, again.replayed())
		require.Equal(t, "done", again.Body)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestSkipAndMethods(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.Options{
		"Skip":    {Skip: func(r *http.Request) bool { return r.URL.Path == "/v1/resources" }},
		"Methods": {Methods: []string{http.MethodPut}},
	} {
		var h counter
		mw := idempotent.New(memory(), idempotent.Global, o)(&h)
		call(mw, "k", "")
		require.False(t, call(mw, "k", "").replayed(), name)
		require.EqualValues(t, 2, h.runs.Load(), name)
	}
}

func TestSkipAndRequiredApplyToEachRequest(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/resources", func(http.ResponseWriter, *http.Request) {})
	o := &idempotent.Options{Required: true, Skip: func(r *http.Request) bool { return r.URL.Query().Has("skip") }}
	mw := idempotent.New(memory(), idempotent.Global, o)(mux)
	for target, status := range map[string]int{
		"/v1/resources":      http.StatusBadRequest,
		"/v1/resources?skip": http.StatusOK,
		"/unknown":           http.StatusNotFound,
	} {
		got := do(mw, httptest.NewRequest(http.MethodPost, target, nil))
		require.Equal(t, status, got.Status, target)
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	h := status(http.StatusInternalServerError)
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Keep: func(int) bool { return true }})(h)
	call(mw, "k", "")
	require.True(t, call(mw, "k", "").replayed())
}

func TestRedirectedRequestRunsOnce(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/orders", "/v1//orders/"} {
		var h counter
		mux := http.NewServeMux()
		mux.Handle("/orders/", &h)
		mux.Handle("/v1/orders/", &h)
		s := serve(t, mux, idempotent.New(memory(), idempotent.Global, nil))
		ask := func() reply {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+target, strings.NewReader("order"))
			require.NoError(t, err)
			req.Header.Set("Idempotency-Key", "k")
			return send(t, s, req) // the client follows the 307 with the key and the body
		}

		first, again := ask(), ask()

		require.Equal(t, http.StatusCreated, first.Status, target)
		require.Equal(t, "run 1: order", first.Body)
		require.True(t, again.replayed())
		require.Equal(t, first.Body, again.Body)
		require.EqualValues(t, 1, h.runs.Load())
	}
}

func TestRouterErrorsAreNotRecorded(t *testing.T) {
	t.Parallel()
	var h counter
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources", &h)
	s := serve(t, mux, idempotent.New(memory(), idempotent.Global, nil))
	require.Equal(t, http.StatusMethodNotAllowed, post(t, s, "k", "").Status)

	mux.Handle("POST /v1/resources", &h) // the route is deployed

	require.Equal(t, http.StatusCreated, post(t, s, "k", "").Status)
	require.True(t, post(t, s, "k", "").replayed())
	require.EqualValues(t, 1, h.runs.Load())
}

// Frameworks answer errors that handlers return. The recipe of the documentation does so inside
// of the middleware.
func TestErrorOfAFrameworkIsRecorded(t *testing.T) {
	t.Parallel()
	runs := 0
	refuse := func(http.ResponseWriter, *http.Request) error {
		runs++
		return apierror.CodeResourceMissing
	}
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := refuse(w, r); err != nil {
			apierror.Write(w, r, err) // c.Error(err)
		}
	}))

	first, again := call(mw, "k", ""), call(mw, "k", "")

	require.Equal(t, http.StatusNotFound, first.Status)
	require.True(t, again.replayed())
	require.Equal(t, http.StatusNotFound, again.Status)
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, 1, runs)
}

func TestKeyedResponseHasARequestID(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
	require.Empty(t, post(t, s, "", "").Header.Get("Request-Id"))
	require.NotEmpty(t, post(t, s, "k", "").Header.Get("Request-Id"))
}

func TestCallerSeesThePatternAndTheForm(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{kind}", func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm() })
	r := keyedRequest("k", strings.NewReader("name=v"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	do(idempotent.New(memory(), idempotent.Global, nil)(mux), r)

	require.Equal(t, "POST /v1/{kind}", r.Pattern)
	require.Equal(t, "v", r.PostForm.Get("name"))
}

func TestAuthorizeHidesRecordsInEveryState(t *testing.T) {
	t.Parallel()
	const failed = "failed while the duplicate waited"
	for name, state := range map[string]struct {
		handle http.HandlerFunc
		body   string // of the duplicate
		told   string // if Authorize allows it
	}{
		"done":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }, "body", "secret"},
		"conflict": {func(http.ResponseWriter, *http.Request) {}, "another body", "idempotency_conflict"},
		"running":  {func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }, "body", "idempotency_in_progress"},
		"unknown": {func(_ http.ResponseWriter, r *http.Request) {
			_ = idempotent.BeginEffect(r.Context())
			panic(http.ErrAbortHandler)
		}, "body", "idempotency_outcome_unknown"},
		"not kept": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/secret")
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "secret")
		}, "body", "idempotency_response_unavailable"},
		failed: {func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			w.WriteHeader(http.StatusBadGateway)
		}, "body", "service_unavailable"},
	} {
		runBubble(t, name, func(t *testing.T) {
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) { state.handle(w, r) }}
			refuse := true // the first request, too: only its handler decides about it
			o := &idempotent.Options{Authorize: func(*http.Request) error {
				if refuse {
					return apierror.CodePermissionDenied
				}
				return nil
			}}
			store := memory()
			same := idempotent.New(store, idempotent.Global, o)(&h)
			elsewhere := idempotent.New(store, idempotent.Global, o)(&h)
			var wg sync.WaitGroup
			wg.Go(func() { call(same, "k", "body") })
			synctest.Wait()

			duplicates := []http.Handler{same, elsewhere}
			if name == failed {
				duplicates = duplicates[:1] // the key is free after that
			}
			for _, mw := range duplicates {
				refuse = true
				r := call(mw, "k", state.body)
				require.Equal(t, http.StatusForbidden, r.Status)
				require.Contains(t, r.Body, "permission_denied")
				require.NotContains(t, r.Body, state.told)
				require.Empty(t, r.Header.Get("Location"))
				require.Empty(t, r.Header.Get("Original-Request"))
				refuse = false
				if name != failed {
					require.Contains(t, call(mw, "k", state.body).Body, state.told)
				}
			}
			wg.Wait()
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestAuthorizeDoesNotHideStoreFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"full":       {idempotent.ErrFull, http.StatusServiceUnavailable},
		"over quota": {idempotent.ErrQuota, http.StatusTooManyRequests},
		"down":       {errDown, http.StatusServiceUnavailable},
	} {
		runBubble(t, name, func(t *testing.T) {
			store := &faulty{Store: memory(), acquire: failAcquire(test.err)}
			var h counter
			o := &idempotent.Options{Authorize: func(*http.Request) error { return apierror.CodePermissionDenied }}
			require.Equal(t, test.status, call(idempotent.New(store, idempotent.Global, o)(&h), "k", "").Status)
			require.Zero(t, h.runs.Load())
		})
	}
}
