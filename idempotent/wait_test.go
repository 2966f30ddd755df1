package idempotent_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

func TestWaitersDoNotRunAFailingCallInTurn(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"error":  func() error { return errDown },
		"panic":  func() error { panic("boom") },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		runBubble(t, name, func(t *testing.T) {
			var events eventLog
			store := leased{memory()}
			here := idempotent.NewGuard(store, nil)
			elsewhere := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
			var runs atomic.Int64
			ask := func(g *idempotent.Guard) (err error) {
				_, err = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) {
					runs.Add(1)
					time.Sleep(5 * time.Second)
					return 0, end()
				})
				return err
			}
			var wg sync.WaitGroup
			wg.Go(func() { isolated(func() { _ = ask(here) }) })
			synctest.Wait()
			for i := range 40 {
				wg.Go(func() {
					err := ask([]*idempotent.Guard{here, elsewhere}[i%2])
					require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
					require.Positive(t, apierror.From(err).RetryAfter())
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, runs.Load())
			require.Equal(t, 20, events.count(idempotent.OutcomeLeaderFailed))

			go isolated(func() { _ = ask(here) })
			time.Sleep(time.Minute)
			require.EqualValues(t, 2, runs.Load(), "the key is free")
		})
	}
}

func TestDefaultWait(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]int{
		10*time.Second - time.Millisecond: http.StatusOK,
		10*time.Second + time.Millisecond: http.StatusTooManyRequests,
	} {
		synctest.Test(t, func(t *testing.T) {
			mw := idempotent.New(memory(), idempotent.Global, nil)(slow(takes))
			go call(mw, "k", "")
			synctest.Wait()
			start := time.Now()
			require.Equal(t, want, call(mw, "k", "").Status)
			require.Equal(t, min(takes, 10*time.Second), time.Since(start))
			time.Sleep(time.Second)
		})
	}
}

func TestNegativeWaitAnswersImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: -1})(slow(time.Second))
		go call(mw, "k", "")
		synctest.Wait()
		start := time.Now()
		retryAfter := map[string]bool{}
		for range 100 {
			r := call(mw, "k", "")
			require.Equal(t, http.StatusTooManyRequests, r.Status)
			retryAfter[r.Header.Get("Retry-After")] = true
		}
		require.Zero(t, time.Since(start))
		require.Equal(t, map[string]bool{"1": true, "2": true}, retryAfter, "callers come back at different times")
		time.Sleep(time.Second)
	})
}

// slowBody is a body whose first byte takes a while.
type slowBody struct {
	*strings.Reader
	delay time.Duration
}

func (b slowBody) Read(p []byte) (int, error) {
	if int64(b.Len()) == b.Size() {
		time.Sleep(b.delay)
	}
	return b.Reader.Read(p)
}

func TestSlowBodyDoesNotShortenTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: 10 * time.Second})(slow(20 * time.Second))
		go call(mw, "k", "body")
		synctest.Wait()
		r := do(mw, keyedRequest("k", slowBody{strings.NewReader("body"), 15 * time.Second}))
		require.True(t, r.replayed())
	})
}

func TestDeadlineAndWriteTimeoutShortenTheWait(t *testing.T) {
	t.Parallel()
	const margin = 200 * time.Millisecond // a tenth, to send the answer
	for name, test := range map[string]struct{ deadline, write, want time.Duration }{
		"the deadline is earlier":     {2 * time.Second, 4 * time.Second, 2*time.Second - margin},
		"the WriteTimeout is earlier": {4 * time.Second, 2 * time.Second, 2*time.Second - margin},
		"no deadline":                 {0, 2 * time.Second, 2*time.Second - margin},
		"no WriteTimeout":             {2 * time.Second, 0, 2*time.Second - margin},
		"both are late":               {time.Hour, time.Hour, 5 * time.Second},
	} {
		runBubble(t, name, func(t *testing.T) {
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: 5 * time.Second})(slow(8 * time.Second))
			go call(mw, "k", "")
			synctest.Wait()
			ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{WriteTimeout: test.write})
			if test.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.deadline)
				defer cancel()
			}
			start := time.Now()
			require.Equal(t, http.StatusTooManyRequests, callWith(ctx, mw, "k").Status)
			require.Equal(t, test.want, time.Since(start))
			time.Sleep(8 * time.Second)
		})
	}
}

func TestWaitEndsBeforeTheWriteTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(8 * time.Second)
		store := memory()
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		s := memhttp.NewConfigured(idempotent.New(store, idempotent.Global, nil)(h), func(s *http.Server) { s.WriteTimeout = 5 * time.Second })
		defer s.Close()
		var wg sync.WaitGroup
		wg.Go(func() { call(elsewhere, "k", "") })
		synctest.Wait()
		start := time.Now()
		for range 3 { // one polls, and two follow it
			wg.Go(func() {
				r := post(t, s, "k", "")
				require.Equal(t, http.StatusTooManyRequests, r.Status)
				require.Contains(t, r.Body, "idempotency_in_progress")
				require.Less(t, time.Since(start), 5*time.Second)
				require.Greater(t, time.Since(start), 4*time.Second)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestWaiterStopsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(8 * time.Second)
		store := memory()
		here := idempotent.New(store, idempotent.Global, nil)(h)
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		var wg sync.WaitGroup
		wg.Go(func() { call(here, "k", "") })
		synctest.Wait()
		for _, mw := range []http.Handler{here, elsewhere} { // one follows, one polls
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			require.Equal(t, http.StatusTooManyRequests, callWith(ctx, mw, "k").Status)
			require.Equal(t, 900*time.Millisecond, time.Since(start), "while the answer can still be sent")
			cancel()

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			r, state := reqstate.Ensure(keyedRequest("k", nil).WithContext(ctx))
			require.Equal(t, http.StatusServiceUnavailable, do(mw, r).Status)
			require.ErrorIs(t, state.Err(), context.Canceled)
		}
		wg.Wait()
	})
}

func TestWaitersOutliveTheOneThatPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(8 * time.Second)
			_, _ = io.WriteString(w, "done")
		}}
		store := memory()
		elsewhere := idempotent.New(store, idempotent.Global, nil)(&h)
		here := idempotent.New(store, idempotent.Global, nil)(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(elsewhere, "k", "") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { callWith(ctx, here, "k") }) // polls
		synctest.Wait()
		for range 5 {
			wg.Go(func() { require.Equal(t, "done", call(here, "k", "").Body) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestEachDuplicateHasItsOwnWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(11 * time.Second)
		store := leased{memory()}
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		here := idempotent.New(store, idempotent.Global, nil)(h)
		go call(elsewhere, "k", "")
		synctest.Wait()
		go call(here, "k", "") // polls for ten seconds
		time.Sleep(9900 * time.Millisecond)
		require.True(t, call(here, "k", "").replayed())
	})
}

func TestDuplicateInAnotherProcessIsWokenByTheStore(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"when the run ends": false, "once too early": true} {
		runBubble(t, name, func(t *testing.T) {
			var events eventLog
			m := idempotent.NewMemory(nil)
			woken := !early
			store := waiterStore{m, func(ctx context.Context, id idempotent.ID) error {
				if !woken {
					woken = true
					return nil
				}
				return m.Wait(ctx, id)
			}}
			go func() {
				_, _ = idempotent.Do(t.Context(), idempotent.NewGuard(m, nil), callOf("k"), slowValue(3*time.Second))
			}()
			synctest.Wait()

			g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
			_, err := idempotent.Do(t.Context(), g, callOf("k"), slowValue(3*time.Second))

			require.NoError(t, err)
			require.Equal(t, 3*time.Second, events.last().Waited, "not a moment longer than the run")
		})
	}
}

// waiterStore is a store with its own Wait.
type waiterStore struct {
	idempotent.Store
	wait func(context.Context, idempotent.ID) error
}

func (s waiterStore) Wait(ctx context.Context, id idempotent.ID) error { return s.wait(ctx, id) }

func TestBrokenWaiterIsPolled(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(context.Context, idempotent.ID) error{
		"returns immediately": func(context.Context, idempotent.ID) error { return nil },
		"fails":               func(context.Context, idempotent.ID) error { return errors.New("no notifications today") },
		"panics":              func(context.Context, idempotent.ID) error { panic("driver bug") },
	} {
		runBubble(t, name, func(t *testing.T) {
			calls := &recorder{Store: memory()}
			store := waiterStore{calls, wait}
			h := slow(8 * time.Second)
			go call(idempotent.New(store, idempotent.Global, nil)(h), "k", "")
			synctest.Wait()
			require.True(t, call(idempotent.New(store, idempotent.Global, nil)(h), "k", "").replayed())
			require.EqualValues(t, 1, h.runs.Load())
			require.Less(t, len(calls.calls), 50, "no busy loop")
		})
	}
}

func TestShortLeaseMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		store := &faulty{Store: memory(), acquire: func(acquireFunc) (idempotent.Decision, error) {
			if asked++; asked > 1000 {
				panic("a busy loop")
			}
			return idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: time.Microsecond}, nil
		}}
		call(idempotent.New(store, idempotent.Global, nil)(&counter{}), "k", "")
		require.Less(t, asked, 1000)
	})
}

// A call that has waited for another one of its process does not run. If it acquires the key of a
// process that has crashed, it leaves the record as it is.
func TestWaiterThatDoesNotRunLeavesTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var attempts []int
		work := func(ctx context.Context) (int, error) {
			attempts = append(attempts, idempotent.Attempt(ctx))
			return 1, nil
		}
		_, _ = idempotent.Do(t.Context(), idempotent.NewGuard(crashed(store), nil), callOf("k"), work)
		time.Sleep(13 * time.Second) // 14 s of the lease are left

		var events eventLog
		g := idempotent.NewGuard(leased{store}, &idempotent.Options{Wait: 12 * time.Second, Observe: events.observe})
		var wg sync.WaitGroup
		ask := func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), work) }
		wg.Go(ask) // polls for 12 s
		time.Sleep(5 * time.Second)
		wg.Go(ask) // follows, and then takes over
		wg.Wait()
		events.require(t, idempotent.OutcomeInProgress, idempotent.OutcomeLeaderFailed)

		time.Sleep(time.Second)
		other := callOf("k")
		other.Fingerprint = idempotent.Fingerprint{1}
		_, err := idempotent.Do(t.Context(), g, other, work)
		require.Equal(t, apierror.CodeIdempotencyConflict, apierror.CodeOf(err), "the fingerprint is kept")
		ask()
		require.Equal(t, []int{1, 3}, attempts, "and the number of attempts")
	})
}

// An effect that was begun in a transaction that was rolled back is known to the store only.
func TestWaitersOfARolledBackEffectAskTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			if n > 1 {
				return
			}
			rolledBack := func(context.Context, idempotent.Owner) error { return nil }
			require.NoError(t, idempotent.BeginEffectWith(r.Context(), rolledBack))
			time.Sleep(time.Second)
			w.WriteHeader(http.StatusInternalServerError)
		}}
		mw := idempotent.New(leased{memory()}, idempotent.Global, nil)(&h)
		go call(mw, "k", "")
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status, "the run has failed")
	})
}
