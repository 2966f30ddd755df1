package idempotent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// as sends a request of a principal.
func as(h http.Handler, principal, key, body string) reply {
	return call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, reqstate.WithPrincipal(r, principal))
	}), key, body)
}

func TestPrincipalsNeverMeet(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.ByPrincipal, nil)(&h)

	alice, bob := as(mw, "alice", "k", "hello"), as(mw, "bob", "k", "hello")

	require.Equal(t, "run 1: hello", alice.Body)
	require.Equal(t, "run 2: hello", bob.Body)
	require.Equal(t, "run 1: hello", as(mw, "alice", "k", "hello").Body)
	require.Equal(t, "run 2: hello", as(mw, "bob", "k", "hello").Body)
	require.Equal(t, http.StatusCreated, as(mw, "carol", "k", "goodbye").Status, "not even a conflict tells of another's key")
}

func TestKeyWithoutAPrincipalIsRefused(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.ByPrincipal, nil)(&h)
	r := call(mw, "k", "")
	require.Equal(t, http.StatusUnauthorized, r.Status)
	require.Contains(t, r.Body, "authentication_failed")
	require.Zero(t, h.runs.Load())
}

func TestScopeError(t *testing.T) {
	t.Parallel()
	var h counter
	scope := func(*http.Request) (string, error) { return "", apierror.CodePermissionDenied.New() }
	require.Equal(t, http.StatusForbidden, call(idempotent.New(memory(), scope, nil)(&h), "k", "").Status)
	require.Zero(t, h.runs.Load())
}

func TestNamespacesNeverMeet(t *testing.T) {
	t.Parallel()
	var h counter
	store := memory()
	a := idempotent.New(store, idempotent.Global, &idempotent.Options{Namespace: "a"})(&h)
	b := idempotent.New(store, idempotent.Global, &idempotent.Options{Namespace: "b"})(&h)
	require.Equal(t, "run 1: ", call(a, "k", "").Body)
	require.Equal(t, "run 2: ", call(b, "k", "").Body)
}

func TestPartsOfAnIDDoNotRunTogether(t *testing.T) {
	t.Parallel()
	ids := map[idempotent.ID]bool{}
	for _, parts := range [][3]string{{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"", "abc", "d"}, {"abcd", "", ""}} {
		ids[idOf(parts[0], parts[1], parts[2])] = true
	}
	require.Len(t, ids, 5)
}

func TestAuthorizeBeforeAReplay(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/secret")
		if r.URL.Path == "/large" {
			idempotent.Stream(r.Context())
		}
		_, _ = io.WriteString(w, "secret")
	}}
	allowed := true
	o := &idempotent.Options{Authorize: func(*http.Request) error {
		if !allowed {
			return apierror.CodePermissionDenied.New()
		}
		return nil
	}}
	mw := idempotent.New(memory(), idempotent.Global, o)(&h)
	ask := func(path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Idempotency-Key", path)
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/small", "/large"} {
		allowed = false
		require.Equal(t, http.StatusOK, ask(path).Code, "the handler itself decides for the first")
		again := ask(path)
		require.Equal(t, http.StatusForbidden, again.Code)
		require.NotContains(t, again.Body.String(), "secret")
		require.Empty(t, again.Header().Get("Location"))
		allowed = true
		require.NotEqual(t, http.StatusForbidden, ask(path).Code)
	}
	require.EqualValues(t, 2, h.runs.Load())
}

func TestScopeMayRefuseKeysOfARoute(t *testing.T) {
	t.Parallel()
	var h counter
	scope := func(r *http.Request) (string, error) {
		if r.URL.Path == "/v1/resources" {
			return "", apierror.ParameterInvalid("Idempotency-Key", "is not supported by this endpoint")
		}
		return idempotent.Global(r)
	}
	mw := idempotent.New(memory(), scope, nil)(&h)
	r := call(mw, "k", "")
	require.Equal(t, http.StatusBadRequest, r.Status)
	require.Contains(t, r.Body, `"param":"Idempotency-Key"`)
	require.Zero(t, h.runs.Load())
}

func TestSkipAndMethods(t *testing.T) {
	t.Parallel()
	var h counter
	skip := func(r *http.Request) bool { return r.URL.Path == "/v1/resources" }
	skipping := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Skip: skip})(&h)
	call(skipping, "k", "")
	require.False(t, call(skipping, "k", "").replayed())
	puts := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Methods: []string{http.MethodPut}})(&h)
	call(puts, "k", "")
	require.False(t, call(puts, "k", "").replayed())
	require.EqualValues(t, 4, h.runs.Load())
}

func TestKeep(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Keep: func(int) bool { return true }})(&h)
	call(mw, "k", "")
	require.True(t, call(mw, "k", "").replayed())
}

func TestHookThatPanicsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	boom := true
	panics := func() {
		if boom {
			panic("hook")
		}
	}
	for name, o := range map[string]*idempotent.Options{
		"Keep":      {Keep: func(int) bool { panics(); return true }},
		"Observe":   {Observe: func(context.Context, idempotent.Event) { panics() }},
		"Authorize": {Authorize: func(*http.Request) error { panics(); return nil }},
		"Skip":      {Skip: func(*http.Request) bool { panics(); return false }},
		"Fingerprint": {Fingerprint: func(r *http.Request, b func() ([]byte, error)) (idempotent.Fingerprint, error) {
			panics()
			return idempotent.FingerprintBody(r, b)
		}},
	} {
		boom = true
		var h counter
		mw := idempotent.New(memory(), idempotent.Global, o)(&h)
		call(mw, "k", "")
		call(mw, "k", "")
		boom = false
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status, name)
	}
}

func TestContradictionsPanic(t *testing.T) {
	t.Parallel()
	store := memory()
	for name, f := range map[string]func(){
		"no store":    func() { idempotent.New(nil, idempotent.Global, nil) },
		"no scope":    func() { idempotent.New(store, nil, nil) },
		"safe method": func() { idempotent.New(store, idempotent.Global, &idempotent.Options{Methods: []string{"GET"}}) },
		"lower case":  func() { idempotent.New(store, idempotent.Global, &idempotent.Options{Methods: []string{"post"}}) },
		"preflight":   func() { idempotent.New(store, idempotent.Global, &idempotent.Options{Methods: []string{"OPTIONS"}}) },
		"no protection": func() {
			idempotent.New(store, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen, AtMostOnce: true})
		},
		"negative lease":     func() { idempotent.New(store, idempotent.Global, &idempotent.Options{Lease: -1}) },
		"negative retention": func() { idempotent.New(store, idempotent.Global, &idempotent.Options{Retention: -1}) },
		"negative time-out":  func() { idempotent.New(store, idempotent.Global, &idempotent.Options{StoreTimeout: -1}) },
	} {
		require.Panics(t, f, name)
	}
}

func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	var h counter
	o := &idempotent.Options{Methods: []string{http.MethodPost}}
	mw := idempotent.New(memory(), idempotent.Global, o)(&h)
	o.Methods[0], o.Required, o.Namespace = "PUT", true, "other"
	call(mw, "k", "")
	require.True(t, call(mw, "k", "").replayed())
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }}
		store := memory()
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxWaiters: 5})(&h)
		elsewhere := idempotent.New(store, idempotent.Global, nil)(&h)
		var mu sync.Mutex
		early := map[string]int{}
		var wg sync.WaitGroup
		ask := func(h http.Handler, key string) {
			wg.Go(func() {
				start := time.Now()
				r := call(h, key, "")
				if r.Status == http.StatusTooManyRequests {
					require.Zero(t, time.Since(start), "who cannot wait is told at once")
					mu.Lock()
					defer mu.Unlock()
					early[key]++
				}
			})
			synctest.Wait()
		}
		for _, key := range []string{"a", "b", "d", "e", "f", "g"} {
			for range 3 { // one runs, and one may wait, but no longer one of g
				ask(mw, key)
			}
		}
		ask(elsewhere, "c")
		ask(mw, "c") // would poll
		wg.Wait()
		require.Equal(t, map[string]int{"a": 1, "b": 1, "d": 1, "e": 1, "f": 1, "g": 2, "c": 1}, early)
		require.EqualValues(t, 7, h.runs.Load())
	})
}

func TestPlacesOfWaitersAreGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }}
		store := memory()
		elsewhere := idempotent.New(store, idempotent.Global, nil)(&h)
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxWaiters: 1})(&h)
		for i := range 5 {
			for j, first := range []http.Handler{mw, elsewhere} { // the second then follows, or polls
				key := fmt.Sprint(i, "-", j)
				var wg sync.WaitGroup
				wg.Go(func() { call(first, key, "") })
				synctest.Wait()
				require.True(t, call(mw, key, "").replayed(), key)
				wg.Wait()
			}
		}
	})
}

func TestNoWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }}
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: -1})(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(mw, "k", "") })
		synctest.Wait()
		start := time.Now()
		require.Equal(t, http.StatusTooManyRequests, call(mw, "k", "").Status)
		require.Zero(t, time.Since(start))
		wg.Wait()
	})
}

// Wait is for the first to end, not for the duplicate's own body to come.
func TestASlowBodyLeavesTimeToWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Second) }}
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: 10 * time.Second})(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(mw, "k", "body") })
		synctest.Wait()
		r := httptest.NewRequest(http.MethodPost, "/v1/resources", slow{strings.NewReader("body"), 15 * time.Second})
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()

		mw.ServeHTTP(w, r)

		require.Equal(t, "true", w.Header().Get("Idempotent-Replayed"))
		wg.Wait()
	})
}

// slow is a body that takes its time to begin.
type slow struct {
	*strings.Reader
	delay time.Duration
}

func (s slow) Read(p []byte) (int, error) {
	if int64(s.Len()) == s.Size() {
		time.Sleep(s.delay)
	}
	return s.Reader.Read(p)
}

// sleepy is a store whose Waiter is broken.
type sleepy struct {
	idempotent.Store
	mu   sync.Mutex
	asks int
	err  error
}

func (s *sleepy) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks++
	return s.Store.Acquire(ctx, c)
}

func (s *sleepy) Wait(context.Context, idempotent.ID) error { return s.err }

func TestWaiterThatReturnsAtOnceMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("no notifications today")} {
		synctest.Test(t, func(t *testing.T) {
			h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(8 * time.Second) }}
			store := &sleepy{Store: memory(), err: err}
			var wg sync.WaitGroup
			wg.Go(func() { call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "") })
			synctest.Wait()
			require.True(t, call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "").replayed())
			wg.Wait()
			require.Less(t, store.asks, 50)
		})
	}
}

func TestClientOfAWaiterGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(8 * time.Second) }}
		store := memory()
		a := idempotent.New(store, idempotent.Global, nil)(&h)
		b := idempotent.New(store, idempotent.Global, nil)(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(a, "k", "") })
		synctest.Wait()
		for _, mw := range []http.Handler{a, b} { // one follows, one polls
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/resources", nil)
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			start := time.Now()
			mw.ServeHTTP(w, r)
			cancel()
			require.Equal(t, 900*time.Millisecond, time.Since(start), "while the answer can still be sent")
			require.Equal(t, http.StatusTooManyRequests, w.Code, "its time is up: it may come again")
		}
		for _, mw := range []http.Handler{a, b} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			r, state := reqstate.Ensure(httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/resources", nil))
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			mw.ServeHTTP(w, r)
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
			require.ErrorIs(t, state.Err(), context.Canceled, "it is gone, and counted so")
		}
		wg.Wait()
	})
}

// When the one that polls for all loses its client, the others go on waiting.
func TestWaitersOutliveTheOneThatPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(8 * time.Second)
			_, _ = io.WriteString(w, "done")
		}}
		store := memory()
		a := idempotent.New(store, idempotent.Global, nil)(&h)
		b := idempotent.New(store, idempotent.Global, nil)(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(a, "k", "") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/resources", nil)
			r.Header.Set("Idempotency-Key", "k")
			b.ServeHTTP(httptest.NewRecorder(), r)
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() { require.Equal(t, "done", call(b, "k", "").Body) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// What only a person can mend is in the log, under the request's id: once where every request
// would say it again.
func TestLoggerTellsWhatAPersonMustMend(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}
	post := func(scope idempotent.ScopeFunc, h http.Handler) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Idempotency-Key", "k")
		idempotent.New(memory(), scope, o)(h).ServeHTTP(w, r)
		return w
	}

	w := post(idempotent.Global, apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		return apierror.CodeAPIError
	}))
	require.Contains(t, out.String(), `level=WARN msg="idempotent: a call failed after BeginEffect" request_id=`+w.Header().Get("Request-Id"))
	require.Contains(t, out.String(), "idempotency_id=")

	out.Reset()
	mw := idempotent.New(memory(), idempotent.ByPrincipal, o)(http.NotFoundHandler())
	for range 3 {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Idempotency-Key", "k")
		mw.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.Equal(t, 1, strings.Count(out.String(), "seawall.WithPrincipal"), out.String())
}
