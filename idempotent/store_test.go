package idempotent_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// A store that fails.

func TestLostRepliesChangeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		loseEveryOther := func(err error) error { // the store has done what it was asked
			if err == nil && n.Add(1)%2 == 1 {
				return errDown
			}
			return err
		}
		store := &faulty{
			Store: memory(),
			acquire: func(next acquireFunc) (idempotent.Decision, error) {
				d, err := next()
				return d, loseEveryOther(err)
			},
			begin:  func(next func() error) error { return loseEveryOther(next()) },
			finish: func(_ idempotent.Completion, next func() error) error { return loseEveryOther(next()) },
		}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, idempotent.BeginEffect(r.Context()))
			require.Equal(t, 1, idempotent.Attempt(r.Context()))
			w.WriteHeader(http.StatusCreated)
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.True(t, call(mw, "k", "").replayed())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStoreThatFailsBeforeTheRun(t *testing.T) {
	t.Parallel()
	for name, acquire := range map[string]acquireFunc{
		"error":              func() (idempotent.Decision, error) { return idempotent.Decision{}, errDown },
		"panic":              func() (idempotent.Decision, error) { panic("driver bug") },
		"no verdict":         func() (idempotent.Decision, error) { return idempotent.Decision{}, nil },
		"an unknown verdict": func() (idempotent.Decision, error) { return idempotent.Decision{Verdict: 77}, nil },
	} {
		runBubble(t, name, func(t *testing.T) {
			var h counter
			var events eventLog
			store := &faulty{Store: memory(), acquire: func(acquireFunc) (idempotent.Decision, error) { return acquire() }}
			mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)

			r := call(mw, "k", "")

			require.Equal(t, http.StatusServiceUnavailable, r.Status)
			require.NotEmpty(t, r.Header.Get("Retry-After"))
			require.NotContains(t, r.Body, "driver bug")
			require.NotContains(t, r.Body, errDown.Error())
			events.require(t, idempotent.OutcomeStoreFailed)
			require.Zero(t, h.runs.Load())
		})
	}
}

func TestHangingStoreTimesOut(t *testing.T) {
	t.Parallel()
	for lease, limit := range map[time.Duration]time.Duration{
		30 * time.Second:       2 * time.Second,
		300 * time.Millisecond: 200 * time.Millisecond, // a third of the lease for each of two calls
	} {
		synctest.Test(t, func(t *testing.T) {
			var h counter
			mw := idempotent.New(hanging{memory()}, idempotent.Global, &idempotent.Options{Lease: lease})(&h)
			start := time.Now()
			require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
			require.LessOrEqual(t, time.Since(start), limit)
			require.Zero(t, h.runs.Load())
		})
	}
}

func TestStoreThatFailsAfterTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			w.WriteHeader(http.StatusCreated)
		}}
		var events eventLog
		store := &faulty{Store: memory(), finish: failFinish(errDown)}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
		var duplicate reply
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			duplicate = call(mw, "k", "")
		})

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		wg.Wait()
		require.Equal(t, http.StatusCreated, duplicate.Status)
		require.Contains(t, events.outcomes(), idempotent.OutcomeUnrecorded)
		require.EqualValues(t, 1, h.runs.Load())

		store.finish = nil
		require.Equal(t, http.StatusTooManyRequests, call(mw, "k", "").Status, "the claim stays until its lease is over")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.EqualValues(t, 2, h.runs.Load())
	})
}

func TestFinishIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if time.Since(start) < 2*time.Second {
				return errDown
			}
			return next()
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&counter{})
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.True(t, call(mw, "k", "").replayed())
	})
}

func TestStoreThatForgetsMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		var events eventLog
		asked := 0
		store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error {
			if asked++; asked > 1000 {
				panic("a busy loop")
			}
			return idempotent.ErrLost
		}}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.Less(t, asked, 50)
		events.require(t, idempotent.OutcomeUnrecorded)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// A store that fails at one step never makes a call with an effect run twice.
func TestStoreThatFailsAtOneStep(t *testing.T) {
	t.Parallel()
	steps := map[string]struct {
		hook    func(s *faulty, fail func() error)
		code    apierror.Code // of the first call
		runs    int
		outcome idempotent.Outcome
		again   apierror.Code // of the second call, with the store back
		runs2   int
	}{
		"Acquire": {
			hook: func(s *faulty, fail func() error) {
				s.acquire = func(acquireFunc) (idempotent.Decision, error) { return idempotent.Decision{}, fail() }
			},
			code: apierror.CodeServiceUnavailable, outcome: idempotent.OutcomeStoreFailed, runs2: 1,
		},
		"the reply of Acquire": {
			hook: func(s *faulty, fail func() error) {
				s.acquire = func(next acquireFunc) (idempotent.Decision, error) {
					_, _ = next()
					return idempotent.Decision{}, fail()
				}
			},
			code: apierror.CodeServiceUnavailable, outcome: idempotent.OutcomeStoreFailed, runs2: 1,
		},
		"BeginEffect": {
			hook: func(s *faulty, fail func() error) { s.begin = func(func() error) error { return fail() } },
			code: apierror.CodeServiceUnavailable, runs: 1, outcome: idempotent.OutcomeReleased, runs2: 2,
		},
		"the reply of BeginEffect": {
			hook: func(s *faulty, fail func() error) {
				s.begin = func(next func() error) error { _ = next(); return fail() }
			},
			code: apierror.CodeServiceUnavailable, runs: 1, outcome: idempotent.OutcomeReleased, runs2: 2,
		},
		"Renew": {
			hook: func(s *faulty, fail func() error) { s.renew = func(func() error) error { return fail() } },
			runs: 1, outcome: idempotent.OutcomeExecuted, runs2: 1,
		},
		"Finish": {
			hook: func(s *faulty, fail func() error) {
				s.finish = func(idempotent.Completion, func() error) error { return fail() }
			},
			runs: 1, outcome: idempotent.OutcomeUnrecorded, again: apierror.CodeIdempotencyOutcomeUnknown, runs2: 1,
		},
		"the reply of Finish": {
			hook: func(s *faulty, fail func() error) {
				s.finish = func(_ idempotent.Completion, next func() error) error { _ = next(); return fail() }
			},
			runs: 1, outcome: idempotent.OutcomeUnrecorded, runs2: 1,
		},
	}
	failures := map[string]func() error{
		"fails":  func() error { return errDown },
		"panics": func() error { panic("driver bug") },
	}
	for step, test := range steps {
		for how, fail := range failures {
			runBubble(t, step+" "+how, func(t *testing.T) {
				var events eventLog
				store := &faulty{Store: memory()}
				test.hook(store, fail)
				g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
				w := &work{do: func(ctx context.Context, n int) (string, error) {
					if err := idempotent.BeginEffect(ctx); err != nil {
						return "", err
					}
					time.Sleep(40 * time.Second)
					return fmt.Sprint("run ", n), nil
				}}
				_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
				require.Equal(t, test.code, apierror.CodeOf(err))
				require.Equal(t, test.runs, w.runs)
				events.require(t, test.outcome)

				*store = faulty{Store: store.Store}
				if test.outcome == idempotent.OutcomeUnrecorded {
					time.Sleep(time.Minute) // the lease ends
				}
				start := time.Now()
				_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
				require.Contains(t, []time.Duration{0, 40 * time.Second}, time.Since(start), "it does not wait")
				require.Equal(t, test.again, apierror.CodeOf(err))
				require.Equal(t, test.runs2, w.runs)
			})
		}
	}
}

// A store without room.

func TestFullStoreIsAnswered(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		http.StatusServiceUnavailable: idempotent.ErrFull,
		http.StatusTooManyRequests:    idempotent.ErrQuota,
	} {
		var h counter
		store := &recorder{Store: &faulty{Store: memory(), acquire: failAcquire(err)}}
		r := call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")
		require.Equal(t, want, r.Status)
		require.NotEmpty(t, r.Header.Get("Retry-After"))
		require.Zero(t, h.runs.Load())
		require.Equal(t, []string{"Acquire"}, store.calls, "it is not retried")
	}
}

func TestResponseWithoutRoomIsNotKept(t *testing.T) {
	t.Parallel()
	var h counter
	var events eventLog
	var log logBuffer
	o := &idempotent.Options{Observe: events.observe, Logger: log.logger()}
	mw := idempotent.New(&faulty{Store: memory(), finish: noRoom}, idempotent.Global, o)(&h)

	require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
	again := call(mw, "k", "")

	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Body, "idempotency_response_unavailable")
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.EqualValues(t, 1, h.runs.Load())
	events.require(t, idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable)
	require.ErrorIs(t, events.events[0].Err, idempotent.ErrFull)
	require.Contains(t, log.String(), "no room for a response")
}

func TestFullStoreThatRefusesUnkeptResponses(t *testing.T) {
	t.Parallel()
	var events eventLog
	store := &faulty{Store: memory(), finish: failFinish(idempotent.ErrFull)}
	call(idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&counter{}), "k", "")
	events.require(t, idempotent.OutcomeUnrecorded)
}

func TestFullMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		o := &idempotent.Options{Observe: events.observe}
		h := writes(strings.Repeat("x", 1000))

		small := idempotent.New(idempotent.NewMemory(&idempotent.MemoryOptions{MaxBytes: 1300}), idempotent.Global, o)(h)
		require.Len(t, call(small, "k", "").Body, 1000)
		require.Contains(t, call(small, "k", "").Body, "idempotency_response_unavailable")

		full := idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: 1})
		go call(idempotent.New(full, idempotent.Global, nil)(slow(time.Second)), "first", "")
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, call(idempotent.New(full, idempotent.Global, o)(h), "second", "").Status)
		time.Sleep(time.Second)

		events.require(t, idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable, idempotent.OutcomeStoreFull)
		require.ErrorIs(t, events.events[0].Err, idempotent.ErrFull)
		require.ErrorIs(t, events.events[2].Err, idempotent.ErrFull)
	})
}

// Failing open.

func TestFailOpen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		store func(idempotent.Store) idempotent.Store
		local bool
	}{
		"leases": {func(s idempotent.Store) idempotent.Store { return s }, false},
		"local":  {func(s idempotent.Store) idempotent.Store { return decorated{s, idempotent.NewMemory(nil)} }, true},
	} {
		runBubble(t, name, func(t *testing.T) {
			var events eventLog
			calls := &recorder{Store: &faulty{Store: memory(), acquire: failAcquire(errDown)}}
			o := &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe}
			g := idempotent.NewGuard(test.store(calls), o)
			w := &work{do: func(ctx context.Context, n int) (string, error) {
				require.NoError(t, idempotent.BeginEffect(ctx))
				require.Zero(t, idempotent.Attempt(ctx))
				require.Empty(t, idempotent.DerivedKey(ctx, "charge"))
				return fmt.Sprint("run ", n), nil
			}}
			for _, want := range []string{"run 1", "run 2"} {
				v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
				require.NoError(t, err)
				require.Equal(t, want, v)
			}
			panicked, _ := isolated(func() {
				_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) { panic("boom") })
			})
			require.Equal(t, "boom", panicked)

			require.Equal(t, []string{"Acquire"}, calls.distinct())
			require.Equal(t, test.local, len(calls.calls) == 3, "a local store is asked once")
			events.require(t, idempotent.OutcomeBypassed, idempotent.OutcomeBypassed, idempotent.OutcomeBypassed)
			for _, e := range events.events[:2] {
				require.ErrorIs(t, e.Err, errDown)
				require.LessOrEqual(t, e.Waited, time.Second)
				require.Equal(t, test.local, e.Waited == 0)
			}
		})
	}
}

// Acquire is tried for a second (StoreTimeout): after 10 ms, then after twice as long each time,
// up to 200 ms, with jitter.
func TestAcquireIsRetried(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail idempotent.Fail
		want []string
	}{
		"failing open":   {idempotent.FailOpen, []string{"Acquire"}},
		"failing closed": {idempotent.FailClosed, []string{"Acquire", "Finish absent"}}, // a reply may be lost
	} {
		runBubble(t, name, func(t *testing.T) {
			var events eventLog
			store := &recorder{Store: &faulty{Store: memory(), acquire: failAcquire(errDown), finish: failFinish(errDown)}}
			o := &idempotent.Options{OnFailure: test.fail, Observe: events.observe}

			call(idempotent.New(store, idempotent.Global, o)(slow(time.Minute)), "k", "")

			require.Equal(t, test.want, store.distinct())
			require.GreaterOrEqual(t, len(store.claims), 6)
			require.LessOrEqual(t, len(store.claims), 14)
			require.Len(t, store.calls, len(store.claims)+len(test.want)-1)
			require.LessOrEqual(t, events.last().Waited, time.Second)
		})
	}
}

// A client that fills the store must not disable its protection.
func TestFailOpenAppliesToFailuresOnly(t *testing.T) {
	t.Parallel()
	var h counter
	var events eventLog
	store := &faulty{Store: memory(), acquire: failAcquire(idempotent.ErrFull)}
	o := &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe}
	require.Equal(t, http.StatusServiceUnavailable, call(idempotent.New(store, idempotent.Global, o)(&h), "k", "").Status)
	require.Zero(t, h.runs.Load())
	events.require(t, idempotent.OutcomeStoreFull)
}

func TestFailOpenDoesNotRunBesideAnotherRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(8 * time.Second)
		var down atomic.Bool
		store := &faulty{Store: memory(), acquire: func(next acquireFunc) (idempotent.Decision, error) {
			if down.Load() {
				return idempotent.Decision{}, errDown
			}
			return next()
		}}
		o := &idempotent.Options{OnFailure: idempotent.FailOpen}
		go call(idempotent.New(store, idempotent.Global, o)(h), "k", "")
		synctest.Wait()
		time.AfterFunc(time.Second, func() { down.Store(true) })
		require.Equal(t, http.StatusServiceUnavailable, call(idempotent.New(store, idempotent.Global, o)(h), "k", "").Status)
		time.Sleep(8 * time.Second)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// A call that has seen another one run does not run unprotected, so it gives back what it may
// have acquired.
func TestFailOpenLeavesNoClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		losesAcquired := &faulty{Store: store, acquire: func(next acquireFunc) (idempotent.Decision, error) {
			d, err := next()
			if d.Verdict == idempotent.VerdictAcquired {
				return idempotent.Decision{}, errDown
			}
			return d, err
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			w.WriteHeader(http.StatusInternalServerError)
		}}
		first := idempotent.New(leased{store}, idempotent.Global, nil)(&h)
		second := idempotent.New(losesAcquired, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen})(&h)
		go call(first, "k", "")
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, call(second, "k", "").Status)
		require.EqualValues(t, 1, h.runs.Load())
		require.Equal(t, http.StatusInternalServerError, call(first, "k", "").Status, "it runs: the key is free")
	})
}

func TestFailOpenDoesNotRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		calls := &recorder{Store: &faulty{
			Store: memory(),
			acquire: func(next acquireFunc) (idempotent.Decision, error) {
				if asked++; asked > 1 {
					return idempotent.Decision{}, errDown
				}
				return next()
			},
			finish: failFinish(idempotent.ErrLost),
		}}
		var events eventLog
		g := idempotent.NewGuard(calls, &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe})
		var w work
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
		require.Equal(t, 1, w.runs)
		require.Equal(t, []string{"Acquire", "Finish done", "Acquire"}, calls.distinct(), "a claim of a run is not given back")
		require.Len(t, calls.calls, len(calls.claims)+1)
		events.require(t, idempotent.OutcomeStoreFailed)
	})
}
