package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqstate"
)

func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{AtMostOnce: true})(&h)

	require.Equal(t, http.StatusInternalServerError, call(mw, "k", "").Status)
	require.Contains(t, call(mw, "k", "").Body, "idempotency_outcome_unknown")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestEffectThatSucceedsIsReplayed(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		w.WriteHeader(http.StatusPaymentRequired)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(mw, "k", "")
	again := call(mw, "k", "")
	require.True(t, again.replayed())
	require.Equal(t, http.StatusPaymentRequired, again.Status)
}

func TestEffectAfterTheHandlerIsRefused(t *testing.T) {
	t.Parallel()
	var late context.Context
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) { late = r.Context() }}
	call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", "")
	require.Error(t, idempotent.BeginEffect(late))
}

func TestWithoutAKeyNothingIsPromised(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		require.Zero(t, idempotent.Attempt(r.Context()))
		require.Empty(t, idempotent.DerivedKey(r.Context(), "charge"))
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	mw.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestUnknownIsResolved(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		w.WriteHeader(http.StatusBadGateway)
	}}
	store := idempotent.NewMemory(nil)
	scope := func(*http.Request) (string, error) { return "customer", nil }
	mw := idempotent.New(store, scope, &idempotent.Options{Namespace: "payments"})(&h)
	call(mw, "k", "")

	err := store.Resolve(t.Context(), idOf("payments", "customer", "k"), idempotent.Completion{
		State:     idempotent.StateDone,
		Response:  idempotent.Response{Status: http.StatusCreated, Body: []byte("charged after all")}.Encode(),
		Retention: time.Hour,
	})

	require.NoError(t, err)
	again := call(mw, "k", "")
	require.Equal(t, http.StatusCreated, again.Status)
	require.Equal(t, "charged after all", again.Body)
	require.True(t, again.replayed())
	require.EqualValues(t, 1, h.runs.Load())
}

// crash is a process that dies while its handler runs: nothing reaches the store any more.
func crash(store idempotent.Store) *faulty {
	return &faulty{
		Store:  store,
		renew:  func(func() error) error { return errDown },
		finish: func(idempotent.Completion, func() error) error { return errDown },
	}
}

func TestAttemptsAndDerivedKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		keys := map[string]int{}
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			attempts = append(attempts, idempotent.Attempt(r.Context()))
			keys[idempotent.DerivedKey(r.Context(), "charge")]++
			keys[idempotent.DerivedKey(r.Context(), "mail")]++
		}}
		store := memory()
		died := idempotent.New(crash(store), idempotent.Global, nil)(&h)
		alive := idempotent.New(store, idempotent.Global, nil)(&h)

		call(died, "k", "")
		time.Sleep(time.Minute)
		call(alive, "k", "")

		require.Equal(t, []int{1, 2}, attempts)
		require.Len(t, keys, 2)
		for key, n := range keys {
			require.Len(t, key, 32)
			require.Equal(t, 2, n, "a derived key is the same in every attempt")
		}
		call(alive, "another", "")
		require.Len(t, keys, 4)
	})
}

func TestMarkedCrashIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			require.NoError(t, idempotent.BeginEffect(r.Context()))
		}}
		store := memory()
		died := idempotent.New(crash(store), idempotent.Global, nil)(&h)
		alive := idempotent.New(store, idempotent.Global, nil)(&h)

		call(died, "k", "")
		time.Sleep(time.Minute)

		require.Contains(t, call(alive, "k", "").Body, "idempotency_outcome_unknown")
		require.Contains(t, call(alive, "k", "other").Body, "idempotency_conflict", "the print is remembered after a crash")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestWaiterTakesOverFromACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		store := memory()
		call(idempotent.New(crash(store), idempotent.Global, nil)(&h), "k", "")
		time.Sleep(25 * time.Second)

		r := call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")

		require.Equal(t, "run 2: ", r.Body)
		require.False(t, r.replayed())
	})
}

func TestLostLeaseCancelsTheHandlerAndTheOthersAnswerCounts(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter){
		"the zombie fails":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"the zombie succeeds": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "from the zombie") },
		"the zombie is mute":  func(http.ResponseWriter) {},
		"the zombie streams":  func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 2<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var cause, effect error
				zombie := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					cause = context.Cause(r.Context())
					effect = idempotent.BeginEffect(r.Context())
					time.Sleep(2 * time.Second)
					answer(w)
				})
				successor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					require.Equal(t, 2, idempotent.Attempt(r.Context()))
					time.Sleep(5 * time.Second)
					_, _ = io.WriteString(w, "from the successor")
				})
				store := memory()
				cut := &faulty{Store: store, renew: func(func() error) error { return errDown }}
				var events seen
				a := idempotent.New(cut, idempotent.Global, &idempotent.Options{Observe: events.observe})(zombie)
				b := idempotent.New(store, idempotent.Global, nil)(successor)
				var first, second reply
				var wg sync.WaitGroup
				wg.Go(func() { first = call(a, "k", "") })
				wg.Go(func() {
					time.Sleep(25 * time.Second)
					second = call(b, "k", "")
				})
				wg.Wait()

				require.ErrorIs(t, cause, idempotent.ErrLeaseLost)
				require.ErrorIs(t, effect, idempotent.ErrLeaseLost)
				require.Equal(t, "from the successor", second.Body)
				require.Equal(t, "from the successor", first.Body, "its own client gets the recorded answer")
				require.True(t, first.replayed())
				require.Equal(t, []idempotent.Outcome{idempotent.OutcomeReplayed}, events.results())
				require.True(t, events.events[0].Lost)
			})
		})
	}
}

// Who has waited for one owner, taken over, and lost to a third, has all of its time to wait for
// that one.
func TestLoserWaitsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep([]time.Duration{0, 0, 33 * time.Second, 5 * time.Second}[n])
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}
		store := memory()
		call(idempotent.New(crash(store), idempotent.Global, nil)(&h), "k", "")
		time.Sleep(22 * time.Second)
		var loser reply
		var wg sync.WaitGroup
		wg.Go(func() {
			cut := &faulty{Store: store, renew: func(func() error) error { return errDown }}
			loser = call(idempotent.New(cut, idempotent.Global, nil)(&h), "k", "")
		})
		time.Sleep(36 * time.Second)
		require.Equal(t, "run 3", call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "").Body)
		wg.Wait()
		require.Equal(t, "run 3", loser.Body)
	})
}

func TestLateAnswerOfAnOwnerWhomNobodyReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Minute)
			_, _ = io.WriteString(w, "late")
		}}
		store := memory()
		cut := &faulty{Store: store, renew: func(func() error) error { return errDown }}
		a := idempotent.New(cut, idempotent.Global, nil)(&h)
		require.Equal(t, "late", call(a, "k", "").Body)
		require.True(t, call(a, "k", "").replayed())
	})
}

func TestChainsDeadlineReachesTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
			"mute":  func(http.ResponseWriter, *http.Request) {},
			"error": func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, r.Context().Err()) },
		} {
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				require.ErrorIs(t, r.Context().Err(), context.DeadlineExceeded)
				answer(w, r)
			}}
			chain := func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
					defer cancel()
					next.ServeHTTP(w, r.WithContext(ctx))
				})
			}
			mw := chain(idempotent.New(memory(), idempotent.Global, nil)(&h))

			r := call(mw, "k", "")

			require.Equal(t, http.StatusGatewayTimeout, r.Status, name)
			require.Contains(t, r.Body, "timeout")
			require.False(t, call(mw, "k", "").replayed())
			require.EqualValues(t, 2, h.runs.Load(), "no empty success was recorded")
		}
	})
}

func TestHandlersContextKeepsItsValues(t *testing.T) {
	t.Parallel()
	type key struct{}
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "value", r.Context().Value(key{}))
		reqstate.From(r.Context()).SetRequestID("req_handler")
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), key{}, "value"), http.MethodPost, "/", nil)
	r, state := reqstate.Ensure(r)
	r.Header.Set("Idempotency-Key", "k")
	mw.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "req_handler", state.RequestID(), "the State is that of outer layers too")
}

func TestNestedMiddlewareIsOne(t *testing.T) {
	t.Parallel()
	var h counter
	store := memory()
	mw := idempotent.New(store, idempotent.Global, nil)(idempotent.New(store, idempotent.Global, nil)(&h))
	require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
	require.True(t, call(mw, "k", "").replayed())
}

func TestRenewalEndsWithTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var renewals atomic.Int64
		store := &faulty{Store: memory(), renew: func(next func() error) error {
			renewals.Add(1)
			return next()
		}}
		for key, end := range map[string]func(){"returns": func() {}, "panics": func() { panic("boom") }} {
			renewals.Store(0)
			h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(25 * time.Second); end() }}
			call(idempotent.New(store, idempotent.Global, nil)(&h), key, "")
			require.EqualValues(t, 2, renewals.Load())
			time.Sleep(time.Hour)
			require.EqualValues(t, 2, renewals.Load())
		}
	})
}

func TestInnerMiddlewareMayBeStricter(t *testing.T) {
	t.Parallel()
	outer := idempotent.New(memory(), idempotent.Global, nil)
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}

	careful := outer(idempotent.New(memory(), idempotent.Global, &idempotent.Options{AtMostOnce: true})(&h))
	require.Equal(t, http.StatusInternalServerError, call(careful, "k", "").Status)
	require.Contains(t, call(careful, "k", "").Body, "idempotency_outcome_unknown")
	require.EqualValues(t, 1, h.runs.Load())
}

// A response that is not kept goes out as it is written. When its claim turns out to be lost,
// nothing may come behind it.
func TestAnswerThatHasGoneOutIsNotFollowedByAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", 2<<20)
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				time.Sleep(time.Minute)
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, large)
				return
			}
			_, _ = io.WriteString(w, "from the successor")
		}}
		store := &faulty{Store: memory(), renew: func(func() error) error { return errDown }}
		var events seen
		a := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
		b := idempotent.New(store, idempotent.Global, nil)(&h)
		var first, second, waiter reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		time.Sleep(40 * time.Second)
		second = call(b, "k", "")
		time.Sleep(15 * time.Second)
		waiter = call(a, "k", "") // waits for the first, and then asks the store
		wg.Wait()

		require.Equal(t, http.StatusBadGateway, first.Status)
		require.Len(t, first.Body, len(large))
		require.Equal(t, "from the successor", second.Body)
		require.Equal(t, "from the successor", waiter.Body)
		require.ElementsMatch(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded, idempotent.OutcomeReplayed}, events.results())
	})
}

// A handler that calls another service of the same process gives it its own key, and that
// is honored.
func TestRequestWithinARequestHasItsOwnKey(t *testing.T) {
	t.Parallel()
	var charges counter
	bank := idempotent.New(memory(), idempotent.Global, nil)(&charges)
	shop := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sub := httptest.NewRequestWithContext(r.Context(), http.MethodPost, "/charges", nil)
		sub.Header.Set("Idempotency-Key", idempotent.DerivedKey(r.Context(), "charge"))
		bank.ServeHTTP(httptest.NewRecorder(), sub)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	for range 2 { // a failure: the key is free again
		require.Equal(t, http.StatusInternalServerError, call(shop, "k", "").Status)
	}
	require.EqualValues(t, 1, charges.runs.Load())
}
