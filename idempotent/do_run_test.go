package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/idemtest"
)

// journal is a store that notes what it is asked.
type journal struct {
	idempotent.Store
	mu    sync.Mutex
	calls []string
}

func (j *journal) note(call string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, call)
}

// distinct returns the calls, without repetitions of the one before.
func (j *journal) distinct() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Compact(slices.Clone(j.calls))
}

func (j *journal) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	j.note("Acquire")
	return j.Store.Acquire(ctx, c)
}

func (j *journal) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	j.note("Renew")
	return j.Store.Renew(ctx, o, d)
}

func (j *journal) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	j.note("BeginEffect")
	return j.Store.BeginEffect(ctx, o)
}

func (j *journal) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	j.note("Finish " + c.State.String())
	return j.Store.Finish(ctx, o, c)
}

func TestDuplicatesOfADoWaitAndGetTheValue(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func() idempotent.Store{
		"memory": memory,
		"leases": func() idempotent.Store { return leased{memory()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events seen
				s := store()
				// Two processes: in each one leads and the others follow, and one of the leaders
				// polls.
				guards := [2]*idempotent.Guard{}
				for i := range guards {
					guards[i] = idempotent.NewGuard(s, &idempotent.Options{Observe: events.observe})
				}
				var runs atomic.Int64
				var wg sync.WaitGroup
				for i := range 100 {
					wg.Go(func() {
						v, err := idempotent.Do(t.Context(), guards[i%2], callOf("k"), func(context.Context) (int64, error) {
							time.Sleep(5 * time.Second)
							return runs.Add(1), nil
						})
						if err != nil || v != 1 {
							t.Errorf("%d, %v", v, err)
						}
					})
				}
				wg.Wait()
				require.EqualValues(t, 1, runs.Load())
				require.Equal(t, 1, count(events.results(), idempotent.OutcomeExecuted))
				require.Equal(t, 99, count(events.results(), idempotent.OutcomeReplayed))
				for _, e := range events.events {
					if e.Outcome == idempotent.OutcomeReplayed {
						require.GreaterOrEqual(t, e.Waited, 5*time.Second)
						require.Zero(t, e.Attempt)
					} else {
						require.Zero(t, e.Waited)
						require.Equal(t, 1, e.Attempt)
					}
				}
			})
		})
	}
}

// last returns the last event.
func (s *seen) last() idempotent.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[len(s.events)-1]
}

func count(outcomes []idempotent.Outcome, o idempotent.Outcome) (n int) {
	for _, got := range outcomes {
		if got == o {
			n++
		}
	}
	return n
}

func TestWaitersOfADoThatFailsDoNotRunInTurn(t *testing.T) {
	t.Parallel()
	ends := map[string]func() error{
		"error":  func() error { return errDown },
		"panic":  func() error { panic("boom") },
		"Goexit": func() error { runtime.Goexit(); return nil },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := leased{memory()}
				var events seen
				var runs atomic.Int64
				do := func(g *idempotent.Guard) (err error) {
					_, err = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) {
						runs.Add(1)
						time.Sleep(5 * time.Second)
						return 0, end()
					})
					return err
				}
				leading := idempotent.NewGuard(store, nil)
				polling := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
				var wg sync.WaitGroup
				wg.Go(func() { isolated(func() { _ = do(leading) }) })
				synctest.Wait()
				for i := range 40 {
					wg.Go(func() {
						err := do([]*idempotent.Guard{leading, polling}[i%2])
						if apierror.CodeOf(err) != apierror.CodeServiceUnavailable || apierror.From(err).RetryAfter() <= 0 {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				require.EqualValues(t, 1, runs.Load())
				require.Equal(t, 20, count(events.results(), idempotent.OutcomeLeaderFailed))

				go isolated(func() { _ = do(leading) }) // the key is free
				synctest.Wait()
				require.EqualValues(t, 2, runs.Load())
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestDoTakesOverFromACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var attempts []int
		var keys []string
		var owners []idempotent.Owner
		w := &work{do: func(ctx context.Context, n int) (string, error) {
			attempts = append(attempts, idempotent.Attempt(ctx))
			keys = append(keys, idempotent.DerivedKey(ctx, "charge"))
			o, ok := idempotent.OwnerOf(ctx)
			require.True(t, ok)
			owners = append(owners, o)
			return fmt.Sprint("run ", n), nil
		}}
		var events seen
		died := idempotent.NewGuard(crash(store), &idempotent.Options{Observe: events.observe})
		alive := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})

		v, err := idempotent.Do(t.Context(), died, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "run 1", v, "its caller has the value, if it lives")
		time.Sleep(25 * time.Second)
		v, err = idempotent.Do(t.Context(), alive, callOf("k"), w.run) // waits until the lease is over
		require.NoError(t, err)
		require.Equal(t, "run 2", v)

		require.Equal(t, []int{1, 2}, attempts)
		require.Equal(t, keys[0], keys[1])
		require.Len(t, keys[0], 32)
		require.Equal(t, owners[0].ID, owners[1].ID)
		require.Equal(t, new(idempotent.Options).ID("customer", "k"), owners[0].ID)
		require.NotEqual(t, owners[0].Token, owners[1].Token)
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded, idempotent.OutcomeExecuted}, events.results())
		require.ErrorIs(t, events.events[0].Err, errDown, "the recording failed")
		require.Equal(t, 2, events.events[1].Attempt)
		require.GreaterOrEqual(t, events.events[1].Waited, 2*time.Second)
	})
}

func TestDoThatLosesItsLeaseReturnsTheOthersAnswer(t *testing.T) {
	t.Parallel()
	ends := map[string]func(ctx context.Context) (string, error){
		"a value":      func(context.Context) (string, error) { return "from the zombie", nil },
		"its error":    func(ctx context.Context) (string, error) { return "", context.Cause(ctx) },
		"a kept error": func(context.Context) (string, error) { return "", cardDeclined },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memory()
				cut := &faulty{Store: store, renew: func(func() error) error { return errDown }}
				var events seen
				zombie := idempotent.NewGuard(cut, &idempotent.Options{Observe: events.observe})
				successor := idempotent.NewGuard(store, nil)
				var wg sync.WaitGroup
				wg.Go(func() {
					v, err := idempotent.Do(t.Context(), zombie, callOf("k"), func(ctx context.Context) (string, error) {
						<-ctx.Done()
						require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
						require.ErrorIs(t, idempotent.BeginEffect(ctx), idempotent.ErrLeaseLost)
						require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(idempotent.BeginEffect(ctx)))
						time.Sleep(2 * time.Second)
						return end(ctx)
					})
					require.NoError(t, err)
					require.Equal(t, "from the successor", v)
				})
				time.Sleep(25 * time.Second)
				v, err := idempotent.Do(t.Context(), successor, callOf("k"), func(ctx context.Context) (string, error) {
					require.Equal(t, 2, idempotent.Attempt(ctx))
					time.Sleep(5 * time.Second)
					return "from the successor", nil
				})
				require.NoError(t, err)
				require.Equal(t, "from the successor", v)
				wg.Wait()
				require.Equal(t, []idempotent.Outcome{idempotent.OutcomeReplayed}, events.results())
				require.True(t, events.events[0].Lost)
				require.Equal(t, 1, events.events[0].Attempt)
				require.Zero(t, events.events[0].Waited, "it ran immediately")
			})
		})
	}
}

func TestDoKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &journal{Store: memory()}
		g := idempotent.NewGuard(store, nil)
		_, err := idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (int, error) {
			time.Sleep(115 * time.Second)
			return 0, ctx.Err()
		})
		require.NoError(t, err)
		require.Equal(t, []string{"Acquire", "Renew", "Finish done"}, store.distinct())
		require.Equal(t, 11, len(store.calls)-2, "every third of the lease")
	})
}

// What a run asks for counts for its own key: the innermost one.
func TestDoWithinAKeyedRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		g := idempotent.NewGuard(store, nil)
		var outer, inner, derived [2]string
		charge := func(ctx context.Context, n int) error {
			_, err := idempotent.Do(ctx, g, callOf(idempotent.DerivedKey(ctx, "charge")), func(ctx context.Context) (int, error) {
				o, _ := idempotent.OwnerOf(ctx)
				inner[n], derived[n] = o.ID.String(), idempotent.DerivedKey(ctx, "charge")
				require.Equal(t, 1, idempotent.Attempt(ctx), "not the outer one's")
				require.NoError(t, idempotent.BeginEffect(ctx))
				return 0, errDown
			})
			return err
		}
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			o, _ := idempotent.OwnerOf(r.Context())
			outer[n-1] = o.ID.String()
			switch err := charge(r.Context(), int(n-1)); n {
			case 1:
				require.ErrorIs(t, err, errDown)
			default:
				require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err), "the inner key's own")
			}
			after, _ := idempotent.OwnerOf(r.Context())
			require.Equal(t, o, after)
			w.WriteHeader(http.StatusInternalServerError)
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)

		for range 2 { // the inner effect is not the outer one's: the outer key is free again
			require.Equal(t, http.StatusInternalServerError, call(mw, "k", "").Status)
		}
		require.EqualValues(t, 2, h.runs.Load())
		require.Equal(t, outer[0], outer[1])
		require.NotEqual(t, outer[0], inner[0])
		require.NotEmpty(t, derived[0])
	})
}

// A request within a Do is its own, although the Do has a key.
func TestKeyedRequestWithinADo(t *testing.T) {
	t.Parallel()
	store := memory()
	g := idempotent.NewGuard(store, nil)
	var h counter
	mw := idempotent.New(store, idempotent.Global, nil)(&h)
	for range 2 {
		v, err := idempotent.Do(t.Context(), g, callOf("job"), func(ctx context.Context) (string, error) {
			for range 2 {
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
				r.Header.Set("Idempotency-Key", idempotent.DerivedKey(ctx, "call"))
				mw.ServeHTTP(httptest.NewRecorder(), r)
			}
			return "done", nil
		})
		require.NoError(t, err)
		require.Equal(t, "done", v)
	}
	require.EqualValues(t, 1, h.runs.Load())
}

func TestWithinADo(t *testing.T) {
	t.Parallel()
	unmarked := func(context.Context, idempotent.Owner) error { return nil }
	for name, test := range map[string]struct {
		do    func(t *testing.T, ctx context.Context, store idempotent.Store) error
		err   error
		again string // the code of a retry; empty runs again
		calls []string
	}{
		"BeginEffect twice": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				require.NoError(t, idempotent.BeginEffect(ctx))
				return errDown
			},
			again: "idempotency_outcome_unknown",
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"Forget after BeginEffect": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				idempotent.Forget(ctx)
				return errDown
			},
			calls: []string{"Acquire", "BeginEffect", "Finish absent"},
		},
		"Forget of a value": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				return nil
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"Forget of a kept error": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				return cardDeclined
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith, committed": {
			do: func(t *testing.T, ctx context.Context, store idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffectWith(ctx, store.BeginEffect))
				return errDown
			},
			again: "idempotency_outcome_unknown",
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"BeginEffectWith, rolled back": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffectWith(ctx, unmarked))
				return errDown
			},
			calls: []string{"Acquire", "Finish unknown"},
		},
		"BeginEffectWith that fails": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				err := idempotent.BeginEffectWith(ctx, func(context.Context, idempotent.Owner) error { return errDown })
				require.ErrorIs(t, err, errDown)
				require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
				return err
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith that has lost": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				err := idempotent.BeginEffectWith(ctx, func(context.Context, idempotent.Owner) error { return idempotent.ErrLost })
				require.ErrorIs(t, err, idempotent.ErrLeaseLost)
				require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
				return err
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith that fails after BeginEffect": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				fails := func(context.Context, idempotent.Owner) error { return errDown }
				require.ErrorIs(t, idempotent.BeginEffectWith(ctx, fails), errDown)
				return errDown
			},
			again: "idempotency_outcome_unknown",
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"BeginEffectWith that panics": {
			do: func(_ *testing.T, ctx context.Context, store idempotent.Store) error {
				_ = idempotent.BeginEffectWith(ctx, func(ctx context.Context, o idempotent.Owner) error {
					_ = store.BeginEffect(ctx, o)
					panic("was it committed?")
				})
				return nil
			},
			again: "idempotency_outcome_unknown",
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"Stream does nothing": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Stream(ctx)
				return cardDeclined
			},
			again: "card_declined",
			calls: []string{"Acquire", "Finish done"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &journal{Store: memory()}
				g := idempotent.NewGuard(store, nil)
				w := &work{do: func(ctx context.Context, n int) (string, error) {
					if n == 1 {
						return "first", test.do(t, ctx, store)
					}
					return "again", nil
				}}
				isolated(func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), w.run) })
				require.Equal(t, test.calls, store.distinct())

				v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
				require.Equal(t, test.again, string(apierror.CodeOf(err)))
				if test.again == "" {
					require.Equal(t, "again", v)
				}
			})
		})
	}
}

func TestOutsideOfARunNothingIsPromised(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	begun := func(context.Context, idempotent.Owner) error { t.Error("was called"); return nil }
	require.NoError(t, idempotent.BeginEffect(ctx))
	require.NoError(t, idempotent.BeginEffectWith(ctx, begun))
	require.Zero(t, idempotent.Attempt(ctx))
	require.Empty(t, idempotent.DerivedKey(ctx, "x"))
	_, ok := idempotent.OwnerOf(ctx)
	require.False(t, ok)
	idempotent.Forget(ctx)
	idempotent.Stream(ctx)
}

func TestEffectAfterADoIsRefused(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(memory(), nil)
	var late context.Context
	_, err := idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (int, error) { late = ctx; return 0, nil })
	require.NoError(t, err)
	begun := func(context.Context, idempotent.Owner) error { t.Error("was called"); return nil }
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(idempotent.BeginEffect(late)))
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(idempotent.BeginEffectWith(late, begun)))
	idempotent.Forget(late)
	_, err = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) { t.Error("ran again"); return 0, nil })
	require.NoError(t, err)
}

func TestContextOfADo(t *testing.T) {
	t.Parallel()
	type key struct{}
	t.Run("canceled before", func(t *testing.T) {
		t.Parallel()
		for _, cause := range []error{nil, errDown} {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			var events seen
			var w work
			g := idempotent.NewGuard(untouched{}, &idempotent.Options{Observe: events.observe})
			_, err := idempotent.Do(ctx, g, callOf("k"), w.run)
			require.Equal(t, context.Canceled, err)
			require.Zero(t, w.runs)
			require.Equal(t, []idempotent.Outcome{idempotent.OutcomeRefused}, events.results())
			require.Equal(t, context.Canceled, events.events[0].Err)
		}
	})
	t.Run("canceled during the run", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
			store := &journal{Store: memory()}
			g := idempotent.NewGuard(store, nil)
			w := &work{do: func(ctx context.Context, n int) (string, error) {
				require.Equal(t, "value", ctx.Value(key{}))
				if n == 1 {
					cancel(errDown)
					<-ctx.Done()
					return "", context.Cause(ctx)
				}
				return "done", nil
			}}
			_, err := idempotent.Do(ctx, g, callOf("k"), w.run)
			require.Equal(t, errDown, err)
			require.Equal(t, []string{"Acquire", "Finish absent"}, store.distinct(), "the store is told all the same")

			v, err := idempotent.Do(context.WithoutCancel(ctx), g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "done", v)
		})
	})
	t.Run("canceled, and the work is done all the same", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g := idempotent.NewGuard(leased{memory()}, nil)
			w := &work{do: func(context.Context, int) (string, error) { cancel(); return "done", nil }}
			v, err := idempotent.Do(ctx, g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "done", v)
			v, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "done", v)
			require.Equal(t, 1, w.runs)
		})
	})
	t.Run("ends while it waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			store := leased{memory()}
			var events seen
			o := &idempotent.Options{Observe: events.observe}
			leading, polling := idempotent.NewGuard(store, o), idempotent.NewGuard(store, o)
			w := &work{do: func(context.Context, int) (string, error) { time.Sleep(9 * time.Second); return "done", nil }}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = idempotent.Do(t.Context(), leading, callOf("k"), w.run) })
			synctest.Wait()
			for i, g := range []*idempotent.Guard{leading, polling} { // one follows, one polls
				for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if errors.Is(end, context.Canceled) {
						ctx, cancel = context.WithCancel(t.Context())
						time.AfterFunc(time.Second, cancel)
					}
					start := time.Now()
					_, err := idempotent.Do(ctx, g, callOf("k"), w.run)
					cancel()
					require.Equal(t, end, err, i)
					require.Equal(t, time.Second, time.Since(start))
				}
			}
			require.Len(t, events.results(), 4)
			require.Equal(t, 4, count(events.results(), idempotent.OutcomeInProgress))
			wg.Wait()
			require.Equal(t, 1, w.runs)
		})
	})
	t.Run("does not end while it waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := idempotent.NewGuard(memory(), &idempotent.Options{Wait: 3 * time.Second})
			w := &work{do: func(context.Context, int) (string, error) { time.Sleep(9 * time.Second); return "done", nil }}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), w.run) })
			synctest.Wait()
			start := time.Now()
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, apierror.CodeIdempotencyInProgress, apierror.CodeOf(err))
			require.Positive(t, apierror.From(err).RetryAfter())
			require.Equal(t, 3*time.Second, time.Since(start))
			wg.Wait()
		})
	})
}

func TestMaxRunOfADo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxRun, deadline, ends time.Duration
		cause                  error
	}{
		"the default":        {0, 0, 5 * time.Minute, idempotent.ErrMaxRun},
		"shorter":            {time.Second, 0, time.Second, idempotent.ErrMaxRun},
		"the caller's first": {time.Minute, time.Second, time.Second, context.DeadlineExceeded},
		"the caller's last":  {time.Second, time.Minute, time.Second, idempotent.ErrMaxRun},
		"none":               {-1, time.Hour, time.Hour, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := idempotent.NewGuard(leased{memory()}, &idempotent.Options{MaxRun: test.maxRun})
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				start := time.Now()
				_, err := idempotent.Do(ctx, g, callOf("k"), func(ctx context.Context) (int, error) {
					<-ctx.Done()
					require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
					return 0, context.Cause(ctx)
				})
				require.ErrorIs(t, err, test.cause)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, test.ends, time.Since(start))
			})
		})
	}
}

// A run that does not end when it is told to loses its lease, and another takes over.
func TestDoAfterMaxRunIsNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		g := idempotent.NewGuard(leased{store}, &idempotent.Options{MaxRun: time.Minute})
		other := idempotent.NewGuard(leased{store}, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			v, err := idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (string, error) {
				time.Sleep(5 * time.Minute)
				return "from the one that does not listen", nil
			})
			require.NoError(t, err)
			require.Equal(t, "from the successor", v)
		})
		time.Sleep(2 * time.Minute)
		v, err := idempotent.Do(t.Context(), other, callOf("k"), func(context.Context) (string, error) { return "from the successor", nil })
		require.NoError(t, err)
		require.Equal(t, "from the successor", v)
		wg.Wait()
	})
}

func TestDoAtMostOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &journal{Store: memory()}
		g := idempotent.NewGuard(store, &idempotent.Options{AtMostOnce: true})
		w := fails(errDown)
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, errDown, err)
		require.Equal(t, []string{"Acquire", "BeginEffect", "Finish unknown"}, store.distinct())
		_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err))
		require.Equal(t, 1, w.runs)
	})
	synctest.Test(t, func(t *testing.T) {
		down := true
		var events seen
		store := &faulty{Store: memory(), mark: func(next func() error) error {
			if down {
				return errDown
			}
			return next()
		}}
		g := idempotent.NewGuard(store, &idempotent.Options{AtMostOnce: true, Observe: events.observe})
		var w work
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
		require.ErrorIs(t, err, errDown)
		require.Zero(t, w.runs, "no effect was begun, so nothing may run")
		down = false
		v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "run 1", v)
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeReleased, idempotent.OutcomeExecuted}, events.results())
	})
}

// With FailOpen a call runs although the store fails, and asks the store nothing more.
func TestFailOpenOfADo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		store func(idempotent.Store) idempotent.Store
		asks  int // at most
	}{
		"leases": {func(s idempotent.Store) idempotent.Store { return s }, 20},
		"local":  {func(s idempotent.Store) idempotent.Store { return passing{s, idempotent.NewMemory(nil)} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events seen
				j := &journal{Store: &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
					return idempotent.Decision{}, errDown
				}}}
				g := idempotent.NewGuard(test.store(j), &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe})
				w := &work{do: func(ctx context.Context, n int) (string, error) {
					require.NoError(t, idempotent.BeginEffect(ctx))
					require.Zero(t, idempotent.Attempt(ctx))
					require.Empty(t, idempotent.DerivedKey(ctx, "x"))
					return fmt.Sprint("run ", n), nil
				}}
				for i := range 2 {
					v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprint("run ", i+1), v)
				}
				require.Equal(t, []string{"Acquire"}, j.distinct())
				require.LessOrEqual(t, len(j.calls), 2*test.asks)
				require.Equal(t, []idempotent.Outcome{idempotent.OutcomeBypassed, idempotent.OutcomeBypassed}, events.results())
				for _, e := range events.events {
					require.ErrorIs(t, e.Err, errDown)
					require.LessOrEqual(t, e.Waited, time.Second)
					require.Equal(t, test.asks > 1, e.Waited > 0, "the time that the store has cost")
				}
				panicked, _ := isolated(func() {
					_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) { panic("boom") })
				})
				require.Equal(t, "boom", panicked)
				require.Equal(t, idempotent.OutcomeBypassed, events.results()[2])
			})
		})
	}
}

// A store that fails at one step, by an error or by a panic of its driver, never makes a Do run
// twice.
func TestDoWithAStoreThatFailsAtAStep(t *testing.T) {
	t.Parallel()
	panics := func() error { panic("driver bug") }
	for _, failure := range []func() error{func() error { return errDown }, panics} {
		for name, test := range map[string]struct {
			store   func(s *faulty)
			code    apierror.Code
			runs    int
			outcome idempotent.Outcome
			after   apierror.Code // a minute later, with the store back
			runs2   int
		}{
			"Acquire": {
				store: func(s *faulty) {
					s.acquire = func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
						return idempotent.Decision{}, failure()
					}
				},
				code: apierror.CodeServiceUnavailable, outcome: idempotent.OutcomeStoreFailed, runs2: 1,
			},
			"the reply of Acquire": {
				store: func(s *faulty) {
					s.acquire = func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
						_, _ = next()
						return idempotent.Decision{}, failure()
					}
				},
				code: apierror.CodeServiceUnavailable, outcome: idempotent.OutcomeStoreFailed, runs2: 1,
			},
			"BeginEffect": {
				store: func(s *faulty) { s.mark = func(func() error) error { return failure() } },
				code:  apierror.CodeServiceUnavailable, runs: 1, outcome: idempotent.OutcomeReleased, runs2: 2,
			},
			"the reply of BeginEffect": {
				store: func(s *faulty) { s.mark = func(next func() error) error { _ = next(); return failure() } },
				code:  apierror.CodeServiceUnavailable, runs: 1, outcome: idempotent.OutcomeReleased, runs2: 2,
			},
			"Renew": {
				store: func(s *faulty) { s.renew = func(func() error) error { return failure() } },
				runs:  1, outcome: idempotent.OutcomeExecuted, runs2: 1,
			},
			"Finish": {
				store: func(s *faulty) { s.finish = func(idempotent.Completion, func() error) error { return failure() } },
				runs:  1, outcome: idempotent.OutcomeUnrecorded, after: apierror.CodeIdempotencyOutcomeUnknown, runs2: 1,
			},
			"the reply of Finish": {
				store: func(s *faulty) {
					s.finish = func(_ idempotent.Completion, next func() error) error { _ = next(); return failure() }
				},
				runs: 1, outcome: idempotent.OutcomeUnrecorded, runs2: 1,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var events seen
					store := &faulty{Store: memory()}
					test.store(store)
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
					require.Equal(t, []idempotent.Outcome{test.outcome}, events.results())

					*store = faulty{Store: store.Store}
					if test.outcome != idempotent.OutcomeUnrecorded {
						start := time.Now()
						_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
						require.Contains(t, []time.Duration{0, 40 * time.Second}, time.Since(start), "the claim is given back")
					} else {
						time.Sleep(time.Minute)
						_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
					}
					require.Equal(t, test.after, apierror.CodeOf(err))
					require.Equal(t, test.runs2, w.runs)
				})
			})
		}
	}
}

// A Waiter that panics is a driver that has failed: the store is polled.
func TestWaiterThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := panickyWaiter{memory()}
		w := &work{do: func(context.Context, int) (string, error) { time.Sleep(5 * time.Second); return "done", nil }}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), w.run) })
		synctest.Wait()
		v, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "done", v)
		wg.Wait()
		require.Equal(t, 1, w.runs)
	})
}

type panickyWaiter struct{ idempotent.Store }

func (panickyWaiter) Wait(context.Context, idempotent.ID) error { panic("driver bug") }

// sinceStart is a store's clock.
func sinceStart() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

func TestDoInAnExecutor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do      func(ctx context.Context) (string, error)
		outcome idempotent.Outcome
		again   idempotent.Outcome
		row     string // what is left of what it wrote
	}{
		"a value":      {func(context.Context) (string, error) { return "v", nil }, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, "written"},
		"a kept error": {func(context.Context) (string, error) { return "", cardDeclined }, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, "written"},
		"another":      {func(context.Context) (string, error) { return "", errDown }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"panic":        {func(context.Context) (string, error) { panic("boom") }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"Goexit":       {func(context.Context) (string, error) { runtime.Goexit(); return "", nil }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"BeginEffect":  {func(ctx context.Context) (string, error) { return "", idempotent.BeginEffect(ctx) }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"Forget": {func(ctx context.Context) (string, error) { idempotent.Forget(ctx); return "v", nil },
			idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"too large": {func(context.Context) (string, error) { return string(make([]byte, 1000)), nil },
			idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable, "written"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := idemtest.NewDatabase(3)
				var events seen
				g := idempotent.NewGuard(idemtest.NewTxStore(db, sinceStart(), time.Second), &idempotent.Options{MaxResponse: 900, Observe: events.observe})
				for range 2 {
					isolated(func() {
						_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (string, error) {
							require.Equal(t, 1, idempotent.Attempt(ctx))
							require.NoError(t, idemtest.Tx(ctx).Set(ctx, "row", "written"))
							return test.do(ctx)
						})
					})
				}
				require.Equal(t, []idempotent.Outcome{test.outcome, test.again}, events.results())
				require.Equal(t, test.row, db.Get("row"))
			})
		})
	}
	t.Run("again after a conflict of transactions", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			db := idemtest.NewDatabase(3)
			var events seen
			g := idempotent.NewGuard(idemtest.NewTxStore(db, sinceStart(), time.Second), &idempotent.Options{Observe: events.observe})
			db.ConflictNext()
			w := &work{do: func(ctx context.Context, n int) (string, error) {
				if err := idemtest.Tx(ctx).Set(ctx, "row", fmt.Sprint(n)); err != nil {
					return "", err
				}
				return fmt.Sprint("run ", n), nil
			}}
			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "run 2", v, "the last run counts")
			require.Equal(t, "2", db.Get("row"))
			require.Equal(t, []idempotent.Outcome{idempotent.OutcomeExecuted}, events.results())
		})
	})
}

func TestNewGuardRefusesOptionsOfRequestsAndContradictions(t *testing.T) {
	t.Parallel()
	executor := idemtest.NewTxStore(idemtest.NewDatabase(1), sinceStart(), time.Second)
	yes := func(*http.Request) bool { return true }
	for name, o := range map[string]*idempotent.Options{
		"Required":    {Required: true},
		"Methods":     {Methods: []string{}},
		"Skip":        {Skip: yes},
		"Authorize":   {Authorize: func(*http.Request) error { return nil }},
		"Fingerprint": {Fingerprint: idempotent.FingerprintBody},
		"MaxBody":     {MaxBody: -1},
		"OmitFields":  {OmitFields: []string{}},
	} {
		panicked, _ := isolated(func() { idempotent.NewGuard(memory(), o) })
		require.Contains(t, fmt.Sprint(panicked), "HTTP", name)
		require.NotPanics(t, func() { idempotent.New(memory(), idempotent.Global, o) }, name)
	}
	for name, o := range map[string]*idempotent.Options{
		"OnFailure":           {OnFailure: 7},
		"FailOpen AtMostOnce": {OnFailure: idempotent.FailOpen, AtMostOnce: true},
		"Lease":               {Lease: -1},
		"Retention":           {Retention: -1},
		"StoreTimeout":        {StoreTimeout: -1},
	} {
		require.Panics(t, func() { idempotent.NewGuard(memory(), o) }, name)
	}
	require.Panics(t, func() { idempotent.NewGuard(nil, nil) })
	require.Panics(t, func() { idempotent.NewGuard(executor, &idempotent.Options{AtMostOnce: true}) })
	require.Panics(t, func() { idempotent.NewGuard(executor, &idempotent.Options{OnFailure: idempotent.FailOpen}) })
	require.NotPanics(t, func() { idempotent.NewGuard(executor, nil) })
}

// Each outcome is produced by a Do, and said by its event and by its error alike.
func TestEveryOutcomeOfADo(t *testing.T) {
	t.Parallel()
	down := func() (idempotent.Decision, error) { return idempotent.Decision{}, errDown }
	failing := func(err error) func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
		return func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			return idempotent.Decision{}, err
		}
	}
	type scene struct {
		t      *testing.T
		store  *faulty
		o      idempotent.Options
		events seen
		g      *idempotent.Guard
	}
	do := func(s *scene, c idempotent.Call, f func(context.Context) (string, error)) error {
		if s.g == nil {
			s.o.Observe = s.events.observe
			s.g = idempotent.NewGuard(s.store, &s.o)
		}
		_, err := idempotent.Do(s.t.Context(), s.g, c, f)
		return err
	}
	works := func(context.Context) (string, error) { return "done", nil }
	breaks := func(context.Context) (string, error) { return "", errDown }
	slow := func(context.Context) (string, error) { time.Sleep(5 * time.Second); return "done", nil }
	lost := func(ctx context.Context) (string, error) {
		return "", errors.Join(idempotent.BeginEffect(ctx), errDown)
	}
	k := callOf("k")
	during := func(s *scene, first, second func(context.Context) (string, error)) error {
		go func() { _ = do(s, k, first) }()
		synctest.Wait()
		return do(s, k, second)
	}
	for outcome, test := range map[idempotent.Outcome]struct {
		do     func(s *scene) error
		code   apierror.Code
		status int
	}{
		idempotent.OutcomeExecuted: {func(s *scene) error { return do(s, k, works) }, "", 200},
		idempotent.OutcomeNotKept: {func(s *scene) error {
			s.o.MaxResponse = 1
			return do(s, k, works)
		}, "", 200},
		idempotent.OutcomeReleased: {func(s *scene) error { return do(s, k, breaks) }, "", 500},
		idempotent.OutcomeUnknown:  {func(s *scene) error { return do(s, k, lost) }, "", 500},
		idempotent.OutcomeUnrecorded: {func(s *scene) error {
			s.store.finish = func(idempotent.Completion, func() error) error { return errDown }
			return do(s, k, works)
		}, "", 200},
		idempotent.OutcomeBypassed: {func(s *scene) error {
			s.o.OnFailure, s.store.acquire = idempotent.FailOpen, failing(errDown)
			return do(s, k, works)
		}, "", 0},
		idempotent.OutcomeReplayed: {func(s *scene) error { _ = do(s, k, works); return do(s, k, works) }, "", 200},
		idempotent.OutcomeConflict: {func(s *scene) error {
			_ = do(s, k, works)
			return do(s, idempotent.Call{Principal: k.Principal, Key: k.Key, Fingerprint: idempotent.Fingerprint{1}}, works)
		}, apierror.CodeIdempotencyConflict, 0},
		idempotent.OutcomeInProgress: {func(s *scene) error {
			s.o.Wait = time.Second
			return during(s, slow, works)
		}, apierror.CodeIdempotencyInProgress, 0},
		idempotent.OutcomeLeaderFailed: {func(s *scene) error {
			return during(s, func(context.Context) (string, error) { time.Sleep(time.Second); return "", errDown }, works)
		}, apierror.CodeServiceUnavailable, 0},
		idempotent.OutcomeStillUnknown: {func(s *scene) error {
			_ = do(s, k, lost)
			return do(s, k, works)
		}, apierror.CodeIdempotencyOutcomeUnknown, 0},
		idempotent.OutcomeUnavailable: {func(s *scene) error {
			s.o.MaxResponse = 1
			_ = do(s, k, works)
			return do(s, k, works)
		}, apierror.CodeIdempotencyResponseUnavailable, 0},
		idempotent.OutcomeStoreFailed: {func(s *scene) error {
			s.store.acquire = func(func() (idempotent.Decision, error)) (idempotent.Decision, error) { return down() }
			return do(s, k, works)
		}, apierror.CodeServiceUnavailable, 0},
		idempotent.OutcomeStoreFull: {func(s *scene) error {
			s.store.acquire = failing(idempotent.ErrFull)
			return do(s, k, works)
		}, apierror.CodeServiceUnavailable, 0},
		idempotent.OutcomeOverQuota: {func(s *scene) error {
			s.store.acquire = failing(idempotent.ErrQuota)
			return do(s, k, works)
		}, apierror.CodeRateLimitExceeded, 0},
		idempotent.OutcomeRefused: {func(s *scene) error { return do(s, idempotent.Call{}, works) }, apierror.CodeAPIError, 0},
	} {
		t.Run(string(outcome), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &scene{t: t, store: &faulty{Store: memory()}}
				err := test.do(s)
				e := s.events.last()
				require.Equal(t, outcome, e.Outcome)
				require.Equal(t, test.status, e.Status)
				require.Equal(t, test.code, apierror.CodeOf(err))
				switch outcome {
				case idempotent.OutcomeUnrecorded, idempotent.OutcomeBypassed:
					require.NoError(t, err)
					require.ErrorIs(t, e.Err, errDown, "the store's")
				default:
					require.Equal(t, err, e.Err)
				}
				if outcome != idempotent.OutcomeRefused {
					require.Equal(t, s.o.ID(k.Principal, k.Key), e.ID)
					require.NotZero(t, e.Scope)
				}
				ran := slices.Contains([]idempotent.Outcome{
					idempotent.OutcomeExecuted, idempotent.OutcomeNotKept, idempotent.OutcomeReleased, idempotent.OutcomeUnknown, idempotent.OutcomeUnrecorded,
				}, outcome)
				require.Equal(t, ran, e.Attempt == 1)
				time.Sleep(time.Minute) // for the first, where there are two
			})
		})
	}
}

// A store that has no room for a value keeps that the call ran.
func TestDoWhoseValueHasNoRoom(t *testing.T) {
	t.Parallel()
	var events seen
	store := &faulty{Store: memory(), finish: func(c idempotent.Completion, next func() error) error {
		if c.State == idempotent.StateDone {
			return idempotent.ErrFull
		}
		return next()
	}}
	g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
	var w work
	v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.NoError(t, err)
	require.Equal(t, "run 1", v)
	_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.Equal(t, apierror.CodeIdempotencyResponseUnavailable, apierror.CodeOf(err))
	require.Equal(t, []idempotent.Outcome{idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable}, events.results())
	require.ErrorIs(t, events.events[0].Err, idempotent.ErrFull)
}
